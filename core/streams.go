package core

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/webrtc"
)

// Listen offers a target to peers: streams that they open with the protocol go to it.
// The name must begin with /x/ unless bridge.CustomProtocol is given. The target is a
// function of this program (bridge.Func) or comes from the platform: native/local has
// sockets and folders. ctx bounds the call only; see bridge.Bridge.Listen for the
// errors.
func (n *Node) Listen(ctx context.Context, proto protocol.ID, target bridge.Target, opts ...bridge.ListenOption) (*bridge.Listener, error) {
	if err := n.usable(ctx); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", proto, err)
	}
	l, err := n.bridge.Listen(proto, target, opts...)
	return l, n.ended(err)
}

// Forward opens a stream to the peer for each local connection that from accepts. It
// dials nothing before the first one, and finds the peer by its ID each time (see
// ConnectPeer), so the peer may be offline at first. Package native/local listens on
// sockets. ctx bounds the call only.
func (n *Node) Forward(ctx context.Context, proto protocol.ID, from bridge.Acceptor, p peer.ID, opts ...bridge.ForwardOption) (*bridge.Forward, error) {
	if err := n.usable(ctx); err != nil {
		return nil, fmt.Errorf("forward %s: %w", proto, err)
	}
	f, err := n.bridge.Forward(proto, from, p, opts...)
	return f, n.ended(err)
}

// Dial opens a stream to a peer's listener, connecting first if needed, and returns it
// as a net.Conn with half-close. ctx bounds the opening only. If the peer refuses the
// stream, the first Read returns a *bridge.Error with the peer's reason.
func (n *Node) Dial(ctx context.Context, p peer.ID, proto protocol.ID) (*bridge.Conn, error) {
	if err := n.usable(ctx); err != nil {
		return nil, fmt.Errorf("dial %s: %w", proto, err)
	}
	c, err := n.bridge.Dial(ctx, p, proto, "dial")
	return c, n.ended(err)
}

// Services asks a peer for the services that it announces to this node.
func (n *Node) Services(ctx context.Context, p peer.ID) ([]bridge.Service, error) {
	if err := n.usable(ctx); err != nil {
		return nil, fmt.Errorf("ask for services: %w", err)
	}
	services, err := n.bridge.Services(ctx, p)
	return services, n.ended(err)
}

// askAtOnce is the number of peers that are asked for their services at a time.
const askAtOnce = 32

// Answer is the answer of one peer to ServicesOf.
type Answer struct {
	Peer     peer.ID
	Services []bridge.Service
	Err      error // why there are none; it wraps the cause of ctx if the answer did not come in time
}

// ServicesOf asks several peers for their services. If peers is nil, it asks all
// connected peers, in the order of their IDs. The answers are in the order of the peers.
// ServicesOf makes no connections. ctx bounds the whole call.
func (n *Node) ServicesOf(ctx context.Context, peers []peer.ID) []Answer {
	if peers == nil {
		peers = n.host.Network().Peers()
		slices.Sort(peers)
	}
	ctx = network.WithNoDial(ctx, "only peers that are connected are asked")
	answers := make([]Answer, len(peers))
	slots := make(chan struct{}, askAtOnce)
	var asking sync.WaitGroup
	for i, p := range peers {
		slots <- struct{}{} // freed as answers come, or when ctx ends
		asking.Go(func() {
			defer func() { <-slots }()
			services, err := n.Services(ctx, p)
			if err != nil && ctx.Err() != nil {
				err = fmt.Errorf("ask %s for services: %w", p, context.Cause(ctx))
			}
			answers[i] = Answer{p, services, err}
		})
	}
	asking.Wait()
	return answers
}

// Bridge returns the registry of listeners, forwards and streams.
func (n *Node) Bridge() *bridge.Bridge { return n.bridge }

func (n *Node) usable(ctx context.Context) error {
	if n.isClosed() {
		return ErrClosed
	}
	return ctx.Err()
}

func (n *Node) bridgePart(opts Options) Part {
	return Part{
		Name: "bridge",
		Start: func(context.Context) (err error) {
			n.bridge, err = bridge.New(bridge.Options{
				Host: n.host,
				Open: func(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error) {
					return n.Open(webrtc.WithRaw(ctx), p, proto)
				},
				Handle: n.handle,
				Describe: func(c network.Conn) (string, peer.ID) {
					p := describe(c)
					return p.Transport, p.Relay
				},
				Timeouts: opts.Streams,
				Logger:   n.log,
				Program:  n.program,
			})
			return err
		},
		Close: func() error { return n.bridge.Close() },
	}
}
