package world

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

const (
	// handLimit is how long a standby may take to take over from a host that leaves. The
	// world stands still meanwhile.
	handLimit = 3 * time.Second
	// endLimit is how long the host waits for the standbys to receive that the room has
	// closed.
	endLimit = time.Second
)

// leaving is a request to hand the room over.
type leaving struct{ done chan handedOver }

type handedOver struct {
	to  peer.ID
	err error
}

// HandOver hands the room over to the first of its standbys that is ready to take over.
// Nothing is lost: the world stands still until the standby holds it, and the players
// follow. HandOver first waits up to seven seconds for players that are walking to
// another room (Player.Walk); no further ones start. After that the room has ended here,
// and Wait returns a *Moved. The error is ErrNoStandby, ErrClosed, the error of ctx, or
// the error of the standby; in the last case the room continues here.
func (r *Room) HandOver(ctx context.Context) (to peer.ID, err error) {
	if r.heir() == nil {
		return "", ErrNoStandby
	}
	l := &leaving{done: make(chan handedOver, 1)}
	r.Do(func() {
		if r.leaving != nil {
			r.leaving.done <- handedOver{err: errors.New("the room is being handed over already")}
		}
		r.leaving = l
	})
	select {
	case h := <-l.done:
		if h.err == nil {
			select {
			case <-r.done:
			case <-ctx.Done(): // the standby holds it all the same
			}
		}
		return h.to, h.err
	case <-r.done:
		select {
		case h := <-l.done:
			return h.to, h.err
		default:
			return "", ErrClosed
		}
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// handOver is called after a tick, and returns when the next tick may run.
func (r *Room) handOver() {
	l := r.leaving
	r.leaving = nil
	f := r.heir()
	if f == nil {
		l.done <- handedOver{err: ErrNoStandby}
		return
	}
	f.handing.Store(true)
	r.keep.cut(false)
	f.push(&moment{tick: r.world.tick, flags: wire.MarkFinal})
	line, err := f.awaitTaken(r.closing)
	if err != nil {
		l.done <- handedOver{err: fmt.Errorf("hand the room over to %s: %w", f.peer, err)}
		return
	}
	r.mu.Lock()
	r.setLine(line)
	r.mu.Unlock()
	r.yield(line)
	l.done <- handedOver{to: f.peer}
}

// awaitTaken waits until the standby has taken over, and returns its line, or the reason
// why it has not.
func (f *feed) awaitTaken(closing <-chan struct{}) (wire.Line, error) {
	late := time.NewTimer(handLimit)
	defer late.Stop()
	var err error
	select {
	case line := <-f.took:
		return line, nil
	case <-f.ended:
		err = errors.New("its connection was lost")
	case <-late.C:
		err = fmt.Errorf("it did not answer for %v", handLimit)
	case <-closing:
		err = ErrClosed
	}
	f.end()
	select {
	case line := <-f.took: // before its connection ended
		return line, nil
	default: // if it takes over later, the two hosts will meet
		f.handing.Store(false)
		return nil, err
	}
}

// endFeeds ends the streams to the standbys. If the room has closed for good, it sends
// them that; if it has moved, they already know where. In both cases the standbys end the
// streams.
func (r *Room) endFeeds() {
	r.mu.Lock()
	feeds := slices.Collect(maps.Values(r.feeds))
	r.mu.Unlock()
	if r.yielded == nil && errors.Is(r.err, ErrClosed) {
		m := &moment{tick: r.world.tick, flags: wire.MarkEnded}
		for _, f := range feeds {
			f.push(m)
		}
	} else if r.yielded == nil {
		feeds = nil // one of them will take over
	}
	late := time.NewTimer(endLimit)
	defer late.Stop()
	for _, f := range feeds {
		select {
		case <-f.ended:
			continue
		case <-late.C:
		}
		break
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.feeds {
		f.end()
	}
}

// ErrNoStandby is returned by Room.HandOver if no standby has received the whole world.
var ErrNoStandby = errors.New("no standby of the room is ready to take over")

// heir returns the first standby that is ready to take over, or nil.
func (r *Room) heir() *feed {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.line) == 0 {
		return nil
	}
	for _, p := range r.line.Newest().Standbys {
		if f := r.feeds[p]; f != nil && f.isSynced() {
			return f
		}
	}
	return nil
}

// Epoch returns how many times a peer has started to hold the room: the first host, each
// takeover and, if the store is a Fencer, each restart. It is zero if the room has had no
// standbys and its store is not a Fencer.
func (r *Room) Epoch() uint32 {
	if line, _ := r.claims(); len(line) > 0 {
		return line.Newest().Epoch
	}
	return 0
}

// Standbys returns the peers that are ready to take over, in the order in which they
// would do so.
func (r *Room) Standbys() []peer.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.line) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(r.line.Newest().Standbys), func(p peer.ID) bool {
		f := r.feeds[p]
		return f == nil || !f.isSynced()
	})
}
