package mesh

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// GossipSub has a stream to each peer, and each peer has one to it. It loses sight of
// peers that stay connected (issue 433 of go-libp2p-pubsub):
//
//   - When its own stream ends, it forgets what the peer announced on the other one, and
//     opens a new one. The peer does not repeat its announcements. Two nodes that dial
//     each other close one of two connections, and so one of the streams.
//   - When it cannot open a stream, or has tried too often, it gives the peer up until the
//     peer connects again.

// reachEvery is how often the node looks for peers that GossipSub has given up.
const reachEvery = 5 * time.Second

// streams are the peers to which GossipSub has a stream.
type streams struct {
	mu sync.Mutex
	to map[peer.ID]struct{}
}

func (s *streams) opened(p peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.to == nil {
		s.to = make(map[peer.ID]struct{})
	}
	s.to[p] = struct{}{}
}

func (s *streams) closed(p peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.to, p)
}

func (s *streams) has(p peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, has := s.to[p]
	return has
}

// streamClosed is called when GossipSub's stream to a peer has ended, and GossipSub has
// forgotten what the peer announced.
func (m *Mesh) streamClosed(p peer.ID) {
	m.streams.closed(p)
	meshed := m.meshed.forget(p)
	in := m.host.speaks(p)
	if in == nil || m.host.Network().Connectedness(p) != network.Connected {
		m.filter.forget(p)
		return
	}
	if said := frames(m.filter.topics(p), meshed); len(said) > 0 {
		in.repeat(said)
	}
}

// reach makes GossipSub open streams to the peers that it has given up, until the mesh is
// closed.
func (m *Mesh) reach() {
	again, err := m.host.EventBus().Emitter(new(event.EvtPeerProtocolsUpdated))
	if err != nil {
		m.log.Error("peers that GossipSub gives up are lost to it", "error", err)
		return
	}
	defer again.Close()
	ticker := time.NewTicker(reachEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-m.ctx.Done():
			return
		}
		for _, p := range m.host.Network().Peers() {
			if protos := m.givenUp(p); len(protos) > 0 {
				_ = again.Emit(event.EvtPeerProtocolsUpdated{Peer: p, Added: protos})
			}
		}
		m.filter.forgetAll(func(p peer.ID) bool { return m.host.speaks(p) == nil })
	}
}

// givenUp returns the protocols that GossipSub could use with a peer that it has no
// stream to.
func (m *Mesh) givenUp(p peer.ID) []protocol.ID {
	if m.streams.has(p) || m.host.Network().Connectedness(p) != network.Connected {
		return nil
	}
	protos, _ := m.host.Peerstore().SupportsProtocols(p, m.host.protocols()...)
	return protos
}
