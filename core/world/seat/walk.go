package seat

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// How a player walks to a room of another host. The host says where to go (wire.Way). The
// visit opens a stream to the other room, asks for the seat there, and goes on with the host
// that it has until it is welcomed. Then that stream becomes the one of the visit, as when a
// room moves to a standby (follow.go), and the host before is told. A visit that was told to
// stay does not take the other seat any more, so the player is in one room at a time.

const (
	// walkDial bounds the time that a walk takes here; the host calls the player back earlier.
	walkDial = 10 * time.Second
	// walkEvery is how often a host may send a player somewhere, or have a stream opened.
	walkEvery = 250 * time.Millisecond
	// aheadLimit is how long a stream that was opened ahead is kept: its host ends one that
	// has no seat after ten seconds.
	aheadLimit = 8 * time.Second
	// partLimit is how long the host that a player left may take to hear so.
	partLimit = time.Second
	// backLimit is for how long the room that a player left may turn out to have kept it.
	backLimit = 15 * time.Second
)

// room is one that the host has told of.
type room struct {
	name string
	host peer.ID
}

// walking is a walk that is under way.
type walking struct {
	to     room
	seat   *Seat
	number uint32
	cancel context.CancelFunc
}

// ahead is a stream to a room that the player may walk to.
type ahead struct {
	to room
	at time.Time
	is *heir // nil while it is being opened
}

// takeWay hears of another room. It is called by the reader.
func (v *Visit) takeWay(ctx context.Context, body []byte) error {
	w, err := wire.DecodeWay(body)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.seats[w.Seat]
	if s == nil || v.heir != nil {
		return nil // it was just left, or is gone
	}
	to := room{w.Room, w.Host}
	switch w.Direction {
	case wire.Near:
		if len(v.seats) == 1 {
			v.goNear(ctx, to)
		}
	case wire.Go:
		if v.walk == nil || v.walk.number != w.Walk { // else it was told again
			v.setOut(ctx, s, to, w.Walk)
		}
	case wire.Stay:
		v.stopWalk()
		v.sayStays(s, w.Walk, "it was called back")
	}
	return nil
}

// sayStays tells the host that the player does not go; mu is held.
func (v *Visit) sayStays(s *Seat, walk uint32, why string) {
	v.out = wire.AppendParted(v.out, wire.Parted{Seat: s.number, Walk: walk, Reason: why})
	v.nudge()
}

// stopWalk ends the walk that is under way, if any; mu is held.
func (v *Visit) stopWalk() {
	if v.walk != nil {
		v.walk.cancel()
		v.walk = nil
	}
}

// setOut begins a walk; mu is held.
func (v *Visit) setOut(ctx context.Context, s *Seat, to room, number uint32) {
	why := ""
	switch {
	case len(v.seats) > 1:
		why = "it has several seats on one connection, which do not walk"
	case v.walk != nil:
		why = "it is on another way"
	case time.Since(v.walkedAt) < walkEvery:
		why = "it was sent away a moment ago"
	}
	if why != "" {
		v.sayStays(s, number, why)
		return
	}
	v.walkedAt = time.Now()
	w := &walking{to: to, seat: s, number: number}
	ctx, w.cancel = context.WithTimeout(ctx, walkDial)
	v.walk = w
	v.walks.Go(func() {
		defer w.cancel()
		err := v.walkTo(ctx, w)
		v.mu.Lock()
		defer v.mu.Unlock()
		if err != nil && v.walk == w {
			v.walk = nil
			v.sayStays(s, number, err.Error())
		}
	})
}

// walkTo returns nil when the visit goes on in the other room.
func (v *Visit) walkTo(ctx context.Context, w *walking) error {
	if h := v.takeAhead(w.to); h != nil {
		err := v.arriveAt(ctx, w, h)
		var out *Out
		if err == nil || errors.As(err, &out) || ctx.Err() != nil {
			return err
		} // else it was lost meanwhile
	}
	h, err := v.openTo(ctx, w.to)
	if err != nil {
		return err
	}
	return v.arriveAt(ctx, w, h)
}

// openTo opens a stream to another room.
func (v *Visit) openTo(ctx context.Context, to room) (*heir, error) {
	s, err := v.node.Open(ctx, to.host, wire.Protocol)
	if err != nil {
		return nil, err
	}
	if _, err := s.Write(wire.AppendHello(nil, wire.Hello{Room: to.name, Version: v.opts.Version})); err != nil {
		_ = s.Reset()
		return nil, err
	}
	return &heir{host: to.host, stream: s, messages: wire.NewReader(s, wire.MaxToPlayer)}, nil
}

// arriveAt asks for the seat in the other room, and moves the visit there.
func (v *Visit) arriveAt(ctx context.Context, w *walking, h *heir) error {
	drop := func() { _ = h.stream.Reset() }
	cut := context.AfterFunc(ctx, drop)
	_, err := h.stream.Write(wire.AppendArrive(nil, wire.Arrive{Seat: w.seat.number, Program: w.seat.program, Walk: w.number}))
	if err == nil {
		err = h.read(w.to.name)
	}
	if !cut() && err == nil {
		err = ctx.Err()
	}
	if err == nil && !v.cross(w, h) {
		err = errStale
	}
	if err != nil {
		drop()
	}
	return err
}

// cross moves the visit to the room that has welcomed it, unless it was told to stay.
func (v *Visit) cross(w *walking, h *heir) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.walk != w || v.heir != nil || v.isClosing() || len(v.seats) != 1 || v.seats[w.seat.number] != w.seat {
		return false
	}
	v.walk, h.walk, v.heir = nil, w, h
	if v.stream != nil {
		_ = v.stream.SetReadDeadline(time.Unix(1, 0)) // has the reader return
	}
	select {
	case v.moved <- struct{}{}:
	default:
	}
	return true
}

// enter has the visit be of the room that its player walked to; mu is held. It is called
// when nothing of the room before is being read.
func (v *Visit) enter(to room) {
	v.before, v.enteredAt = room{v.room, v.host}, time.Now()
	v.change(to)
}

// change has the visit be of another room; mu is held.
func (v *Visit) change(to room) {
	v.room, v.host, v.line, v.seen, v.acked, v.walkedAt = to.name, to.host, nil, 0, 0, time.Time{}
	for _, s := range v.seats {
		s.known, s.at, s.since, s.newest = s.known[:0], s.at[:0], 0, 0
	}
	v.changed()
}

// errBack is the error of a stream to a room that gives a player back.
var errBack = errors.New("the room that the player came from has kept it")

// isGivenBack says whether an end of the seat means that.
func (v *Visit) isGivenBack(o wire.Out) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return o.Code == wire.Walked && v.before.host != "" && time.Since(v.enteredAt) < backLimit
}

// goBack has the visit be of the room that the player left; it is to be connected anew.
func (v *Visit) goBack() {
	v.mu.Lock()
	defer v.mu.Unlock()
	to := v.before
	v.before = room{}
	v.change(to)
}

// leaving is the walk by which the visit leaves its host, or nil; mu is held.
func (v *Visit) leaving() *walking {
	if v.heir == nil {
		return nil
	}
	return v.heir.walk
}

// part tells the host that the player left that it is gone, after what is being written.
func (v *Visit) part(s network.Stream, w *walking, writing *sync.WaitGroup) {
	_ = s.SetDeadline(time.Now().Add(partLimit))
	writing.Wait()
	word := wire.AppendParted(nil, wire.Parted{Seat: w.seat.number, Walk: w.number, Gone: true})
	if _, err := s.Write(word); err == nil && s.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, s)
	}
	_ = s.Reset()
}

// goNear opens a stream to a room that the player may walk to, of which there is one at a
// time; mu is held.
func (v *Visit) goNear(ctx context.Context, to room) {
	if a := v.ahead; a != nil {
		age := time.Since(a.at)
		if a.is == nil || age < walkEvery || a.to == to && age < aheadLimit {
			return
		}
		_ = a.is.stream.Reset()
	}
	a := &ahead{to: to, at: time.Now()}
	v.ahead = a
	v.walks.Go(func() {
		dialing, cancel := context.WithTimeout(ctx, walkDial)
		h, err := v.openTo(dialing, to)
		cancel()
		v.mu.Lock()
		defer v.mu.Unlock()
		switch {
		case v.ahead != a:
			if err == nil {
				_ = h.stream.Reset()
			}
		case err != nil:
			v.ahead = nil // the walk, if any, says why
		default:
			a.is, a.at = h, time.Now()
		}
	})
}

// takeAhead is the stream to that room that was opened ahead, or nil.
func (v *Visit) takeAhead(to room) *heir {
	v.mu.Lock()
	defer v.mu.Unlock()
	a := v.ahead
	v.ahead = nil
	if a == nil || a.is == nil {
		return nil
	}
	if a.to != to || time.Since(a.at) > aheadLimit {
		_ = a.is.stream.Reset()
		return nil
	}
	return a.is
}
