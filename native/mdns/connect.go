package mdns

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// maxNeighbours is how many peers of the link are kept connected. In a
	// bigger crowd these lead to the others.
	maxNeighbours = 16
	maxAddrs      = 32 // of one of them

	// redial is the wait after a first failure, which doubles with each further
	// one as often as maxDoubled.
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

// connect keeps connected to those who were heard of, until ctx ends.
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

// makeRoom says whether there is room for one more, forgetting one that has not
// answered for long where there is need.
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

// dialDue dials those who are not connected and whose time has come. Nobody is
// told of again who was announced once, so they stay.
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
