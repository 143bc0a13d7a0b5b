package mesh

import (
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// mostTopicsPerPeer bounds the types that one peer is known to be on. What it
// subscribes to beyond is counted and forgotten.
const mostTopicsPerPeer = 4096

// filter decides which subscriptions of peers are kept: those of our network's
// types, up to a number. GossipSub asks it from its one loop, so it must not
// call GossipSub.
type filter struct {
	m *Mesh

	mu     sync.Mutex
	topics map[string]map[peer.ID]struct{}
	peers  map[peer.ID]map[string]struct{}
}

var _ pubsub.SubscriptionFilter = (*filter)(nil)

func newFilter(m *Mesh) *filter {
	return &filter{m: m, topics: make(map[string]map[peer.ID]struct{}), peers: make(map[peer.ID]map[string]struct{})}
}

func (f *filter) CanSubscribe(topic string) bool { return f.m.typeOf(topic) != "" }

func (f *filter) FilterIncomingSubscriptions(from peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return pubsub.FilterSubscriptions(subs, f.CanSubscribe), nil
}
