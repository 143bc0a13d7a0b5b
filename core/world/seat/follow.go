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

// How players follow a room to another host. The host tells who may hold the room after it
// (wire.Line). The visit opens a stream to the first of those that it reaches, says there
// what it said to the host, and waits: when that peer holds the room, it answers, and shows
// by its claim that it may.

const (
	// waitSoon spreads the players of a room that open their streams to a standby.
	waitSoon = 2 * time.Second
	// waitAgain is before another try; each pause is twice the one before, up to waitLimit.
	waitAgain = 2 * time.Second
	waitLimit = 30 * time.Second
	// standbyDial bounds the time that it takes to open such a stream.
	standbyDial = 10 * time.Second
	// quiet is for how long nothing may come of a host that has standbys before its
	// stream is taken for lost: a tick comes twice a second.
	quiet = 4 * time.Second
	// heirFirst is how long a peer that holds the room now may take to answer on the
	// stream that waits there, before another one is opened.
	heirFirst = 2 * time.Second
)

// heir is a stream to a standby of the room.
type heir struct {
	host     peer.ID
	stream   network.Stream
	messages *wire.Reader
	line     wire.Line // by which it holds the room
	first    []byte    // the body of its first Welcome
	seats    uint64    // of the visit, when the stream was opened
	walk     *walking  // by which the player goes there; nil for a standby
}

// learn takes in a line that the host shows.
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
	if l.Newest().Host != v.waitsAt { // else it is about to answer there
		v.changed()
	}
	return nil
}

// errMoving is the error of a stream that the visit leaves.
var errMoving = errors.New("the player has moved to another host")

// setQuiet bounds the time for which a host that has standbys may be silent. It says whether
// the visit moves, for which cross has set another bound.
func (v *Visit) setQuiet(s network.Stream) (moves bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.heir == nil && len(v.line) > 0 && len(v.line.Newest().Standbys) > 0 {
		_ = s.SetReadDeadline(time.Now().Add(quiet))
	}
	return v.heir != nil
}

// changed has a new stream opened to a standby; mu is held.
func (v *Visit) changed() {
	v.seatsAt++
	select {
	case v.waits <- struct{}{}:
	default:
	}
}

// await keeps a stream to a standby until the visit ends. When the standby holds the room,
// the stream becomes that of the visit.
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

// standbys are those that may hold the room next, and this node may be among them, which
// *world.Rooms opens streams to; mu is held.
func (v *Visit) standbys() []peer.ID {
	if len(v.line) == 0 || len(v.seats) == 0 {
		return nil
	}
	return v.line.Newest().Standbys
}

// errStale is the error of a stream to a standby that says what the visit was before.
var errStale = errors.New("the seats or the standbys have changed")

// awaitAt waits at one standby. It returns nil when the visit has moved there.
func (v *Visit) awaitAt(ctx context.Context, host peer.ID, at uint64) error {
	select { // and the seats that are taken one after the other are said at once
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

// read waits until the standby holds the room.
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

// moveTo has the visit go on at a standby that holds the room by a claim that goes before
// that of the visit's host.
func (v *Visit) moveTo(h *heir) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.heir != nil || len(h.line) == 0 || len(v.line) == 0 || h.line.Newest().Host != h.host || h.host == v.host || h.seats != v.seatsAt {
		return false
	}
	if told := v.line.Newest(); !h.line.Beats(v.line) && told.Host != h.host { // or the host has told of it
		return false
	}
	v.line, v.heir = h.line, h
	v.changed()
	if v.stream != nil {
		_ = v.stream.Reset() // has the reader return
	}
	select {
	case v.moved <- struct{}{}:
	default:
	}
	return true
}

// takeHeir is the stream to which the visit has moved, or nil.
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
		if h.walk != nil && s != h.walk.seat { // it was asked for a moment ago, of the host before
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

// holder is the peer that holds the room, as far as the visit knows. awaited says that the
// visit has a stream to it already.
func (v *Visit) holder() (host peer.ID, awaited bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if host = v.host; len(v.line) > 0 {
		host = v.line.Newest().Host
	}
	return host, host == v.waitsAt
}

// sent is an input of which the host has not told that the game took it.
type sent struct {
	seq  uint32
	data []byte
}

// maxSent bounds the inputs of a seat that are sent again to another host, in bytes, each
// of which counts sentCost more: a host need not tell that it took any.
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

// resend sends the inputs again that may not have been taken; mu is held. The host passes
// over those that were.
func (v *Visit) resend() {
	for _, s := range v.seats {
		for _, in := range s.sent {
			v.out = wire.AppendInput(v.out, wire.Input{Seat: s.number, Seq: in.seq, Seen: v.seen, Data: in.data})
		}
	}
}
