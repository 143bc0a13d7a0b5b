package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core/direct"
	"github.com/tombolo-net/tombolo/core/discovery"
	"github.com/tombolo-net/tombolo/core/internal/told"
	"github.com/tombolo-net/tombolo/core/reservation"
)

// ParsePeer parses the name of a peer: a peer ID, or a multiaddr that ends in /p2p/<id>.
func ParsePeer(s string) (peer.AddrInfo, error) {
	if s == "" {
		return peer.AddrInfo{}, errors.New("the peer is empty: give a peer ID, or a multiaddr ending in /p2p/<id>")
	}
	if s[0] != '/' {
		id, err := peer.Decode(s)
		if err != nil {
			return peer.AddrInfo{}, fmt.Errorf("%q is neither a peer ID nor a multiaddr (%w): give a peer ID, or a multiaddr ending in /p2p/<id>", s, err)
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

// ParsePeers parses a list of multiaddrs that end in /p2p/<id>, and merges the addresses
// of the same peer. An entry without an address is an error.
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

// ParseRelays parses a list of relays. Each is a multiaddr that ends in /p2p/<id>, or
// the http:// or https:// URL of the relay's page.
func ParseRelays(list []string) (relays []peer.AddrInfo, urls []string, err error) {
	var addrs []string
	for _, s := range list {
		if strings.HasPrefix(s, "/") {
			addrs = append(addrs, s)
			continue
		}
		if _, err := reservation.ParseURL(s); err != nil {
			return nil, nil, err
		}
		urls = append(urls, s)
	}
	relays, err = ParsePeers(addrs)
	return relays, urls, err
}

// Connect connects to a peer given as a multiaddr that ends in /p2p/<id>, or as a peer
// ID, and returns its ID. See ConnectPeer.
func (n *Node) Connect(ctx context.Context, addrOrID string) (peer.ID, error) {
	info, err := ParsePeer(addrOrID)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	return info.ID, n.ConnectPeer(ctx, info)
}

// ConnectPeer makes sure that there is a connection to the peer; it returns at once if
// there is one already. It dials the peer at the addresses in info. Without addresses, it
// searches for the peer: at the addresses already known, through every relay that this
// node is connected to, and in the mesh. If the search in the mesh fails, too, the error
// wraps that of discovery.Discovery.Connect. A node that has relays tries again for five
// seconds, unless ctx ends first, because the peer or the node itself may be just
// arriving.
//
// The connection stays open until it is lost or Disconnect is called. A connection
// that the node made by itself may be closed when nothing uses it.
//
// Direct addresses given explicitly are dialled even when the peer is connected through a
// relay, so a caller can ask for a direct connection.
func (n *Node) ConnectPeer(ctx context.Context, info peer.AddrInfo) error {
	if err := n.connect(ctx, info); err != nil {
		return err
	}
	n.spares.want(info.ID)
	return nil
}

// connect is like ConnectPeer, but the connection may be closed when nothing uses it.
func (n *Node) connect(ctx context.Context, info peer.AddrInfo) error {
	if n.isClosed() {
		return ErrClosed
	}
	if info.ID == n.host.ID() {
		return errors.New("connect: the peer is this node itself")
	}
	if n.Resting() {
		return fmt.Errorf("connect to %s: %w", info.ID, ErrResting)
	}
	var err error
	switch {
	case len(info.Addrs) == 0:
		err = n.find(ctx, info.ID)
	case slices.ContainsFunc(info.Addrs, isCircuit):
		err = n.dial(ctx, info)
	default:
		err = n.dial(network.WithForceDirectDial(ctx, "only direct addresses were given"), info)
	}
	if err != nil {
		return n.ended(fmt.Errorf("connect to %s: %w", info.ID, err))
	}
	return nil
}

// A peer that is not found may be just arriving, and so may this node: two nodes may be
// started together, and one call the other at once. So a node that has relays looks for a
// peer for arriveTime, less often each time.
const (
	arriveTime  = 5 * time.Second
	arriveFirst = 100 * time.Millisecond // between the first two attempts
	arriveMost  = time.Second            // between later ones, at most
)

// find connects to a peer given by its ID alone.
func (n *Node) find(ctx context.Context, p peer.ID) error {
	if n.host.Network().Connectedness(p) != network.NotConnected {
		return nil
	}
	if forbidden, _ := network.GetNoDial(ctx); forbidden {
		return network.ErrNoConn // and the mesh must not be searched either
	}
	addrs := n.host.Peerstore().Addrs(p)
	if len(addrs) == 0 {
		addrs = n.circuitAddrs()
	}
	err := n.findAt(ctx, p, addrs)
	until := time.Now().Add(arriveTime)
	for wait := arriveFirst; err != nil && n.mayArrive(ctx) && time.Now().Before(until); wait = min(2*wait, arriveMost) {
		select {
		case <-time.After(wait):
			err = n.findAt(ctx, p, slices.Concat(n.host.Peerstore().Addrs(p), n.circuitAddrs()))
		case <-ctx.Done():
		case <-n.closed:
			return ErrClosed
		}
	}
	return err
}

// mayArrive reports whether it makes sense to look again for a peer that was not found.
func (n *Node) mayArrive(ctx context.Context) bool {
	relays, unanswered := n.Relays()
	return ctx.Err() == nil && !n.Resting() && len(relays)+len(unanswered) > 0
}

// findAt connects to a peer at the given addresses, or else at those that the mesh knows.
// The error describes both attempts.
func (n *Node) findAt(ctx context.Context, p peer.ID, addrs []ma.Multiaddr) error {
	var dialled error
	if len(addrs) > 0 {
		dialled = n.dial(ctx, peer.AddrInfo{ID: p, Addrs: addrs})
		if dialled == nil || ctx.Err() != nil {
			return dialled
		}
	}
	sought := n.discovery.Connect(ctx, p)
	if sought == nil || dialled == nil {
		return sought
	}
	// errors.Is sees the search only, which came last.
	return fmt.Errorf("no answer at its known addresses (%s); %w", dialWords(dialled), sought)
}

// dialsNamed is the maximum number of addresses that an error names.
const dialsNamed = 4

// dialWords describes in one line why the dial of each address failed.
func dialWords(err error) string {
	e, ok := errors.AsType[*swarm.DialError](err)
	if !ok || len(e.DialErrors) == 0 {
		return err.Error()
	}
	var words []string
	for _, at := range e.DialErrors[:min(len(e.DialErrors), dialsNamed)] {
		words = append(words, fmt.Sprintf("%s: %v", at.Address, at.Cause))
	}
	if more := len(e.DialErrors) - dialsNamed + e.Skipped; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, ", ")
}

// dial connects to a peer at the addresses given and at those already known. It remembers
// the given addresses for a short time only, because circuitAddrs merely guesses that the
// peer has a reservation on each relay. It also tries addresses that failed a moment ago:
// the peer is wanted now, and it may be back.
func (n *Node) dial(ctx context.Context, info peer.AddrInfo) error {
	if s, ok := n.host.Network().(interface{ Backoff() *swarm.DialBackoff }); ok {
		s.Backoff().Clear(info.ID)
	}
	n.host.Peerstore().AddAddrs(info.ID, info.Addrs, reservation.DialTTL)
	return n.host.Connect(network.WithAllowLimitedConn(ctx, "tombolo"), peer.AddrInfo{ID: info.ID})
}

// circuitAddrs returns an address through each relay that this node is connected to.
func (n *Node) circuitAddrs() []ma.Multiaddr {
	var addrs []ma.Multiaddr
	for _, relay := range n.relays() {
		if n.host.Network().Connectedness(relay.ID) == network.Connected {
			addrs = append(addrs, ma.StringCast("/p2p/"+relay.ID.String()+"/p2p-circuit"))
		}
	}
	return addrs
}

// relays returns the relays to keep reservations on.
func (n *Node) relays() []peer.AddrInfo {
	if n.reservations == nil {
		return nil
	}
	return n.reservations.Relays()
}

func (n *Node) discoveryPart(opts Options) Part {
	return Part{
		Name: "discovery",
		Start: func(ctx context.Context) (err error) {
			n.discovery, err = discovery.New(ctx, n.host, discovery.Options{
				Network:   n.network,
				Serve:     opts.Serve,
				Bootstrap: opts.Bootstrap,
				Logger:    n.log,
			})
			return err
		},
		Close: func() error { return n.discovery.Close() },
	}
}

// directPart makes direct connections to peers, if the options ask for them.
func (n *Node) directPart(opts Options) Part {
	if !opts.Direct && opts.Punch == nil {
		return Part{Name: "direct connections"}
	}
	n.direct = direct.New(n.host, direct.Options{
		Upkeep:  isUpkeep,
		Never:   !opts.Direct,
		Punch:   opts.Punch,
		Connect: func(ctx context.Context, p peer.ID) error { return n.connect(ctx, peer.AddrInfo{ID: p}) },
		Logger:  n.log,
	})
	return task("direct connections", n.direct.Run)
}

func isCircuit(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

// Disconnect closes all connections to the peer. It is not an error if there is none.
func (n *Node) Disconnect(p peer.ID) error {
	if n.isClosed() {
		return ErrClosed
	}
	if err := n.host.Network().ClosePeer(p); err != nil {
		return fmt.Errorf("disconnect %s: %w", p, err)
	}
	return nil
}

// Peer describes a connected peer.
type Peer struct {
	ID        peer.ID
	Agent     string         // its software, as it says itself, without control characters and up to 128 bytes; empty until identify has run
	Addrs     []ma.Multiaddr // the known addresses of the peer
	Addr      ma.Multiaddr   // the far end of the connection in use
	Transport string         // of the connection in use: tcp, quic, websocket, webtransport, webrtc, webrtc-direct, circuit
	Direction network.Direction
	Relayed   bool          // the connection in use passes a relay
	Relay     peer.ID       // that relay; empty unless Relayed
	RTT       time.Duration // smoothed; 0 until first measured
	Since     time.Time     // when the connection in use was made
	Conns     int           // open connections, the one in use included
}

// maxAgent bounds Peer.Agent, in bytes.
const maxAgent = 128

// Peers lists the connected peers, in no particular order.
func (n *Node) Peers() []Peer {
	ids := n.host.Network().Peers()
	peers := make([]Peer, 0, len(ids))
	for _, id := range ids {
		if p, ok := n.Peer(id); ok { // else it has gone since
			peers = append(peers, p)
		}
	}
	return peers
}

// Peer describes one peer; ok is false if it is not connected.
func (n *Node) Peer(id peer.ID) (p Peer, ok bool) {
	conns := byPreference(n.host.Network().ConnsToPeer(id))
	if len(conns) == 0 {
		return Peer{}, false
	}
	ps := n.host.Peerstore()
	p = describe(conns[0])
	p.ID, p.Conns, p.Addrs, p.RTT = id, len(conns), ps.Addrs(id), ps.LatencyEWMA(id)
	if agent, err := ps.Get(id, "AgentVersion"); err == nil {
		said, _ := agent.(string)
		p.Agent = told.Line(said, maxAgent)
	}
	return p, true
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

// transportName replaces the name that a transport gives itself by the one that people
// know.
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
