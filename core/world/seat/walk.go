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
// visit opens a stream to the other room and asks for the seat there, while it continues
// with its present host. When it is welcomed, that stream becomes the visit's, as when a
// room moves to a standby (follow.go), and the first host is informed. A visit that was
// told to stay no longer takes the other seat, so the player is in one room at a time.

const (
	// walkDial bounds how long a walk may take here; the host calls the player back
	// earlier.
	walkDial = 10 * time.Second
	// walkEvery is the least time between two walks, or between two streams opened ahead.
	walkEvery = 250 * time.Millisecond
	// aheadLimit is how long a stream that was opened ahead is kept: its host ends a
	// stream without a seat after ten seconds.
	aheadLimit = 8 * time.Second
	// partLimit is how long informing the host that a player left may take.
	partLimit = time.Second
	// backLimit is how long after a walk the room that the player left may turn out to
	// have kept it.
	backLimit = 15 * time.Second
)

// room is a room that the host has named.
type room struct {
	name string
	host peer.ID
}

// walking is a walk in progress.
type walking struct {
	to     room
	seat   *Seat
	number uint32
	cancel context.CancelFunc
}

// ahead is a stream to a room to which the player may walk.
type ahead struct {
	to room
	at time.Time
	is *heir // nil while it is being opened
}

// takeWay handles a Way to another room. It is called by the reader.
func (v *Visit) takeWay(ctx context.Context, body []byte) error {
	w, err := wire.DecodeWay(body)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.seats[w.Seat]
	if s == nil || v.heir != nil {
		return nil // the seat was just left, or the visit is moving
	}
	to := room{w.Room, w.Host}
	switch w.Direction {
	case wire.Near:
		if len(v.seats) == 1 {
			v.goNear(ctx, to)
		}
	case wire.Go:
		if v.walk == nil || v.walk.number != w.Walk { // otherwise it is a repetition
			v.setOut(ctx, s, to, w.Walk)
		}
	case wire.Stay:
		v.stopWalk()
		v.sayStays(s, w.Walk, "it was called back")
	}
	return nil
}

// sayStays informs the host that the player does not go; mu is held.
func (v *Visit) sayStays(s *Seat, walk uint32, why string) {
	v.out = wire.AppendParted(v.out, wire.Parted{Seat: s.number, Walk: walk, Reason: why})
	v.nudge()
}

// stopWalk ends the walk in progress, if any; mu is held.
func (v *Visit) stopWalk() {
	if v.walk != nil {
		v.walk.cancel()
		v.walk = nil
	}
}

// setOut starts a walk; mu is held.
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

// walkTo returns nil when the visit continues in the other room.
func (v *Visit) walkTo(ctx context.Context, w *walking) error {
	if h := v.takeAhead(w.to); h != nil {
		err := v.arriveAt(ctx, w, h)
		var out *Out
		if err == nil || errors.As(err, &out) || ctx.Err() != nil {
			return err
		} // otherwise the stream was lost meanwhile
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
		_ = v.stream.SetReadDeadline(time.Unix(1, 0)) // makes the reader return
	}
	select {
	case v.moved <- struct{}{}:
	default:
	}
	return true
}

// enter makes the visit belong to the room that its player walked to; mu is held. It is
// called when nothing from the earlier room is being read.
func (v *Visit) enter(to room) {
	v.before, v.enteredAt = room{v.room, v.host}, time.Now()
	v.change(to)
}

// change makes the visit belong to another room; mu is held.
func (v *Visit) change(to room) {
	v.room, v.host, v.line, v.seen, v.acked, v.walkedAt = to.name, to.host, nil, 0, 0, time.Time{}
	for _, s := range v.seats {
		s.known, s.at, s.since, s.newest = s.known[:0], s.at[:0], 0, 0
	}
	v.changed()
}

// errBack is the error of a stream to a room that gives a player back.
var errBack = errors.New("the room that the player came from has kept it")

// isGivenBack reports whether an end of the seat means that.
func (v *Visit) isGivenBack(o wire.Out) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return o.Code == wire.Walked && v.before.host != "" && time.Since(v.enteredAt) < backLimit
}

// goBack makes the visit belong to the room that the player left; the caller has to
// reconnect.
func (v *Visit) goBack() {
	v.mu.Lock()
	defer v.mu.Unlock()
	to := v.before
	v.before = room{}
	v.change(to)
}

// leaving returns the walk by which the visit leaves its host, or nil; mu is held.
func (v *Visit) leaving() *walking {
	if v.heir == nil {
		return nil
	}
	return v.heir.walk
}

// part informs the host that the player has left, after pending writes.
func (v *Visit) part(s network.Stream, w *walking, writing *sync.WaitGroup) {
	_ = s.SetDeadline(time.Now().Add(partLimit))
	writing.Wait()
	word := wire.AppendParted(nil, wire.Parted{Seat: w.seat.number, Walk: w.number, Gone: true})
	if _, err := s.Write(word); err == nil && s.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, s)
	}
	_ = s.Reset()
}

// goNear opens a stream to a room to which the player may walk, one at a time; mu is
// held.
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
			v.ahead = nil // a walk, if any, will report the reason
		default:
			a.is, a.at = h, time.Now()
		}
	})
}

// takeAhead returns the stream to that room that was opened ahead, or nil.
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
