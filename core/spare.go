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

	"github.com/tombolo-net/tombolo/core/liveness"
	"github.com/tombolo-net/tombolo/core/reservation"
)

const (
	// spareConns is the number of connections that a node keeps although it made them
	// itself and does not need them now. Through them it reaches the rest of the mesh.
	spareConns = 8
	// spareAge is how old a connection must be before it is closed, and spareEvery is
	// the time between two checks.
	spareAge   = 20 * time.Second
	spareEvery = 5 * time.Second
)

// spares closes connections that this node made and does not need. A node that looks
// for a peer or maintains a routing table connects to many peers; without spares,
// every node of a small mesh would soon be connected to every other.
//
// A connection is needed if one of these is true: the peer has an open stream that is
// not mere upkeep; it is in GossipSub's mesh; it is a relay or a bootstrap peer; it is
// on the local link; the program called ConnectPeer for it. Connections that other
// peers made are theirs to close.
//
// A node that holds all the reservations it wants does not need its other relays, and
// keeps no spare connections to them. Each such relay would send it one more copy of
// every broadcast, and serve it as a client. With a hundred relays, every relay would
// have every client.
type spares struct {
	node      *Node
	bootstrap func() []peer.AddrInfo

	mu     sync.Mutex
	wanted map[peer.ID]struct{} // the program called ConnectPeer for them
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

// want keeps the connections to a peer from being closed, until the peer disconnects.
func (s *spares) want(p peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted[p] = struct{}{}
}

// letGo closes all unneeded connections to other relays, and all but spareConns of the
// unneeded connections to other peers: those with the least value to the routing table
// first, and of these the oldest.
func (s *spares) letGo(now time.Time) {
	others := s.otherRelays()
	value := func(c network.Conn) int {
		if tags := s.node.host.ConnManager().GetTagInfo(c.RemotePeer()); tags != nil {
			return tags.Value
		}
		return 0
	}
	var useless, spare []network.Conn
	for _, c := range s.unneeded(now, others) {
		if _, other := others[c.RemotePeer()]; other {
			useless = append(useless, c)
		} else {
			spare = append(spare, c)
		}
	}
	slices.SortStableFunc(spare, func(a, b network.Conn) int {
		return cmp.Or(cmp.Compare(value(a), value(b)), a.Stat().Opened.Compare(b.Stat().Opened))
	})
	useless = append(useless, spare[:max(0, len(spare)-spareConns)]...)
	if len(useless) > 0 {
		<-liveness.CloseAll(useless)
	}
}

// otherRelays returns the relays that the node needs no reservation on, because it holds
// all that it wants.
func (s *spares) otherRelays() map[peer.ID]struct{} {
	others := make(map[peer.ID]struct{})
	held := s.node.Reservations()
	if len(held) < reservation.DefaultMax {
		return others
	}
	for _, r := range s.node.relays() {
		others[r.ID] = struct{}{}
	}
	for _, r := range held {
		delete(others, r.Relay)
	}
	return others
}

func (s *spares) unneeded(now time.Time, others map[peer.ID]struct{}) []network.Conn {
	conns := s.node.host.Network().Conns()
	needed := s.stillWanted()
	for _, b := range s.bootstrap() {
		if _, other := others[b.ID]; !other {
			needed[b.ID] = struct{}{}
		}
	}
	for _, c := range conns { // per peer: a direct connection may soon replace the circuit that is in use
		if slices.ContainsFunc(c.GetStreams(), func(stream network.Stream) bool { return !isUpkeep(stream.Protocol()) }) {
			needed[c.RemotePeer()] = struct{}{}
		}
	}
	return slices.DeleteFunc(conns, func(c network.Conn) bool {
		_, is := needed[c.RemotePeer()]
		return is || c.Stat().Direction != network.DirOutbound || now.Sub(c.Stat().Opened) < spareAge || s.protected(c.RemotePeer(), others)
	})
}

// stillWanted removes the peers that have disconnected from wanted, and returns a copy.
func (s *spares) stillWanted() map[peer.ID]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.wanted, func(p peer.ID, _ struct{}) bool {
		return s.node.host.Network().Connectedness(p) == network.NotConnected
	})
	return maps.Clone(s.wanted)
}

// protected reports whether the peer is on the local link, or in GossipSub's mesh. The
// relays in others do not count for the latter, because all connected relays are in it.
// protected ignores other protections of the connection manager, because the routing
// table protects half of a small mesh.
func (s *spares) protected(p peer.ID, others map[peer.ID]struct{}) bool {
	_, other := others[p]
	return s.node.host.ConnManager().IsProtected(p, NeighbourTag) || !other && s.node.mesh.Meshed(p)
}

// NeighbourTag is the tag with which a platform protects connections to peers on the
// local link: see connmgr.ConnManager.
const NeighbourTag = "tombolo-neighbour"

// isUpkeep reports whether any two connected peers open streams of this protocol now and
// then, even if neither needs the other.
func isUpkeep(p protocol.ID) bool {
	for _, upkeep := range []string{"/meshsub/", "/floodsub/", "/ipfs/id/", "/ipfs/ping/", "/libp2p/autonat/"} {
		if strings.HasPrefix(string(p), upkeep) {
			return true
		}
	}
	return strings.HasSuffix(string(p), "/kad/1.0.0")
}
