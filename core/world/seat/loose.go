package seat

import (
	"math/rand/v2"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/tombolo-net/tombolo/core/datagram"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// loose is a visit's lane of datagrams, if its connection has them: see package wire. All
// fields are guarded by the visit's mutex.
type loose struct {
	lane   *datagram.Lane // nil without datagrams
	came   chan []byte
	inputs []byte                   // not sent yet
	last   [inputRepeats - 1][]byte // the inputs of the datagrams before
	packet []byte
}

// inputRepeats is how many datagrams contain an input.
const inputRepeats = 3

// looseAhead is how many datagrams wait for a player that reads late. Further ones are
// dropped, because the next ones contain newer data.
const looseAhead = 16

// openLane opens a lane of datagrams, if the connection has any, and informs the host; mu
// is held.
func (v *Visit) openLane(s network.Stream) {
	if v.opts.StreamOnly || s.Conn() == nil {
		return
	}
	id, came := rand.Uint32(), make(chan []byte, looseAhead)
	lane, err := datagram.Open(s.Conn(), id, datagram.Opening, func(data []byte) {
		select {
		case came <- data:
		default:
		}
	})
	if err != nil {
		return // the stream carries everything
	}
	v.loose = loose{lane: lane, came: came}
	v.out = wire.AppendDatagrams(v.out, wire.Datagrams{Lane: id})
}

// closeLane is called with mu held.
func (v *Visit) closeLane() {
	if v.loose.lane != nil {
		v.loose.lane.Close()
	}
	v.loose = loose{}
}

// readLoose takes datagrams until the stream is lost. It resets the stream if one is
// malformed.
func (v *Visit) readLoose(s network.Stream, came <-chan []byte, stop <-chan struct{}) error {
	for {
		select {
		case data := <-came:
			if err := v.takeLoose(data); err != nil {
				_ = s.Reset()
				return err
			}
		case <-stop:
			return nil
		}
	}
}

func (v *Visit) takeLoose(data []byte) error {
	v.taking.Lock()
	defer v.taking.Unlock()
	for kind, body := range wire.Split(data) {
		if kind != wire.KindTick {
			continue // of a later version
		}
		if err := wire.DecodeTick(body, &v.tick); err != nil {
			return err
		}
		v.noteSeen(v.tick.Number)
		if err := v.takeSections((*Seat).takeLoose); err != nil {
			return err
		}
	}
	return nil
}

// add adds an input to the next datagram.
func (l *loose) add(in wire.Input) {
	if l.lane != nil {
		l.inputs = wire.AppendInput(l.inputs, in)
	}
}

// take returns what to send in a datagram: the new inputs, after those of the datagrams
// before if there is room. It is valid until the next call.
func (l *loose) take() (*datagram.Lane, []byte) {
	if len(l.inputs) == 0 {
		return nil, nil
	}
	l.packet = l.packet[:0]
	for _, inputs := range l.last {
		l.packet = append(l.packet, inputs...)
	}
	l.packet = append(l.packet, l.inputs...)
	if len(l.packet) > datagram.MaxSize {
		l.packet = append(l.packet[:0], l.inputs...)
	}
	oldest := l.last[0]
	copy(l.last[:], l.last[1:])
	l.last[len(l.last)-1] = append(oldest[:0], l.inputs...)
	l.inputs = l.inputs[:0]
	if len(l.packet) > datagram.MaxSize {
		return nil, nil // the stream has them
	}
	return l.lane, l.packet
}
