// Package native makes Tombolo nodes that run as an operating-system process:
// every libp2p transport, an identity on disk, and circuit reservations on the
// relays it is given.
//
// [New] hands back a *core.Node, which is the same on every platform.
package native

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
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

// Options configure a node. The zero value is a node of a fresh identity that
// listens on ports the system picks and knows no relay.
type Options struct {
	// DataDir is where the identity and the histories of messages live; New
	// takes the directory for this process (see datadir.Open) and Close gives it
	// up. If empty, nothing is kept and the identity ends with the node.
	DataDir string

	// Identity is used instead of the one in DataDir.
	Identity crypto.PrivKey

	// Relays are those to keep circuit reservations on, each with at least one
	// address. The node comes up whether or not they answer, and keeps trying.
	Relays []peer.AddrInfo

	// RelayURLs are further relays, each by the http:// or https:// URL of its page,
	// which is asked for the relay's addresses, and again when they are of no use
	// any more. One that does not answer is tried again.
	RelayURLs []string

	// Token is presented to the relays, for those that take only peers with one.
	Token string

	// Listen are the addresses to listen on (see stack.ParseListen). If nil,
	// every transport on every interface, on one TCP and one UDP port that the
	// system picks; if empty but not nil, none.
	Listen []ma.Multiaddr

	// Announce are addresses to tell others in addition to the node's own: of
	// a proxy or a forwarded port. WebTransport and WebRTC-direct addresses
	// get their certificate hashes by themselves.
	Announce []ma.Multiaddr

	// Network is the mesh to belong to. If empty, core.DefaultNetwork.
	Network string

	// Peers is how many connected peers the limits are made for. If zero,
	// stack.DefaultPeers.
	Peers int

	// NoPortMapping keeps the node from asking the router to forward its
	// ports, as it otherwise does by UPnP and NAT-PMP. If the node closes during the
	// search for the router, the goroutines of the search end within ten seconds.
	NoPortMapping bool

	// NoMDNS keeps the node from looking for peers of the same network on the
	// local link, and from announcing itself there.
	NoMDNS bool

	// Direct makes and takes WebRTC connections without the relay, of peers that are
	// reached through one: see package core/direct. Each has a UDP port of its own.
	Direct bool

	// PingInterval: see core.Options.
	PingInterval time.Duration

	// Streams bounds what bridged streams wait for.
	Streams bridge.Timeouts

	// UserAgent is what the node calls itself. If empty, "tombolo/<version>".
	UserAgent string

	// Logger receives what the node has to say. If nil, nothing is logged.
	Logger *slog.Logger

	// Registerer receives the node's metrics (see core.Options.Registerer) and those of
	// libp2p. The latter begin with libp2p_ and add up all nodes that share the
	// registerer. If nil, there are no metrics.
	Registerer prometheus.Registerer
}

// New makes a node and returns when it listens. ctx bounds the start only. On
// error nothing is left behind. An address that another program has is a
// *stack.InUseError, a data directory that another process has is
// datadir.ErrInUse.
func New(ctx context.Context, o Options) (*core.Node, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	if o.Network == "" {
		o.Network = core.DefaultNetwork
	}
	// Before a directory is made and an identity written.
	if err := errors.Join(discovery.CheckNetwork(o.Network), stack.CheckPeers(o.Peers)); err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	keeper, err := reservation.New(o.Relays, reservation.Options{Get: get, Network: o.Network, Token: o.Token, Logger: o.Logger})
	if err == nil {
		err = keeper.AddURLs(o.RelayURLs)
	}
	if err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	key, dataDir, err := datadir.Identity(o.DataDir, o.Identity)
	if err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	if o.UserAgent == "" {
		o.UserAgent = "tombolo/" + core.Version()
	}
	if o.Listen == nil {
		o.Listen = stack.DefaultListen(0, 0)
	}
	parts := []core.Part{{Name: "data directory", Close: dataDir.Close}}
	histories, err := store.OpenIn(o.DataDir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start node: %w", err), dataDir.Close())
	}
	parts = append(parts, core.Part{Name: "histories", Close: histories.Close})
	gate := new(liveness.Gate)
	holes := new(punch.Puncher)
	h, err := stack.New(stack.Options{
		Key:          key,
		Listen:       o.Listen,
		AddrsFactory: announcing(o.Announce, keeper.AddrsFactory),
		UserAgent:    o.UserAgent,
		Peers:        o.Peers,
		MapPorts:     !o.NoPortMapping,
		Registerer:   o.Registerer,
		Libp2p: []libp2p.Option{
			libp2p.DisableRelay(), // its client of circuits: there is our own
			libp2p.Transport(circuits.New),
			holes.Option(),
			libp2p.ConnectionGater(gate),
		},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start node: %w", err), histories.Close(), dataDir.Close())
	}
	if err := h.Network().Listen(circuits.Addr); err != nil {
		return nil, errors.Join(fmt.Errorf("start node: %w", err), h.Close(), histories.Close(), dataDir.Close())
	}
	if o.Direct {
		platform := webrtc.New(webrtc.Options{
			Loopback: slices.ContainsFunc(o.Listen, manet.IsIPLoopback),
			STUN:     func() []string { return corewebrtc.STUN(h, keeper.Relays()) },
		})
		if _, err := corewebrtc.AddTransport(h, platform, corewebrtc.Options{Gater: gate}); err != nil {
			return nil, errors.Join(fmt.Errorf("start node: %w", err), h.Close(), histories.Close(), dataDir.Close())
		}
	}
	finder := mdns.New(h, mdns.Options{Network: o.Network, Tag: core.NeighbourTag, Logger: o.Logger})
	if !o.NoMDNS {
		parts = append(parts, core.Part{Name: "mDNS", Close: finder.Close})
	}
	// Who listens nowhere can be asked through its relay only: it would cost the
	// relay a circuit for each question.
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
		finder.Start() // when the node is whole: who is found is news of it
	}
	return node, err
}

// announcing puts announced addresses before those that next lists.
func announcing(announced []ma.Multiaddr, next func([]ma.Multiaddr) []ma.Multiaddr) func([]ma.Multiaddr) []ma.Multiaddr {
	return func(own []ma.Multiaddr) []ma.Multiaddr {
		return append(append([]ma.Multiaddr(nil), announced...), next(corewebrtc.Hide(own))...)
	}
}
