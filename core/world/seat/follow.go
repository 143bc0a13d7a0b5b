package seat

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// How players follow a room to another host. The host says which peers may hold the room
// after it (wire.Line). The visit opens a stream to the first of those that it reaches,
// sends the same requests as to the host, and waits: when that peer holds the room, it
// answers, and shows by its claim that it may.

const (
	// waitSoon spreads the times at which the players of a room open their streams to a
	// standby.
	waitSoon = 2 * time.Second
	// waitAgain is the pause before another try; each pause is twice the one before, up
	// to waitLimit.
	waitAgain = 2 * time.Second
	waitLimit = 30 * time.Second
	// standbyDial bounds how long opening such a stream may take.
	standbyDial = 10 * time.Second
	// quiet is how long a host with standbys may send nothing before its stream counts as
	// lost: a tick comes twice a second.
	quiet = 4 * time.Second
	// heirFirst is how long a peer that holds the room now may take to answer on the
	// waiting stream before another one is opened.
	heirFirst = 2 * time.Second
)

// heir is a stream to a standby of the room, or to the host of a room that the player
// walks to.
type heir struct {
	host     peer.ID
	stream   network.Stream
	messages *wire.Reader
	line     wire.Line // the line by which it holds the room
	first    []byte    // the body of its first Welcome
	seats    uint64    // seatsAt of the visit when the stream was opened
	walk     *walking  // the walk by which the player goes there; nil for a standby
}

// learn handles a line that the host shows.
func (v *Visit) learn(body []byte) error {
	l, err := wire.DecodeVerified(body, v.room)
	if err != nil {
		return fmt.Errorf("%w: %w", wire.ErrMalformed, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.line) > 0 && !l.Beats(v.line) {
		return nil
	}
	v.line = l
	if l.Newest().Host != v.waitsAt { // otherwise it will soon answer there
		v.changed()
	}
	return nil
}

// errMoving is the error of a stream that the visit leaves.
var errMoving = errors.New("the player has moved to another host")

// setQuiet bounds how long a host with standbys may be silent. It reports whether the
// visit is moving; cross has then set another deadline.
func (v *Visit) setQuiet(s network.Stream) (moves bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.heir == nil && len(v.line) > 0 && len(v.line.Newest().Standbys) > 0 {
		_ = s.SetReadDeadline(time.Now().Add(quiet))
	}
	return v.heir != nil
}

// changed makes await open a new stream to a standby; mu is held.
func (v *Visit) changed() {
	v.seatsAt++
	select {
	case v.waits <- struct{}{}:
	default:
	}
}

// await keeps a stream to a standby until the visit ends. When the standby holds the
// room, the stream becomes the visit's.
func (v *Visit) await(ctx context.Context) {
	tried, pause := 0, waitAgain
	for ctx.Err() == nil {
		v.mu.Lock()
		standbys := v.standbys()
		at := v.seatsAt
		v.mu.Unlock()
		if len(standbys) == 0 {
			tried, pause = 0, waitAgain
			select {
			case <-v.waits:
			case <-ctx.Done():
			}
			continue
		}
		err := v.awaitAt(ctx, standbys[tried%len(standbys)], at)
		if err == nil || errors.Is(err, errStale) {
			tried, pause = 0, waitAgain
			continue
		}
		if tried++; tried%len(standbys) == 0 {
			pause = min(2*pause, waitLimit)
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-v.waits:
		case <-ctx.Done():
		}
	}
}

// standbys returns the peers that may hold the room next. This node may be among them:
// *world.Rooms opens streams to itself. mu is held.
func (v *Visit) standbys() []peer.ID {
	if len(v.line) == 0 || len(v.seats) == 0 {
		return nil
	}
	return v.line.Newest().Standbys
}

// errStale is the error of a stream to a standby that asked for other seats than the
// visit has now.
var errStale = errors.New("the seats or the standbys have changed")

// awaitAt waits at one standby. It returns nil when the visit has moved there.
func (v *Visit) awaitAt(ctx context.Context, host peer.ID, at uint64) error {
	select { // waiting also collects seats that are taken one after another
	case <-time.After(waitSoon/4 + rand.N(waitSoon)):
	case <-ctx.Done():
		return ctx.Err()
	}
	v.mu.Lock()
	stale := v.seatsAt != at
	v.mu.Unlock()
	if stale {
		return errStale
	}
	dialing, cancel := context.WithTimeout(ctx, standbyDial)
	s, err := v.node.Open(dialing, host, wire.Protocol)
	cancel()
	if err != nil {
		return err
	}
	h := &heir{host: host, stream: s, messages: wire.NewReader(s, wire.MaxToPlayer)}
	var over sync.Once
	drop := func() { over.Do(func() { _ = s.Reset() }) }
	keep := func() { over.Do(func() {}) }
	defer drop()
	defer context.AfterFunc(ctx, drop)()
	defer func() {
		v.mu.Lock()
		v.waitsAt = ""
		v.mu.Unlock()
	}()
	v.mu.Lock()
	hello := v.appendJoins(v.appendHello(nil), host)
	room := v.room
	v.waitsAt = host
	h.seats = v.seatsAt
	v.mu.Unlock()
	if _, err := s.Write(hello); err != nil {
		return err
	}
	came := make(chan error, 1)
	go func() { came <- h.read(room) }()
	for {
		select {
		case err := <-came:
			if err != nil {
				return err
			}
			if !v.moveTo(h) {
				return errStale
			}
			keep()
			return nil
		case <-v.waits:
			v.mu.Lock()
			stale := v.seatsAt != h.seats
			v.mu.Unlock()
			if stale {
				drop()
				<-came
				return errStale
			}
		}
	}
}

// read waits until the peer holds the room and has welcomed the player.
func (h *heir) read(room string) error {
	for {
		kind, body, err := h.messages.Next()
		if err != nil {
			return err
		}
		switch kind {
		case wire.KindLine:
			var err error
			if h.line, err = wire.DecodeVerified(body, room); err != nil {
				return err
			}
		case wire.KindWelcome:
			h.first = slices.Clone(body)
			return nil
		case wire.KindOut:
			o, err := wire.DecodeOut(body)
			if err != nil {
				return err
			}
			return &Out{Code: o.Code, Reason: o.Reason}
		default:
			return fmt.Errorf("%w: kind %d", wire.ErrMalformed, kind)
		}
	}
}

// moveTo makes the visit continue at a standby whose claim to the room takes precedence
// over that of the visit's host.
func (v *Visit) moveTo(h *heir) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.heir != nil || len(h.line) == 0 || len(v.line) == 0 || h.line.Newest().Host != h.host || h.host == v.host || h.seats != v.seatsAt {
		return false
	}
	if told := v.line.Newest(); !h.line.Beats(v.line) && told.Host != h.host { // unless the host itself has named it
		return false
	}
	v.line, v.heir = h.line, h
	v.changed()
	if v.stream != nil {
		_ = v.stream.Reset() // makes the reader return
	}
	select {
	case v.moved <- struct{}{}:
	default:
	}
	return true
}

// takeHeir returns the stream to which the visit has moved, or nil.
func (v *Visit) takeHeir() *current {
	v.mu.Lock()
	defer v.mu.Unlock()
	h := v.heir
	if h == nil {
		return nil
	}
	select {
	case <-v.moved:
	default:
	}
	v.stopWalk()
	if h.walk != nil {
		v.enter(h.walk.to)
		v.line = h.line
	}
	v.heir, v.host, v.stream = nil, h.host, h.stream
	v.out = v.out[:0]
	v.openLane(h.stream)
	for _, s := range v.seats {
		if h.walk != nil && s != h.walk.seat { // the seat was requested from the earlier host a moment ago
			v.out = s.appendJoin(v.out, h.host)
		}
	}
	v.resend()
	return &current{h.stream, h.messages, h.first}
}

// dropHeir ends the streams to which the visit would have moved.
func (v *Visit) dropHeir() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ahead != nil && v.ahead.is != nil {
		_ = v.ahead.is.stream.Reset()
	}
	if v.heir != nil {
		_ = v.heir.stream.Reset()
	}
}

// holder returns the peer that holds the room, as far as the visit knows. awaited is true
// if the visit already has a stream to it.
func (v *Visit) holder() (host peer.ID, awaited bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if host = v.host; len(v.line) > 0 {
		host = v.line.Newest().Host
	}
	return host, host == v.waitsAt
}

// sent is an input that the host has not confirmed.
type sent struct {
	seq  uint32
	data []byte
}

// maxSent bounds the inputs of a seat that are sent again to another host, in bytes,
// where each input costs sentCost more than its data: a host may never confirm any.
const (
	maxSent  = 16 << 10
	sentCost = 16
)

// note remembers an input; mu is held.
func (s *Seat) note(seq uint32, data []byte) {
	s.sent = append(s.sent, sent{seq, slices.Clone(data)})
	for s.sentBytes += len(data) + sentCost; s.sentBytes > maxSent; {
		s.forget()
	}
}

func (s *Seat) forget() {
	s.sentBytes -= len(s.sent[0].data) + sentCost
	s.sent = s.sent[1:]
}

// took forgets the inputs that the game has taken; mu is held.
func (s *Seat) took(seq uint32) {
	for len(s.sent) > 0 && s.sent[0].seq <= seq {
		s.forget()
	}
}

// resend sends again the inputs that may not have been taken; mu is held. The host skips
// those that were.
func (v *Visit) resend() {
	for _, s := range v.seats {
		for _, in := range s.sent {
			v.out = wire.AppendInput(v.out, wire.Input{Seat: s.number, Seq: in.seq, Seen: v.seen, Data: in.data})
		}
	}
}
