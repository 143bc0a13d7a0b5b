package mesh

import (
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// trackedHost is the host as GossipSub sees it. GossipSub never ends the goroutines that
// read from its peers; trackedHost knows their streams, so that Close can end them. It
// reads one stream of each peer at a time.
type trackedHost struct {
	host.Host
	begins func(peer.ID)                  // called for each stream that a peer opens, before it is read
	waits  func(peer.ID, <-chan struct{}) // called before an RPC is read, until it returns; nil: not called

	mu      sync.Mutex
	closed  bool
	protos  []protocol.ID
	inbound map[peer.ID]*inbound // the newest stream of each peer
	readers sync.WaitGroup
}

var _ host.Host = (*trackedHost)(nil)

func newTrackedHost(h host.Host, begins func(peer.ID)) *trackedHost {
	return &trackedHost{Host: h, begins: begins, inbound: make(map[peer.ID]*inbound)}
}

// SetStreamHandler is called by GossipSub to register its reader.
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
		p, in := s.Conn().RemotePeer(), newInbound(s, h.waits)
		before := h.inbound[p]
		h.inbound[p] = in
		h.readers.Add(1)
		h.mu.Unlock()
		defer func() {
			h.mu.Lock()
			if h.inbound[p] == in {
				delete(h.inbound, p)
			}
			h.mu.Unlock()
			close(in.done)
			h.readers.Done()
		}()
		if before != nil {
			// When GossipSub learns that a stream has ended, it forgets what the peer
			// announced, even on its next stream.
			_ = before.Reset()
			<-before.done
		}
		h.begins(p)
		f(in)
	})
}

// protocols returns the protocols that GossipSub speaks.
func (h *trackedHost) protocols() []protocol.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.protos)
}

// speaks returns the stream on which GossipSub hears the peer, or nil.
func (h *trackedHost) speaks(p peer.ID) *inbound {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.inbound[p]
}

// close removes the handlers, ends the streams and waits for their readers.
func (h *trackedHost) close() {
	h.mu.Lock()
	h.closed = true
	for _, proto := range h.protos {
		h.Host.RemoveStreamHandler(proto)
	}
	for _, s := range h.inbound {
		_ = s.Reset()
	}
	h.mu.Unlock()
	h.readers.Wait()
}
