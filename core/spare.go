package core

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

const (
	// spareConns is how many connections a node keeps that it made and does not
	// need: they lead to the others.
	spareConns = 8
	// spareAge is how old a connection must be to be let go, and spareEvery the time
	// between two looks.
	spareAge   = 20 * time.Second
	spareEvery = 5 * time.Second
)

// spares lets go of connections that this node made and does not need. Whoever
// looks for a peer, or keeps a routing table, asks many others, and without this
// every node of a small mesh is connected to every other before long.
//
// A connection is needed while it has a stream of more than upkeep, while the peer
// is one of GossipSub's for a topic, a relay or another one that the node is told
// to turn to, or on the local link, and where the program asked for it, by
// ConnectPeer. Those that peers made are theirs to let go.
type spares struct {
	node      *Node
	bootstrap func() []peer.AddrInfo

	mu     sync.Mutex
	wanted map[peer.ID]struct{} // the program asked for them
}

func (n *Node) sparesPart(opts Options) Part {
	n.spares.bootstrap = opts.Bootstrap
	if opts.Bootstrap == nil {
		n.spares.bootstrap = n.relays
	}
	return task("spare connections", n.spares.watch)
}

func (s *spares) watch(ctx context.Context) {
	tick := time.NewTicker(spareEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s.letGo(now)
		case <-ctx.Done():
			return
		}
	}
}

// want keeps the connections to a peer for as long as there are any.
func (s *spares) want(p peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted[p] = struct{}{}
}

// letGo closes what is too much: of what is not needed, those of the least use to
// the routing table, and of these the oldest.
func (s *spares) letGo(now time.Time) {
	unneeded := s.unneeded(now)
	if len(unneeded) <= spareConns {
		return
	}
	value := func(c network.Conn) int {
		if tags := s.node.host.ConnManager().GetTagInfo(c.RemotePeer()); tags != nil {
			return tags.Value
		}
		return 0
	}
	slices.SortStableFunc(unneeded, func(a, b network.Conn) int {
		return cmp.Or(cmp.Compare(value(a), value(b)), a.Stat().Opened.Compare(b.Stat().Opened))
	})
	<-closeAll(unneeded[:len(unneeded)-spareConns])
}

func (s *spares) unneeded(now time.Time) []network.Conn {
	conns := s.node.host.Network().Conns()
	needed := s.stillWanted()
	for _, b := range s.bootstrap() {
		needed[b.ID] = struct{}{}
	}
	for _, c := range conns { // a direct connection beside a circuit in use is to take its place
		if slices.ContainsFunc(c.GetStreams(), func(stream network.Stream) bool { return !isUpkeep(stream.Protocol()) }) {
			needed[c.RemotePeer()] = struct{}{}
		}
	}
	return keep(conns, func(c network.Conn) bool {
		_, is := needed[c.RemotePeer()]
		return !is && c.Stat().Direction == network.DirOutbound && now.Sub(c.Stat().Opened) >= spareAge && !s.protected(c.RemotePeer())
	})
}

// stillWanted is a copy of wanted, after it has forgotten who is not connected any
// more.
func (s *spares) stillWanted() map[peer.ID]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.wanted, func(p peer.ID, _ struct{}) bool {
		return s.node.host.Network().Connectedness(p) == network.NotConnected
	})
	return maps.Clone(s.wanted)
}

// protected says whether something but the routing table holds on to a peer, which
// protects half of a small mesh.
func (s *spares) protected(p peer.ID) bool {
	conns := s.node.host.ConnManager()
	return conns.IsProtected(p, NeighbourTag) || s.node.mesh.Meshed(p)
}

// NeighbourTag protects a connection to a peer on the local link: see
// connmgr.ConnManager.
const NeighbourTag = "tombolo-neighbour"

// isUpkeep says whether a stream is one that any two peers have, whether they need
// each other or not.
func isUpkeep(p protocol.ID) bool {
	for _, upkeep := range []string{"/meshsub/", "/floodsub/", "/ipfs/id/", "/ipfs/ping/", "/libp2p/autonat/"} {
		if strings.HasPrefix(string(p), upkeep) {
			return true
		}
	}
	return strings.HasSuffix(string(p), "/kad/1.0.0")
}
