//go:build js

// Package wasm makes a Tombolo node inside a browser tab, a worker or Node.js
// (GOOS=js).
//
// go-libp2p's own constructor does not build for js, so this package assembles the host:
// swarm, upgrader, Noise, yamux, basic host and circuit client, with the transports of
// wasm/webtransport, wasm/websocket and wasm/webrtc. The node cannot listen; it holds
// reservations on relays, through which it is reachable.
package wasm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/liveness"
	"github.com/tombolo-net/tombolo/core/reservation"
	corewebrtc "github.com/tombolo-net/tombolo/core/webrtc"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
	"github.com/tombolo-net/tombolo/wasm/webrtc"
)

// Names of the transports in Options.
const (
	WebTransport = "webtransport"
	WebSocket    = "websocket"
	WebRTCDirect = "webrtc-direct"
)

// Options configure a node. The zero value makes an ephemeral node that uses no relay.
type Options struct {
	// Identity is the node's key. If nil, a new one is made; see PersistentIdentity for one
	// that outlives the page.
	Identity crypto.PrivKey

	// Relays are the relays to hold reservations on, each with its addresses.
	Relays []peer.AddrInfo

	// RelayURLs are further relays, each given by the http:// or https:// URL of its page.
	// The node asks that URL for the relay's addresses, and asks again when they no longer
	// work. It retries a URL that does not answer.
	RelayURLs []string

	// Ask fetches the URLs of RelayURLs. If nil, the platform's fetch is used.
	Ask reservation.Get
	// Token is presented to the relays; some take only peers with a token.
	Token string

	// Network is the mesh to belong to. If empty, core.DefaultNetwork.
	Network string

	// Transports are the names of the transports to use. If empty, all that the platform
	// has; naming one that it lacks is an error. If a peer has addresses of several,
	// WebRTCDirect is dialled last: a platform may ask its user first.
	Transports []string

	// Direct makes and accepts connections without the relay, with peers that are reached
	// through one: see package core/direct. It needs RTCPeerConnection: see package
	// wasm/webrtc.
	Direct bool

	// PingInterval is the same as in core.Options.
	PingInterval time.Duration

	// Store keeps histories over restarts; package wasm/datastore has one. If nil, they end
	// with the node. One of Parts closes the Store.
	Store datastore.Batching

	// Logger receives the node's log. If nil, nothing is logged.
	Logger *slog.Logger

	// Parts are started before the node's own and closed after them. If New fails before any
	// part has started, the caller closes them.
	Parts []core.Part
}

// New makes a node and starts it. It does not wait for a relay: core.Node reports a new
// reservation by an event. ctx bounds the start only.
//
// The node is suspended (see core.Node.Rest) while its page is frozen or in the
// back/forward cache, and resumes with it. When the network is back, the node wakes as
// after a sleep, unless it is suspended. In a worker, the program must suspend and resume
// the node itself, because the page's events do not arrive there.
func New(ctx context.Context, opts Options) (*core.Node, error) {
	key := opts.Identity
	if key == nil {
		var err error
		if key, err = newKey(); err != nil {
			return nil, err
		}
	}
	network := cmp.Or(opts.Network, core.DefaultNetwork)
	ask := opts.Ask
	if ask == nil {
		ask = jsio.Fetch
	}
	keeper, err := reservation.New(opts.Relays, reservation.Options{Get: ask, Network: network, Token: opts.Token, Logger: opts.Logger})
	if err == nil {
		err = keeper.AddURLs(opts.RelayURLs)
	}
	if err != nil {
		return nil, err
	}
	gate := new(liveness.Gate)
	h, err := newHost(key, opts.Transports, keeper, gate)
	if err != nil {
		return nil, fmt.Errorf("make host: %w", err)
	}
	if opts.Direct {
		platform := webrtc.New(webrtc.Options{STUN: func() []string { return corewebrtc.STUN(h, keeper.Relays()) }})
		if _, err := corewebrtc.AddTransport(h, platform, corewebrtc.Options{Gater: gate}); err != nil {
			return nil, errors.Join(fmt.Errorf("make host: %w", err), h.Close())
		}
	}
	var node *core.Node // nil until it has started; the platform's events come on one thread
	node, err = core.New(ctx, h, core.Options{
		Network:      opts.Network,
		Reservations: keeper,
		Gate:         gate,
		Direct:       opts.Direct,
		PingInterval: opts.PingInterval,
		Store:        opts.Store,
		Logger:       opts.Logger,
		Parts:        append(opts.Parts, followPlatform(func() *core.Node { return node })),
	})
	return node, err
}
