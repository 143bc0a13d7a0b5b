package mesh

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// Change reports that a peer has joined a type, or has left it.
type Change struct {
	Peer   peer.ID
	Joined bool
}

// Presence watches which other peers are subscribed to a type, whether or not they are
// connected to this node. A peer that unsubscribes is reported at once. A peer that
// vanishes is reported when its connection to this node ends; if it was connected only
// to others, 3 seconds after they notice, and after 75 seconds at the latest. All
// watchers of a type together send one query every 30 seconds. At most 4096 peers of a
// type are known; more are counted in Stats.
//
// If more than 128 peers of a relay are on a type, a watcher does not know all of them.
// With N peers, it learns of up to 128 when it begins, of about 128 random ones every 30
// seconds, and of each arrival with the probability 128/N. Because it remembers them, it
// knows nearly all of 1,000 peers after a quarter of an hour. A peer that leaves is still
// reported at once. A peer that vanishes unnoticed is reported only after up to 1.2
// seconds times N.
//
// All methods may be called concurrently.
type Presence struct {
	t      *topic
	ready  chan struct{} // holds a token after waits has grown
	closed chan struct{}
	once   sync.Once

	// Guarded by the mutex of the topic's presence.
	told  map[peer.ID]struct{} // peers that the reader knows to be there
	waits []peer.ID            // peers whose state may have changed
	among map[peer.ID]struct{} // the content of waits, as a set
}

// Presence begins to watch a type. Peers that are already present are reported as
// joining. The errors are those of Subscribe.
func (m *Mesh) Presence(typ string) (*Presence, error) {
	if err := message.CheckType(typ); err != nil {
		return nil, fmt.Errorf("presence: %w", err)
	}
	t, err := m.use(typ)
	if err != nil {
		return nil, fmt.Errorf("presence of %q: %w", typ, err)
	}
	if err := t.members.announce(); err != nil {
		t.release()
		return nil, fmt.Errorf("presence of %q: %w", typ, err)
	}
	return t.presence.watch(), nil
}

// note makes the reader look at a peer; presence.mu is held.
func (w *Presence) note(id peer.ID) {
	if _, waits := w.among[id]; waits {
		return
	}
	w.among[id] = struct{}{}
	w.waits = append(w.waits, id)
	w.wake()
}

// unnote removes a peer that came and left before a slow reader looked, so that waits is
// bounded; presence.mu is held.
func (w *Presence) unnote(id peer.ID) {
	if _, told := w.told[id]; told {
		return
	}
	delete(w.among, id)
	if len(w.waits) > 2*len(w.among)+16 {
		w.waits = slices.DeleteFunc(w.waits, func(id peer.ID) bool {
			_, waits := w.among[id]
			return !waits
		})
	}
}

func (w *Presence) wake() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// Now lists the peers that are known to be on the type, ordered by ID.
func (w *Presence) Now() []peer.ID {
	w.t.presence.mu.Lock()
	defer w.t.presence.mu.Unlock()
	var here []peer.ID
	if !w.isClosed() {
		for id, s := range w.t.presence.sightings {
			if s.here {
				here = append(here, id)
			}
		}
	}
	slices.SortFunc(here, func(a, b peer.ID) int { return strings.Compare(string(a), string(b)) })
	return here
}

// Next waits for the next change. A slow reader misses peers that joined and left in the
// meantime, and nothing else. The error is ErrClosed once the Presence or the Mesh is
// closed, or the error of ctx.
func (w *Presence) Next(ctx context.Context) (Change, error) {
	for {
		if c, ok := w.take(); ok {
			return c, nil
		}
		select {
		case <-w.ready:
		case <-w.closed:
			return Change{}, ErrClosed
		case <-w.t.m.ctx.Done():
			return Change{}, ErrClosed
		case <-ctx.Done():
			return Change{}, ctx.Err()
		}
	}
}

func (w *Presence) take() (Change, bool) {
	w.t.presence.mu.Lock()
	defer w.t.presence.mu.Unlock()
	for len(w.waits) > 0 && !w.isClosed() {
		id := w.waits[0]
		w.waits = w.waits[1:]
		if _, waits := w.among[id]; !waits {
			continue // removed by unnote
		}
		delete(w.among, id)
		s := w.t.presence.sightings[id]
		is := s != nil && s.here
		if _, was := w.told[id]; was == is {
			continue
		}
		if is {
			w.told[id] = struct{}{}
		} else {
			delete(w.told, id)
		}
		if len(w.waits) > 0 {
			w.wake() // for another reader
		}
		return Change{Peer: id, Joined: is}, true
	}
	return Change{}, false
}

func (w *Presence) isClosed() bool {
	select {
	case <-w.closed:
		return true
	default:
		return false
	}
}

// Close ends the watch. It may be called more than once.
func (w *Presence) Close() error {
	w.once.Do(func() {
		w.t.presence.unwatch(w)
		w.t.members.unannounce()
		w.t.release()
	})
	return nil
}
