package stack

import (
	"fmt"
	"math"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/libp2p/go-libp2p/x/rate"
	"github.com/pbnjay/memory"
)

// DefaultPeers is the number of connected peers that a host is sized for by default.
const DefaultPeers = 512

// MaxPeers is the largest number of peers that a host can be sized for: its limits are
// multiples of that number.
const MaxPeers = 1 << 20

// CheckPeers returns an error if a host cannot be sized for n connected peers.
func CheckPeers(n int) error {
	if n < 0 || n > MaxPeers {
		return fmt.Errorf("a host cannot be made for %d peers: at most %d", n, MaxPeers)
	}
	return nil
}

// Limits of one peer, or one address. go-libp2p's defaults (64 inbound streams of a
// protocol, 8 connections an address, 16 new ones and then one in 5 s) are for strangers
// that fill a DHT; here a peer is a person whose page opens a hundred streams at once,
// and an address a whole school behind a NAT.
const (
	streamsPerPeer      = 4096 // of all protocols, each direction
	streamsPerPeerProto = 2048 // of one protocol, each direction
	streamsAtOnce       = 64   // average per peer, for the sum over all peers
	pingsPerPeer        = 16

	connsPerSecond = 64 // sustained rate of new connections per address
	connBurst      = 1024
)

// resourceManager returns the limits for that many connected peers. The memory limit is
// half of the machine's memory, counted where libp2p counts it (stream windows above
// their first 256 KiB, buffers of the relay).
func resourceManager(peers int, withMetrics bool, proxies []netip.Prefix) (network.ResourceManager, error) {
	scaling := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&scaling)
	limits := overrides(peers).Build(scaling.Scale(MemoryBudget(), math.MaxInt32))

	// Connections of one address; twice that for one IPv6 site. Connections that are not yet
	// a peer take nothing from those that are.
	perAddr := max(peers/2, 64) + applicants(peers)
	opts := []rcmgr.Option{
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: perAddr}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: perAddr}, {PrefixLength: 48, ConnCount: 2 * perAddr}},
		),
		rcmgr.WithConnRateLimiters(connRates(proxies)),
	}
	var v4, v6 []rcmgr.NetworkPrefixLimit // a proxy is not a customer
	for _, p := range proxies {
		limit := rcmgr.NetworkPrefixLimit{Network: p, ConnCount: math.MaxInt}
		if p.Addr().Is4() {
			v4 = append(v4, limit)
		} else {
			v6 = append(v6, limit)
		}
	}
	opts = append(opts, rcmgr.WithNetworkPrefixLimit(v4, v6))
	if !withMetrics {
		opts = append(opts, rcmgr.WithMetricsDisabled())
	}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits), opts...)
}

// MemoryBudget returns how many bytes a host may use for its peers: half of the machine's
// memory, or of GOMEMLIMIT if that is less.
func MemoryBudget() int64 {
	return min(int64(memory.TotalMemory()), debug.SetMemoryLimit(-1)) / 2
}

// MaxSockets returns how many TCP and WebSocket connections a host accepts at most,
// whatever it is sized for: three quarters of the files that the system lets this process
// open. The host must stay below, because libp2p closes a listener for good if an accept
// fails for want of a file.
func MaxSockets() int { return openFiles() - openFiles()/4 }

// FilesLeft returns how many files this process may open in addition to the sockets of a
// host sized for that many peers.
func FilesLeft(peers int) int { return openFiles() - sockets(peers) }

func sockets(peers int) int { return min(2*peers+2*applicants(peers), MaxSockets()) }

func overrides(peers int) rcmgr.PartialLimitConfig {
	all := streams(peers*streamsAtOnce + streamsPerPeer)
	ofProto := streams(peers*streamsAtOnce/2 + streamsPerPeerProto)
	ofPeer := streams(streamsPerPeer)
	ofPeerProto := streams(streamsPerPeerProto)
	// One short stream a peer, and all may come at once (a relay restarts).
	short := streams(peers + 64)

	system := all
	// Twice the peers: the connection manager trims at 1x, and late.
	conns := 2*peers + 2*applicants(peers)
	system.Conns, system.ConnsInbound, system.ConnsOutbound = val(conns), val(conns), val(conns)
	system.FD = val(sockets(peers))
	// Connections not yet belonging to a peer: handshakes, and the page's HTTP. Streams not
	// yet belonging to a protocol: at most all that one peer may have, if it opens them at
	// once.
	transient := streams(peers + streamsPerPeer)
	unnamed := peers + 256 + 2*applicants(peers)
	transient.Conns, transient.ConnsInbound, transient.ConnsOutbound = val(unnamed), val(unnamed), val(unnamed)
	transient.FD = val(min(unnamed, MaxSockets()))

	circuit := func(perPeer rcmgr.ResourceLimits) map[protocol.ID]rcmgr.ResourceLimits {
		return map[protocol.ID]rcmgr.ResourceLimits{proto.ProtoIDv2Hop: perPeer, proto.ProtoIDv2Stop: perPeer}
	}
	protocols := circuit(ofProto)
	protocols[identify.ID], protocols[identify.IDPush], protocols[ping.ID] = short, short, short
	protocolPeers := circuit(ofPeerProto)
	protocolPeers[ping.ID] = streams(pingsPerPeer)

	ofRelay := all
	ofRelay.Memory = rcmgr.LimitVal64(MemoryBudget()) // two buffers a circuit
	ofRelayPeer := ofPeer
	ofRelayPeer.Memory = rcmgr.LimitVal64(MemoryBudget())
	return rcmgr.PartialLimitConfig{
		System:              system,
		Transient:           transient,
		PeerDefault:         ofPeer,
		ProtocolDefault:     ofProto,
		ProtocolPeerDefault: ofPeerProto,
		ServiceDefault:      ofProto,
		ServicePeerDefault:  ofPeerProto,
		Protocol:            protocols,
		ProtocolPeer:        protocolPeers,
		Service:             map[string]rcmgr.ResourceLimits{relay.ServiceName: ofRelay, identify.ServiceName: short, ping.ServiceName: short},
		ServicePeer:         map[string]rcmgr.ResourceLimits{relay.ServiceName: ofRelayPeer, ping.ServiceName: streams(pingsPerPeer)},
	}
}

// streams returns a limit of n streams in each direction and 2n in all.
func streams(n int) rcmgr.ResourceLimits {
	return rcmgr.ResourceLimits{StreamsInbound: val(n), StreamsOutbound: val(n), Streams: val(2 * n)}
}

func val(n int) rcmgr.LimitVal { return rcmgr.LimitVal(n) }

func connRates(proxies []netip.Prefix) *rate.Limiter {
	one := rate.Limit{RPS: connsPerSecond, Burst: connBurst}
	site := rate.Limit{RPS: 4 * connsPerSecond, Burst: 4 * connBurst}
	free := []rate.PrefixLimit{ // this machine: no limit
		{Prefix: netip.MustParsePrefix("127.0.0.0/8")},
		{Prefix: netip.MustParsePrefix("::1/128")},
	}
	for _, p := range proxies {
		free = append(free, rate.PrefixLimit{Prefix: p})
	}
	return &rate.Limiter{
		NetworkPrefixLimits: free,
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: one}},
			IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: one}, {PrefixLength: 48, Limit: site}},
			GracePeriod:      time.Minute,
		},
	}
}
