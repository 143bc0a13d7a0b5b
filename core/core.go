// Package core is a Tombolo peer without a platform: the same Go runs in an
// operating-system process and in a web page.
//
// A [Node] is made around any libp2p host. Package native makes one for a
// process and package wasm makes one for a browser tab or Node.js; both hand
// back a *core.Node, so a program written against this package runs on either.
//
// A message travels: transport -> host -> link or mesh -> dispatch -> a subscription's
// mailbox -> its reader or supervised handler.
// A stream travels: transport -> host -> bridge, which looks up its protocol -> a local
// target; or transport -> host -> the handler given to Node.Handle.
// An event travels: host and reservations -> Node.Events -> a subscriber.
package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/direct"
	"github.com/tombolo-net/tombolo/core/discovery"
	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/internal/feed"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/liveness"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/reservation"
	"github.com/tombolo-net/tombolo/core/supervise"
)

// DefaultNetwork is the name of the network if Options.Network is empty.
const DefaultNetwork = "tombolo"

// ErrClosed is returned, possibly wrapped, by every call on a Node that is made after
// Close, or that Close interrupts.
var ErrClosed = errors.New("node is closed")

// Options configure a Node. The zero value is usable.
type Options struct {
	// Network separates meshes: nodes of different networks may connect, but they share
	// neither topics nor routing. If empty, DefaultNetwork.
	Network string

	// Reservations keeps circuit reservations on relays, so that peers can reach a node
	// that cannot listen. If nil, the node keeps none. The node starts and closes it.
	Reservations *reservation.Keeper

	// Gate is the connection gater of the host. The node shuts it while it is suspended.
	// If nil, a suspended node may still make and accept connections, and closes each at
	// once.
	Gate *liveness.Gate

	// Direct lets the node make direct connections to peers that it talks to over a
	// circuit: see package direct. The host must have the transport of package
	// core/webrtc.
	Direct bool

	// Punch tries libp2p's hole punching with a peer that has dialled this node through a
	// relay. It returns when there is a direct connection, when the attempt has failed,
	// or when ctx ends. The node calls it only for peers that it reaches through circuits
	// alone, less often each time. If nil, the node punches no holes.
	Punch func(context.Context, peer.ID) error

	// PingInterval is the time between two measurements of the round trip to
	// each connected peer. If zero, liveness.DefaultPingInterval; if negative, the node
	// measures only when Ping is called.
	PingInterval time.Duration

	// MaxMessage is the maximum size of the data of a message in both directions, in bytes.
	// It must be the same in the whole mesh. If zero, message.MaxData.
	MaxMessage int

	// Serve makes the node answer searches for peers: kad.Serve, of package
	// core/discovery/kad. If nil, it only searches.
	Serve discovery.Serve

	// Bootstrap lists the peers through which the node finds the mesh. If nil, the relays
	// of Reservations.
	Bootstrap func() []peer.AddrInfo

	// RelayTopics is the number of message types that the node forwards among its peers
	// without being subscribed to them, as relays do. If zero, none.
	RelayTopics int

	// Pace limits what each peer broadcasts through this node. If nil, there is no limit.
	Pace *mesh.Pace

	// KeepHistories makes the node keep the broadcasts of every type that it forwards,
	// for peers that were offline. The limits apply to each type. If nil, it keeps only
	// the types given to KeepHistory.
	KeepHistories *replay.Limits

	// Store keeps histories across restarts. If nil, they are lost when the node closes.
	// The node does not close the store; a Part must.
	Store datastore.Batching

	// Streams are the timeouts of bridged streams.
	Streams bridge.Timeouts

	// HandlerLimit is the time after which a running handler of messages or requests is
	// named in the log and in Stats. If zero, supervise.DefaultLimit; if negative, there is
	// no limit.
	HandlerLimit time.Duration

	// Logger receives the log. If nil, nothing is logged.
	Logger *slog.Logger

	// Registerer receives the node's metrics. Their names begin with tombolo_, and each
	// has the label node with the node's peer ID, so that several nodes can share a
	// registerer. If nil, there are no metrics.
	Registerer prometheus.Registerer

	// Parts are the parts of the platform. They start before the parts of the node, in
	// order, and close after them and after the host, in reverse order.
	Parts []Part
}

// Node is one peer of the mesh. All methods may be called concurrently.
//
// One rule holds for all functions that the program passes to the node: handlers,
// responders, validators, the done of Post, and those given to bridge.Func, Handle and
// dispatch.OnEnd. They may call any method of the node. If one panics, the node logs
// the panic with its stack, and only that call ends. Close cancels their contexts and
// waits up to three seconds for all of them together; it logs the name of each that has
// not returned by then, and leaves it. If one of them calls Close, Close returns at
// once. The rule does not cover functions that a method calls before it returns, such
// as a link.Filter: they run in the caller's goroutine, and may panic there.
type Node struct {
	host         host.Host
	network      string
	log          *slog.Logger
	reservations *reservation.Keeper
	rest         *liveness.Rest
	leaving      leaving
	ghosts       *liveness.Ghosts
	events       feed.Feed[Event]
	dispatcher   *dispatch.Dispatcher
	links        *link.Links
	mesh         *mesh.Mesh
	discovery    *discovery.Discovery
	bridge       *bridge.Bridge
	direct       *direct.Policy // nil: never
	parts        parts
	handleMu     sync.Mutex            // makes Handle's check and registration one step
	supervisor   *supervise.Supervisor // watches the functions given to Handle
	handling     supervise.Calls       // the running calls of these functions
	program      *supervise.Program    // the functions of the program that the node runs
	spares       spares

	closeOnce sync.Once
	closeErr  error
	closed    chan struct{}
}

// New makes a node around h, starts its parts in order and returns it. If a part fails,
// New closes h and the parts that were already started, and the error names the part. ctx
// bounds the start only.
//
// The node owns h: Close closes it.
func New(ctx context.Context, h host.Host, opts Options) (*Node, error) {
	n := &Node{
		host:         h,
		network:      opts.Network,
		log:          opts.Logger,
		reservations: opts.Reservations,
		closed:       make(chan struct{}),
	}
	if opts.Bootstrap == nil {
		opts.Bootstrap = n.relays
	}
	n.spares = spares{node: n, bootstrap: opts.Bootstrap, wanted: make(map[peer.ID]struct{})}
	if n.network == "" {
		n.network = DefaultNetwork
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	n.rest = liveness.NewRest(h, cmp.Or(opts.Gate, new(liveness.Gate)))
	n.ghosts = liveness.NewGhosts(h, n.log)
	n.program = new(supervise.Program)
	n.supervisor = supervise.New(supervise.Options{Logger: n.log, Limit: -1}) // a stream may stay open for any time
	opts.Registerer = n.labelled(opts.Registerer)
	own := slices.Concat(
		[]Part{
			{Name: "stream handlers", Close: n.awaitHandlers}, // after the host has ended their streams
			{Name: "host", Close: h.Close},
			n.latecomersPart(),
			n.eventsPart(),
			n.identifyPart(),
			{Name: "echo", Start: n.startEcho},
			n.discoveryPart(opts), // before the parts that may open a stream to a peer that has just left
		},
		n.pingParts(cmp.Or(opts.PingInterval, liveness.DefaultPingInterval)),
		[]Part{
			n.dispatcherPart(opts),
			n.linksPart(opts),
			n.meshPart(opts),
			n.bridgePart(opts),
			n.metricsPart(opts.Registerer, n.ghosts.Metrics()),
			n.reservationsPart(),
			task("spare connections", n.spares.watch),
			n.directPart(opts),
		},
		n.wakeParts(),
		n.ghostsParts(),
	)
	if err := n.parts.start(ctx, slices.Concat(opts.Parts, own)); err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	return n, nil
}

// Close ends the node: its reservations, its part in the mesh, its links and
// subscriptions, its host with every connection, and last the parts of the platform. It
// waits for all goroutines of the node; a few goroutines of GossipSub end shortly
// afterwards. Later and concurrent calls wait for the first one and return its result.
//
// If a function of the program that the node runs calls Close, it returns nil at once,
// and the node closes in the background; see Node.
func (n *Node) Close() error {
	if n.program.Within() {
		go func() { _ = n.close() }()
		return nil
	}
	return n.close()
}

func (n *Node) close() error {
	n.closeOnce.Do(func() {
		close(n.closed)
		n.program.Closing()
		n.closeErr = n.parts.close()
	})
	return n.closeErr
}

// Closed is closed when Close is called.
func (n *Node) Closed() <-chan struct{} { return n.closed }

// ID returns the peer ID of the node.
func (n *Node) ID() peer.ID { return n.host.ID() }

// Host returns the libp2p host of the node, for tasks that the node itself does not
// cover. The caller must not close it.
func (n *Node) Host() host.Host { return n.host }

// Network returns the name of the mesh.
func (n *Node) Network() string { return n.network }

// Addrs lists the addresses of the node, including those through relays. Each ends in
// /p2p/<own ID>.
func (n *Node) Addrs() []ma.Multiaddr {
	own := n.host.Addrs()
	if len(own) == 0 {
		return nil // without this, libp2p would return a bare /p2p/<id>
	}
	addrs, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: n.host.ID(), Addrs: own})
	if err != nil { // only for an ID that cannot be encoded, which a host cannot have
		return nil
	}
	return addrs
}

// Reservations lists the circuit reservations that the node holds.
func (n *Node) Reservations() []reservation.Reservation {
	if n.reservations == nil {
		return nil
	}
	return n.reservations.Held()
}

// Relays lists the relays that the node should hold reservations on, with their
// addresses, and the URLs of relay pages that have not answered yet.
func (n *Node) Relays() (relays []peer.AddrInfo, unanswered []string) {
	if n.reservations == nil {
		return nil, nil
	}
	return n.reservations.Relays(), n.reservations.Unanswered()
}

// AddRelays adds relays for the node to hold reservations on, up to the number that its
// keeper holds at a time. See reservation.Keeper.Add.
func (n *Node) AddRelays(relays []peer.AddrInfo) error {
	if n.reservations == nil {
		return n.ended(errors.New("the node keeps no reservations"))
	}
	return n.ended(n.reservations.Add(relays))
}

// AddRelayURLs adds relays by the http:// or https:// URLs of their pages, for the node
// to hold reservations on. See reservation.Keeper.AddURLs.
func (n *Node) AddRelayURLs(urls []string) error {
	if n.reservations == nil {
		return n.ended(errors.New("the node keeps no reservations"))
	}
	return n.ended(n.reservations.AddURLs(urls))
}

// ErrProtocolTaken is returned by Handle for a protocol that already has a
// handler.
var ErrProtocolTaken = errors.New("protocol already has a handler")

// Handle calls f for each inbound stream of a protocol, in a separate goroutine. f must
// close or reset the stream; a panic in f resets it. remove unregisters the handler;
// open streams stay open until Close, which resets them.
func (n *Node) Handle(proto protocol.ID, f network.StreamHandler) (remove func(), err error) {
	if proto == "" {
		return nil, errors.New("handle: the protocol name is empty")
	}
	if f == nil {
		return nil, fmt.Errorf("handle %s: the handler is nil", proto)
	}
	return n.handle(proto, func(s network.Stream) {
		if !n.handling.Begin() {
			_ = s.Reset()
			return
		}
		defer n.handling.Leave()
		defer n.program.Enter()()
		if n.supervisor.Run("stream "+string(proto), nil, func() { f(s) }) != nil {
			_ = s.Reset()
		}
	})
}

// awaitHandlers waits for the functions given to Handle to return. The host has already
// ended their streams.
func (n *Node) awaitHandlers() error {
	n.handling.End()
	if !n.program.Await(n.handling.Wait) {
		n.log.Error("closed without a handler of streams that does not return")
	}
	return nil
}

// handle is like Handle, but for the node's own parts, which supervise the functions of
// the program themselves.
func (n *Node) handle(proto protocol.ID, f network.StreamHandler) (remove func(), err error) {
	if n.isClosed() {
		return nil, ErrClosed
	}
	n.handleMu.Lock()
	defer n.handleMu.Unlock()
	for _, known := range n.host.Mux().Protocols() {
		if known == proto {
			return nil, fmt.Errorf("handle %s: %w", proto, ErrProtocolTaken)
		}
	}
	n.host.SetStreamHandler(proto, f)
	return sync.OnceFunc(func() { n.host.RemoveStreamHandler(proto) }), nil
}

// ended adds ErrClosed to the error of a call that came after Close or that Close
// interrupted, because each part of the node has an error of its own for that.
func (n *Node) ended(err error) error {
	if err == nil || !n.isClosed() || errors.Is(err, ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}

func (n *Node) isClosed() bool {
	select {
	case <-n.closed:
		return true
	default:
		return false
	}
}
