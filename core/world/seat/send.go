package seat

import (
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// write sends a host what waits for it, until stop is closed or the visit ends.
func (v *Visit) write(s network.Stream, stop chan struct{}) {
	var taken []byte
	for {
		select {
		case <-v.kick:
		case <-stop:
			return
		case <-v.closing:
			v.flushAndEnd(s)
			return
		}
		v.mu.Lock()
		if v.stream != s {
			v.mu.Unlock()
			return // what waits is for another host
		}
		taken, v.out = v.out, taken[:0]
		lane, inputs := v.loose.take()
		v.mu.Unlock()
		if len(inputs) > 0 {
			_ = lane.Send(inputs) // they are on the stream, too
		}
		if len(taken) == 0 {
			continue
		}
		if _, err := s.Write(taken); err != nil {
			_ = s.Reset() // makes the reader return
			return
		}
	}
}

// flushAndEnd writes what is left, and gives the host a second to end its side.
func (v *Visit) flushAndEnd(s network.Stream) {
	deadline := time.Now().Add(time.Second)
	_ = s.SetDeadline(deadline)
	v.mu.Lock()
	var out []byte
	if v.stream == s {
		out, v.out = v.out, nil
	}
	v.mu.Unlock()
	if len(out) > 0 {
		if _, err := s.Write(out); err != nil {
			_ = s.Reset()
			return
		}
	}
	if s.CloseWrite() != nil {
		_ = s.Reset()
	}
}

func (v *Visit) input(s *Seat, data []byte) (uint32, error) {
	v.mu.Lock()
	switch {
	case s.err != nil:
		defer v.mu.Unlock()
		return 0, s.err
	case v.stream == nil:
		v.mu.Unlock()
		return 0, ErrAway
	case len(v.out) > maxWaiting, v.walk != nil && s.sentBytes+len(data)+sentCost > maxSent:
		v.mu.Unlock()
		return 0, ErrBehind
	}
	s.seq++
	seq := s.seq
	in := wire.Input{Seat: s.number, Seq: seq, Seen: v.seen, Data: data}
	v.out = wire.AppendInput(v.out, in)
	v.loose.add(in)
	s.note(seq, data)
	v.acked = v.seen
	v.mu.Unlock()
	v.nudge()
	return seq, nil
}

func (v *Visit) leave(s *Seat) error {
	v.mu.Lock()
	if v.seats[s.number] == s {
		v.out = wire.AppendLeave(v.out, wire.Leave{Seat: s.number})
		v.endSeat(s, ErrLeft)
	}
	last := v.single && len(v.seats) == 0
	v.mu.Unlock()
	v.nudge()
	if last {
		return v.Close()
	}
	return nil
}

// nudge may be called with mu held.
func (v *Visit) nudge() {
	select {
	case v.kick <- struct{}{}:
	default:
	}
}
