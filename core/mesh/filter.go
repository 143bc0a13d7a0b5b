package mesh

import (
	"maps"
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// mostTopicsPerPeer bounds the types that one peer is known to be on. What it
// subscribes to beyond is counted and not known of.
const mostTopicsPerPeer = 4096

// filter decides which subscriptions of peers are kept: those of our network's
// types, up to a number. GossipSub asks it from its one loop, so it must not
// call GossipSub.
type filter struct {
	m *Mesh

	mu    sync.Mutex
	peers map[peer.ID]map[string]struct{} // the types that a peer is on
	fresh map[string]peer.ID              // types that peers came to since wanted was called, and one of those
}

var _ pubsub.SubscriptionFilter = (*filter)(nil)

func newFilter(m *Mesh) *filter {
	return &filter{m: m, peers: make(map[peer.ID]map[string]struct{}), fresh: make(map[string]peer.ID)}
}

// CanSubscribe says whether a topic is one of ours.
func (f *filter) CanSubscribe(topic string) bool { return f.m.typeOf(topic) != "" }

// FilterIncomingSubscriptions keeps what may be kept.
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

// forget is told of a peer that is gone, or says anew what it is on.
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

// topics are those that a peer is on.
func (f *filter) topics(p peer.ID) (topics []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for typ := range f.peers[p] {
		topics = append(topics, f.m.prefix+typ)
	}
	return topics
}

// wanted gives the types that peers came to since the last call, and for each one
// of those peers.
func (f *filter) wanted() map[string]peer.ID {
	f.mu.Lock()
	defer f.mu.Unlock()
	types := f.fresh
	f.fresh = make(map[string]peer.ID)
	return types
}

// wantAll makes all types that peers are on wanted again, but for some.
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
