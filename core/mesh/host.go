package mesh

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// trackedHost is the host as GossipSub sees it. GossipSub never ends the
// goroutines that read from its peers; here they are known, so that Close can.
type trackedHost struct {
	host.Host

	mu      sync.Mutex
	closed  bool
	protos  []protocol.ID
	streams map[network.Stream]struct{}
	readers sync.WaitGroup
}

var _ host.Host = (*trackedHost)(nil)

func newTrackedHost(h host.Host) *trackedHost {
	return &trackedHost{Host: h, streams: make(map[network.Stream]struct{})}
}

// SetStreamHandler is what GossipSub registers its reader with.
func (h *trackedHost) SetStreamHandler(proto protocol.ID, f network.StreamHandler) {
	h.mu.Lock()
	h.protos = append(h.protos, proto)
	h.mu.Unlock()
	h.Host.SetStreamHandler(proto, func(s network.Stream) {
		h.mu.Lock()
		if h.closed {
			h.mu.Unlock()
			_ = s.Reset()
			return
		}
		h.streams[s] = struct{}{}
		h.readers.Add(1)
		h.mu.Unlock()
		defer func() {
			h.mu.Lock()
			delete(h.streams, s)
			h.mu.Unlock()
			h.readers.Done()
		}()
		f(s)
	})
}

// close takes the handlers back, ends the streams and waits for their readers.
func (h *trackedHost) close() {
	h.mu.Lock()
	h.closed = true
	for _, proto := range h.protos {
		h.Host.RemoveStreamHandler(proto)
	}
	for s := range h.streams {
		_ = s.Reset()
	}
	h.mu.Unlock()
	h.readers.Wait()
}
