package relay

import (
	"fmt"
	"math"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native/stack"
)

// Defaults of Limits. Those of go-libp2p (2 minutes, 128 KiB, 16 circuits a peer, 8
// reservations an address) treat a circuit as a stepping stone to a direct connection;
// for a browser tab, the circuit is the connection.
const (
	// DefaultPeers is the number of connected peers that a relay is sized for by default.
	DefaultPeers = 8192

	// DefaultCircuitsPerPeer is the number of circuits that may end at one peer, for example
	// at a service that every tab of a mesh uses. Each costs two buffers of circuitBuffer,
	// so one peer can cost 128 MiB.
	DefaultCircuitsPerPeer = 1024

	// DefaultPeerRate is the rate in bytes per second at which one peer may send through all
	// its circuits: about what a gigabit line carries, so it affects only a peer that would
	// otherwise fill a faster line.
	DefaultPeerRate = 128 << 20

	// DefaultBroadcastRate is the rate in bytes per second at which one peer may broadcast:
	// 5,000 small messages, each of which goes to all subscribers of its type.
	DefaultBroadcastRate = 512 << 10

	// broadcastBurst is how many bytes a peer may broadcast at once: four messages of the
	// largest size.
	broadcastBurst = 4 << 20

	// DefaultTopics is the number of types of messages that a relay forwards.
	DefaultTopics = 512

	// DefaultHistoryBytes is the size of the message histories that a relay keeps: 256 KiB
	// for each of DefaultTopics.
	DefaultHistoryBytes = 128 << 20

	// circuitBuffer is the size of a circuit's buffer in each direction, in
	// bytes: one yamux frame. With the default of 2 KiB a circuit is half as
	// fast.
	circuitBuffer = 64 << 10

	// streamRate is how many streams a second a peer may open, after a burst: more than a
	// busy caller needs for one per circuit and message.
	streamRate = 256

	// reservationTTL is how long a reservation lasts unless renewed.
	reservationTTL = time.Hour
)

// Limits bound what a relay does for its peers. Circuits are bounded neither in
// time nor in bytes.
type Limits struct {
	// Peers is the number of connected peers, each with a reservation, that the relay is
	// sized for. A peer that holds a reservation keeps it; further peers are refused, with
	// the reason. If zero, DefaultPeers.
	Peers int
	// PeersPerAddress is the maximum number of them from one address, such as a school
	// behind its NAT or a proxy in front of the relay. An address is one IPv4 address or an
	// IPv6 network of 56 bits. If zero, half of Peers.
	PeersPerAddress int
	// CircuitsPerPeer is the maximum number of circuits that begin or end at one peer. If
	// zero, DefaultCircuitsPerPeer.
	CircuitsPerPeer int
	// PeerRate is the rate in bytes per second at which one peer may send through circuits.
	// Data above it is delayed, not lost. If zero, DefaultPeerRate; if negative, there is no
	// limit.
	PeerRate int64
	// Rate is the rate in bytes per second at which the relay reads from all circuits
	// together. The peers that send the most get equal shares, and small messages of the
	// others go first. If zero, the rate is as high as the machine can carry without
	// delaying those messages; if negative, there is no limit.
	Rate int64
	// BroadcastRate is the rate in bytes per second at which one peer may broadcast, after a
	// burst of 4 MiB; data above it is read later. Options.Peers have no such limit. If
	// zero, DefaultBroadcastRate; if negative, there is no limit.
	BroadcastRate int
	// Topics is the number of types of messages that the relay forwards among its peers. If
	// zero, DefaultTopics.
	Topics int
	// HistoryBytes is the size in bytes of the messages that the relay keeps for peers that
	// were offline; each type has an equal share, kept for an hour. If zero,
	// DefaultHistoryBytes.
	HistoryBytes int
}

func (l Limits) withDefaults() Limits {
	if l.Peers == 0 {
		l.Peers = DefaultPeers
	}
	if l.PeersPerAddress == 0 {
		l.PeersPerAddress = max(l.Peers/2, 1)
	}
	if l.CircuitsPerPeer == 0 {
		l.CircuitsPerPeer = DefaultCircuitsPerPeer
	}
	if l.PeerRate == 0 {
		l.PeerRate = DefaultPeerRate
	}
	if l.BroadcastRate == 0 {
		l.BroadcastRate = DefaultBroadcastRate
	}
	if l.Topics == 0 {
		l.Topics = DefaultTopics
	}
	if l.HistoryBytes == 0 {
		l.HistoryBytes = DefaultHistoryBytes
	}
	return l
}

func (l Limits) check() error {
	if l.Peers < 0 || l.PeersPerAddress < 0 || l.CircuitsPerPeer < 0 {
		return fmt.Errorf("limits: neither peers (%d) nor peers per address (%d) nor circuits per peer (%d) may be negative", l.Peers, l.PeersPerAddress, l.CircuitsPerPeer)
	}
	if l.Topics < 0 || l.HistoryBytes < 0 {
		return fmt.Errorf("limits: neither topics (%d) nor bytes of histories (%d) may be negative", l.Topics, l.HistoryBytes)
	}
	return stack.CheckPeers(l.Peers)
}

// circuit is the circuit relay v2 service on a host.
// Protocol: https://github.com/libp2p/specs/blob/master/relay/circuit-v2.md
type circuit struct {
	relay    *relay.Relay
	meter    *meter
	places   *places
	host     host.Host
	notifiee network.Notifiee
}

func startCircuit(h host.Host, l Limits, who *access, said *refusals, registry *prometheus.Registry) (*circuit, error) {
	l = l.withDefaults()
	opts := []relay.Option{
		relay.WithResources(relay.Resources{
			Limit:          nil, // circuits have no limit
			ReservationTTL: reservationTTL,
			BufferSize:     circuitBuffer,
			// places refuses earlier, and gives a reason.
			MaxCircuits:           math.MaxInt,
			MaxReservations:       math.MaxInt,
			MaxReservationsPerIP:  math.MaxInt,
			MaxReservationsPerASN: math.MaxInt,
		}),
		// Peers on the relay's own machine or network dial those addresses.
		relay.WithReservationAddressFilter(func(ma.Multiaddr) bool { return true }),
	}
	if registry != nil {
		opts = append(opts, relay.WithMetricsTracer(relay.NewMetricsTracer(relay.WithRegisterer(registry))))
	}
	c := &circuit{meter: newMeter(l.PeerRate, l.Rate), places: newPlaces(l, h.ConnManager()), host: h}
	var err error
	c.relay, err = relay.New(&hop{Host: c.meter.host(core.PreferNewest(h)), places: c.places, access: who, refusals: said}, opts...)
	if err != nil {
		return nil, fmt.Errorf("start circuit relay: %w", err)
	}
	c.notifiee = &network.NotifyBundle{DisconnectedF: func(n network.Network, conn network.Conn) {
		if p := conn.RemotePeer(); n.Connectedness(p) == network.NotConnected {
			forget(h, p, c.places)
			c.places.release(p)
			who.forget(p)
		}
	}}
	h.Network().Notify(c.notifiee)
	return c, nil
}

// close accepts no more circuits and wakes streams that wait for their rate. The circuits
// themselves end with the host.
func (c *circuit) close() error {
	err := c.relay.Close()
	c.host.Network().StopNotify(c.notifiee)
	c.meter.close()
	return err
}
