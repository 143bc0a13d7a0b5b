package mesh

import (
	"maps"
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// mostTopicsPerPeer bounds the types that one peer is known to be on. Further
// subscriptions are counted and dropped.
const mostTopicsPerPeer = 4096

// filter decides which subscriptions of peers are kept: those of our network's types, up
// to a number. GossipSub calls it from its only loop, so it must not call GossipSub.
type filter struct {
	m *Mesh

	mu    sync.Mutex
	peers map[peer.ID]map[string]struct{} // the types that a peer is on
	fresh map[string]peer.ID              // types that peers joined since the last call of wanted, with one of these peers
}

var _ pubsub.SubscriptionFilter = (*filter)(nil)

func newFilter(m *Mesh) *filter {
	return &filter{m: m, peers: make(map[peer.ID]map[string]struct{}), fresh: make(map[string]peer.ID)}
}

// CanSubscribe reports whether a topic is one of ours.
func (f *filter) CanSubscribe(topic string) bool { return f.m.typeOf(topic) != "" }

// FilterIncomingSubscriptions returns the subscriptions to keep.
func (f *filter) FilterIncomingSubscriptions(from peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	types := f.peers[from]
	var kept []*pb.RPC_SubOpts
	for _, s := range subs {
		typ := f.m.typeOf(s.GetTopicid())
		if typ == "" {
			continue
		}
		if !s.GetSubscribe() {
			delete(types, typ)
			kept = append(kept, s)
			continue
		}
		if _, known := types[typ]; !known && len(types) >= mostTopicsPerPeer {
			f.m.stats.tooManyTopics.Add(1)
			continue
		}
		if types == nil {
			types = make(map[string]struct{})
			f.peers[from] = types
		}
		types[typ] = struct{}{}
		f.fresh[typ] = from
		kept = append(kept, s)
	}
	if len(types) == 0 {
		delete(f.peers, from)
	}
	if f.m.carrier == nil {
		clear(f.fresh)
	} else if len(f.fresh) > 0 {
		f.m.carrier.nudge()
	}
	return kept, nil
}

// forget is called for a peer that has left, or that is about to send its subscriptions
// anew.
func (f *filter) forget(p peer.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.peers, p)
}

func (f *filter) forgetAll(gone func(peer.ID) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.peers, func(p peer.ID, _ map[string]struct{}) bool { return gone(p) })
}

// topics returns the topics that a peer is on.
func (f *filter) topics(p peer.ID) (topics []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for typ := range f.peers[p] {
		topics = append(topics, f.m.prefix+typ)
	}
	return topics
}

// wanted returns the types that peers have joined since the last call, each with one of
// these peers.
func (f *filter) wanted() map[string]peer.ID {
	f.mu.Lock()
	defer f.mu.Unlock()
	types := f.fresh
	f.fresh = make(map[string]peer.ID)
	return types
}

// wantAll makes all types that peers are on wanted again, except the given ones.
func (f *filter) wantAll(except map[string]struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p, types := range f.peers {
		for typ := range types {
			if _, is := except[typ]; !is {
				f.fresh[typ] = p
			}
		}
	}
}
