package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
)

// ErrNoAddress is returned when a peer is to be dialled by its id alone and
// neither the peerstore nor a relay offers a way to it.
var ErrNoAddress = errors.New("no address known and no relay to ask")

// ParsePeer reads how a person names a peer: a peer id, or a multiaddr that
// ends in /p2p/<id>.
func ParsePeer(s string) (peer.AddrInfo, error) {
	if s == "" {
		return peer.AddrInfo{}, errors.New("the peer is empty: give a peer id, or a multiaddr ending in /p2p/<id>")
	}
	if s[0] != '/' {
		id, err := peer.Decode(s)
		if err != nil {
			return peer.AddrInfo{}, fmt.Errorf("%q is neither a peer id nor a multiaddr: %w", s, err)
		}
		return peer.AddrInfo{ID: id}, nil
	}
	addr, err := ma.NewMultiaddr(s)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("%q is not a multiaddr: %w", s, err)
	}
	info, err := peer.AddrInfoFromP2pAddr(addr)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("%q does not end in /p2p/<id>: %w", s, err)
	}
	return *info, nil
}

// ParsePeers reads a list of multiaddrs that end in /p2p/<id> and joins the
// addresses of the same peer. An entry without an address is an error.
func ParsePeers(list []string) ([]peer.AddrInfo, error) {
	infos := make([]peer.AddrInfo, 0, len(list))
	at := make(map[peer.ID]int, len(list))
	for _, s := range list {
		info, err := ParsePeer(s)
		if err != nil {
			return nil, err
		}
		if len(info.Addrs) == 0 {
			return nil, fmt.Errorf("%q has no address: give a multiaddr ending in /p2p/<id>", s)
		}
		if i, ok := at[info.ID]; ok {
			infos[i].Addrs = append(infos[i].Addrs, info.Addrs...)
			continue
		}
		at[info.ID] = len(infos)
		infos = append(infos, info)
	}
	return infos, nil
}

// Connect connects to a peer given as a multiaddr ending in /p2p/<id>, or as a
// bare peer id, and returns its id. See ConnectPeer.
func (n *Node) Connect(ctx context.Context, addrOrID string) (peer.ID, error) {
	info, err := ParsePeer(addrOrID)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	return info.ID, n.ConnectPeer(ctx, info)
}

// ConnectPeer makes sure that there is a connection to the peer; it returns at
// once where there is one already. The peer is dialled at the addresses given
// and at those already known; where neither is there, through every relay on
// which this node holds a reservation or to which it is connected.
//
// Direct addresses given explicitly are dialled even when the peer is connected
// through a relay, so that a direct connection can be asked for.
func (n *Node) ConnectPeer(ctx context.Context, info peer.AddrInfo) error {
	if n.isClosed() {
		return ErrClosed
	}
	if info.ID == n.host.ID() {
		return errors.New("connect: the peer is this node itself")
	}
	ctx = network.WithAllowLimitedConn(ctx, "tombolo")
	if len(info.Addrs) == 0 {
		if n.host.Network().Connectedness(info.ID) != network.NotConnected {
			return nil
		}
		if info.Addrs = n.host.Peerstore().Addrs(info.ID); len(info.Addrs) == 0 {
			info.Addrs = n.circuitAddrs()
		}
		if len(info.Addrs) == 0 {
			return fmt.Errorf("connect to %s: %w", info.ID, ErrNoAddress)
		}
	} else if !slices.ContainsFunc(info.Addrs, isCircuit) {
		ctx = network.WithForceDirectDial(ctx, "only direct addresses were given")
	}
	// Addresses from circuitAddrs end at the relay; they are tried for this
	// peer only for as long as a dial takes.
	n.host.Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.TempAddrTTL)
	if err := n.host.Connect(ctx, peer.AddrInfo{ID: info.ID}); err != nil {
		return fmt.Errorf("connect to %s: %w", info.ID, err)
	}
	return nil
}

// circuitAddrs are the ways through each relay this node knows.
func (n *Node) circuitAddrs() []ma.Multiaddr {
	if n.reservations == nil {
		return nil
	}
	var addrs []ma.Multiaddr
	for _, relay := range n.reservations.Relays() {
		if n.host.Network().Connectedness(relay) == network.Connected {
			addrs = append(addrs, ma.StringCast("/p2p/"+relay.String()+"/p2p-circuit"))
		}
	}
	return addrs
}

func isCircuit(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

// Disconnect closes all connections to the peer. A peer that is not connected
// is no error.
func (n *Node) Disconnect(p peer.ID) error {
	if err := n.host.Network().ClosePeer(p); err != nil {
		return fmt.Errorf("disconnect %s: %w", p, err)
	}
	return nil
}

// Peer is what the node knows of a connected peer.
type Peer struct {
	ID        peer.ID
	Agent     string         // what it calls itself; empty until identify has run
	Addrs     []ma.Multiaddr // where it says it can be dialled
	Addr      ma.Multiaddr   // the far end of the connection in use
	Transport string         // of the connection in use: tcp, quic, websocket, webtransport, webrtc-direct, circuit
	Direction network.Direction
	Relayed   bool          // the connection in use passes a relay
	Relay     peer.ID       // that relay; empty unless Relayed
	RTT       time.Duration // smoothed; 0 until first measured
	Since     time.Time     // when the connection in use was made
	Conns     int           // open connections, the one in use included
}

// Peers lists the connected peers, in no particular order.
func (n *Node) Peers() []Peer {
	nw, ps := n.host.Network(), n.host.Peerstore()
	ids := nw.Peers()
	peers := make([]Peer, 0, len(ids))
	for _, id := range ids {
		conns := nw.ConnsToPeer(id)
		if len(conns) == 0 {
			continue // gone since
		}
		p := describe(bestConn(conns))
		p.ID, p.Conns, p.Addrs, p.RTT = id, len(conns), ps.Addrs(id), ps.LatencyEWMA(id)
		if agent, err := ps.Get(id, "AgentVersion"); err == nil {
			p.Agent, _ = agent.(string)
		}
		peers = append(peers, p)
	}
	return peers
}

// bestConn is the connection the host prefers for new streams: a direct one
// before a relayed one, then the oldest.
func bestConn(conns []network.Conn) network.Conn {
	best := conns[0]
	for _, c := range conns[1:] {
		br, cr := isCircuit(best.RemoteMultiaddr()), isCircuit(c.RemoteMultiaddr())
		if br && !cr || br == cr && c.Stat().Opened.Before(best.Stat().Opened) {
			best = c
		}
	}
	return best
}

func describe(c network.Conn) Peer {
	addr, stat := c.RemoteMultiaddr(), c.Stat()
	p := Peer{
		Addr:      addr,
		Transport: transportName(c.ConnState().Transport),
		Direction: stat.Direction,
		Relayed:   isCircuit(addr),
		Since:     stat.Opened,
	}
	if p.Relayed {
		p.Transport = "circuit" // the accepting side calls it tcp
		if id, err := addr.ValueForProtocol(ma.P_P2P); err == nil {
			p.Relay, _ = peer.Decode(id)
		}
	}
	return p
}

// transportName turns the names that the transports give themselves into the
// ones a person knows.
func transportName(s string) string {
	switch s {
	case "p2p-circuit":
		return "circuit"
	case "quic-v1":
		return "quic"
	default:
		return s
	}
}
