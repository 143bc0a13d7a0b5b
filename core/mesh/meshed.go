package mesh

import (
	"maps"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// meshed lists the peers in GossipSub's mesh, with their topics.
type meshed struct {
	mu     sync.Mutex
	topics map[peer.ID]map[string]struct{}
}

func (m *meshed) graft(p peer.ID, topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.topics == nil {
		m.topics = make(map[peer.ID]map[string]struct{})
	}
	if m.topics[p] == nil {
		m.topics[p] = make(map[string]struct{})
	}
	m.topics[p][topic] = struct{}{}
}

func (m *meshed) prune(p peer.ID, topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.topics[p], topic)
	if len(m.topics[p]) == 0 {
		delete(m.topics, p)
	}
}

// forget is called when GossipSub has removed a peer from its mesh, and returns the
// topics.
func (m *meshed) forget(p peer.ID) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	topics := slices.Collect(maps.Keys(m.topics[p]))
	delete(m.topics, p)
	return topics
}

// Meshed reports whether the peer is in GossipSub's mesh for a topic of this node, so
// that broadcasts flow directly between the two.
func (m *Mesh) Meshed(p peer.ID) bool {
	m.meshed.mu.Lock()
	defer m.meshed.mu.Unlock()
	_, ok := m.meshed.topics[p]
	return ok
}
