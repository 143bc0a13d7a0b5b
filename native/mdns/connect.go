package mdns

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// maxNeighbours is how many peers of the link are kept connected. In a larger crowd,
	// these connect the node to the others.
	maxNeighbours = 16
	maxAddrs      = 32 // of one neighbour

	// redial is the pause after a first failure. It doubles with each further failure, at
	// most maxDoubled times.
	redial      = 5 * time.Second
	maxDoubled  = 4
	dialTimeout = 10 * time.Second
)

// neighbour is a peer of the link.
type neighbour struct {
	peer.AddrInfo
	failures int
	next     time.Time // when to try again
}

// connect keeps connected to the peers that were announced, until ctx ends.
func (f *Finder) connect(ctx context.Context) {
	known := make(map[peer.ID]*neighbour)
	ticker := time.NewTicker(redial)
	defer ticker.Stop()
	for {
		select {
		case info := <-f.heard:
			if _, ok := known[info.ID]; !ok && !makeRoom(known) {
				f.log.Debug("there are enough peers on the local link", "peer", info.ID)
				continue
			}
			known[info.ID] = &neighbour{AddrInfo: info}
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		f.dialDue(ctx, known)
	}
}

// makeRoom reports whether there is room for one more neighbour. If necessary it drops
// one that has not answered for long.
func makeRoom(known map[peer.ID]*neighbour) bool {
	if len(known) < maxNeighbours {
		return true
	}
	for id, n := range known {
		if n.failures > maxDoubled {
			delete(known, id)
			return true
		}
	}
	return false
}

// dialDue dials the neighbours that are not connected and due. All are kept, because a
// peer is announced only once.
func (f *Finder) dialDue(ctx context.Context, known map[peer.ID]*neighbour) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var dials sync.WaitGroup
	for _, n := range known {
		if f.host.Network().Connectedness(n.ID) == network.Connected {
			n.failures = 0
			continue
		}
		if time.Now().Before(n.next) {
			continue
		}
		dials.Go(func() {
			err := f.host.Connect(ctx, n.AddrInfo)
			if err == nil {
				f.log.Debug("connected to a peer on the local link", "peer", n.ID)
				n.failures = 0
				if f.tag != "" {
					f.host.ConnManager().Protect(n.ID, f.tag)
				}
				return
			}
			f.log.Debug("a peer on the local link does not answer", "peer", n.ID, "error", err)
			n.next = time.Now().Add(redial << min(n.failures, maxDoubled))
			n.failures++
		})
	}
	dials.Wait()
}
