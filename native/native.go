// Package native makes Tombolo nodes that run as an operating-system process, with every
// libp2p transport, an identity on disk, and circuit reservations on the given relays.
//
// [New] returns a *core.Node, which is the same on every platform.
package native

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/circuits"
	"github.com/tombolo-net/tombolo/core/discovery"
	"github.com/tombolo-net/tombolo/core/discovery/kad"
	"github.com/tombolo-net/tombolo/core/liveness"
	"github.com/tombolo-net/tombolo/core/reservation"
	corewebrtc "github.com/tombolo-net/tombolo/core/webrtc"
	"github.com/tombolo-net/tombolo/native/datadir"
	"github.com/tombolo-net/tombolo/native/mdns"
	"github.com/tombolo-net/tombolo/native/punch"
	"github.com/tombolo-net/tombolo/native/stack"
	"github.com/tombolo-net/tombolo/native/store"
	"github.com/tombolo-net/tombolo/native/webrtc"
)

// Options configure a node. The zero value is a node with a new identity that listens on
// ports the system picks and uses no relay.
type Options struct {
	// DataDir is the directory of the identity and the message histories. New locks it for
	// this process (see datadir.Open) and Close unlocks it. If empty, nothing is stored and
	// the identity ends with the node.
	DataDir string

	// Identity is used instead of the one in DataDir.
	Identity crypto.PrivKey

	// Relays are the relays to hold circuit reservations on, each with at least one address.
	// The node starts whether or not they answer, and keeps trying.
	Relays []peer.AddrInfo

	// RelayURLs are further relays, each given by the http:// or https:// URL of its page.
	// The node asks that URL for the relay's addresses, and asks again when they no longer
	// work. It retries a URL that does not answer.
	RelayURLs []string

	// Token is presented to the relays; some take only peers with a token.
	Token string

	// Listen are the addresses to listen on (see stack.ParseListen). If nil,
	// every transport on every interface, on one TCP and one UDP port that the
	// system picks; if empty but not nil, none.
	Listen []ma.Multiaddr

	// Announce are addresses to announce in addition to the node's own, such as those of a
	// proxy or a forwarded port. The certificate hashes of WebTransport and WebRTC-direct
	// addresses are added automatically.
	Announce []ma.Multiaddr

	// Network is the mesh to belong to. If empty, core.DefaultNetwork.
	Network string

	// Peers is the number of connected peers that the limits are sized for. If zero,
	// stack.DefaultPeers.
	Peers int

	// NoPortMapping keeps the node from asking the router to forward its ports. By default
	// it does so by UPnP and NAT-PMP. If the node closes while it searches for the router,
	// the goroutines of the search end within ten seconds.
	NoPortMapping bool

	// NoMDNS keeps the node from looking for peers of the same network on the local link,
	// and from announcing itself there.
	NoMDNS bool

	// Direct makes and accepts WebRTC connections without the relay, with peers that are
	// reached through one: see package core/direct. Each connection uses its own UDP port.
	Direct bool

	// PingInterval is the same as in core.Options.
	PingInterval time.Duration

	// Streams are the timeouts of bridged streams.
	Streams bridge.Timeouts

	// UserAgent is the name that the node reports to peers. If empty, "tombolo/<version>".
	UserAgent string

	// Logger receives the node's log. If nil, nothing is logged.
	Logger *slog.Logger

	// Registerer registers the node's metrics (see core.Options.Registerer) and those of
	// libp2p. The latter begin with libp2p_ and add up all nodes that share the registerer.
	// If nil, there are no metrics.
	Registerer prometheus.Registerer
}

// New starts a node and returns when it listens. ctx bounds the start only. On error
// nothing is left behind. If another program uses an address, the error is a
// *stack.InUseError; if another process uses the data directory, it is datadir.ErrInUse.
func New(ctx context.Context, o Options) (*core.Node, error) {
	keeper, err := o.complete(ctx)
	if err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	key, histories, parts, err := o.open()
	if err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	gate, holes := new(liveness.Gate), new(punch.Puncher)
	h, err := o.newHost(key, keeper, gate, holes)
	if err != nil {
		err = fmt.Errorf("start node: %w", err)
		for _, part := range slices.Backward(parts) {
			err = errors.Join(err, part.Close())
		}
		return nil, err
	}
	finder := mdns.New(h, mdns.Options{Network: o.Network, Tag: core.NeighbourTag, Logger: o.Logger})
	if !o.NoMDNS {
		parts = append(parts, core.Part{Name: "mDNS", Close: finder.Close})
	}
	// A node that does not listen is reachable only through its relay, and each query to it
	// would cost the relay a circuit.
	var serve discovery.Serve
	if len(o.Listen) > 0 {
		serve = kad.Serve
	}
	node, err := core.New(ctx, h, core.Options{
		Network:      o.Network,
		Reservations: keeper,
		Gate:         gate,
		Direct:       o.Direct,
		Punch:        holes.Punch,
		Serve:        serve,
		Store:        histories,
		Registerer:   o.Registerer,
		PingInterval: o.PingInterval,
		Streams:      o.Streams,
		Logger:       o.Logger,
		Parts:        parts,
	})
	if err == nil && !o.NoMDNS {
		finder.Start() // once the node is complete: the peers found are reported to it
	}
	return node, err
}

// complete sets what is not given, and checks what is, before a directory is made and an
// identity written. It returns what will keep the node's reservations.
func (o *Options) complete(ctx context.Context) (*reservation.Keeper, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.Network == "" {
		o.Network = core.DefaultNetwork
	}
	if o.UserAgent == "" {
		o.UserAgent = "tombolo/" + core.Version()
	}
	if o.Listen == nil {
		o.Listen = stack.DefaultListen(0, 0)
	}
	if err := errors.Join(discovery.CheckNetwork(o.Network), stack.CheckPeers(o.Peers)); err != nil {
		return nil, err
	}
	keeper, err := reservation.New(o.Relays, reservation.Options{Get: get, Network: o.Network, Token: o.Token, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	return keeper, keeper.AddURLs(o.RelayURLs)
}

// open opens the data directory. It returns what is in it, and what must be closed, the
// last first.
func (o *Options) open() (crypto.PrivKey, datastore.Batching, []core.Part, error) {
	key, dir, err := datadir.Identity(o.DataDir, o.Identity)
	if err != nil {
		return nil, nil, nil, err
	}
	histories, err := store.OpenIn(o.DataDir)
	if err != nil {
		return nil, nil, nil, errors.Join(err, dir.Close())
	}
	return key, histories, []core.Part{{Name: "data directory", Close: dir.Close}, {Name: "histories", Close: histories.Close}}, nil
}

// newHost makes the libp2p host, which listens.
func (o *Options) newHost(key crypto.PrivKey, keeper *reservation.Keeper, gate *liveness.Gate, holes *punch.Puncher) (host.Host, error) {
	h, err := stack.New(stack.Options{
		Key:          key,
		Listen:       o.Listen,
		AddrsFactory: announcing(o.Announce, keeper.AddrsFactory),
		UserAgent:    o.UserAgent,
		Peers:        o.Peers,
		MapPorts:     !o.NoPortMapping,
		Registerer:   o.Registerer,
		Libp2p: []libp2p.Option{
			libp2p.DisableRelay(), // of libp2p's circuit client: we have our own
			libp2p.Transport(circuits.New),
			holes.Option(),
			libp2p.ConnectionGater(gate),
		},
	})
	if err != nil {
		return nil, err
	}
	err = h.Network().Listen(circuits.Addr)
	if err == nil && o.Direct {
		platform := webrtc.New(webrtc.Options{
			Loopback: slices.ContainsFunc(o.Listen, manet.IsIPLoopback),
			STUN:     func() []string { return corewebrtc.STUN(h, keeper.Relays()) },
		})
		_, err = corewebrtc.AddTransport(h, platform, corewebrtc.Options{Gater: gate})
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// announcing returns an AddrsFactory that puts the announced addresses before those of
// next.
func announcing(announced []ma.Multiaddr, next func([]ma.Multiaddr) []ma.Multiaddr) func([]ma.Multiaddr) []ma.Multiaddr {
	return func(own []ma.Multiaddr) []ma.Multiaddr {
		return append(append([]ma.Multiaddr(nil), announced...), next(corewebrtc.Hide(own))...)
	}
}
