package core

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

// Subscribe subscribes to the messages of a type: those sent to this node and those
// broadcast to the mesh. The pattern "room/*" matches all types that begin with "room/".
// With such a pattern, the subscription receives messages sent to this node, and only
// those broadcasts whose type this node is also subscribed to by its full name.
//
// See dispatch.Option for the size of the queue, and for what happens when it is full.
// Under the policy Block, a message that was sent to this node waits, and its sender
// with it; a broadcast does not. Close the subscription when it is no longer needed.
// Errors wrap message.ErrType, dispatch.ErrClosed or mesh.ErrClosed. For an exact type,
// dispatch.OnEnd is reserved for the node, and giving it is an error; use
// Subscription.Done.
func (n *Node) Subscribe(pattern string, opts ...dispatch.Option) (*dispatch.Subscription, error) {
	return n.join(pattern, opts, func(opts []dispatch.Option) (*dispatch.Subscription, error) {
		return n.dispatcher.Subscribe(pattern, opts...)
	})
}

// On is Subscribe with a handler: see dispatch.Dispatcher.Handle.
func (n *Node) On(pattern string, f func(context.Context, dispatch.Delivery), opts ...dispatch.Option) (*dispatch.Subscription, error) {
	return n.join(pattern, opts, func(opts []dispatch.Option) (*dispatch.Subscription, error) {
		return n.dispatcher.Handle(pattern, f, opts...)
	})
}

// SubscribeDirect subscribes only to the messages of a type that are sent to this node.
// It does not subscribe the node to broadcasts of the type. If another subscription does,
// this one receives broadcasts, too.
func (n *Node) SubscribeDirect(pattern string, opts ...dispatch.Option) (*dispatch.Subscription, error) {
	sub, err := n.dispatcher.Subscribe(pattern, opts...)
	return sub, n.ended(err)
}

// join subscribes, and keeps the node subscribed to the mesh's topic until the
// subscription ends.
func (n *Node) join(pattern string, opts []dispatch.Option, subscribe func([]dispatch.Option) (*dispatch.Subscription, error)) (*dispatch.Subscription, error) {
	_, prefix, err := message.CheckPattern(pattern)
	if err != nil || prefix {
		sub, err := subscribe(opts) // the error says what is wrong with the pattern
		return sub, n.ended(err)
	}
	joined := make(chan func(), 1)
	sub, err := subscribe(append(opts[:len(opts):len(opts)], dispatch.OnEnd(func() { (<-joined)() })))
	if err != nil {
		return nil, n.ended(err)
	}
	leave, err := n.mesh.Subscribe(pattern) // the mailbox exists already, so that no message is missed
	if err != nil {
		joined <- func() {}
		return nil, n.ended(errors.Join(err, sub.Close()))
	}
	joined <- leave
	return sub, nil
}

// Deduplicate makes subscriptions receive copies of a message (the same sender, type and
// ID) only once: see dispatch.Dispatcher.Deduplicate. Broadcasts never arrive twice.
func (n *Node) Deduplicate(pattern string, window dispatch.Window) error {
	return n.ended(n.dispatcher.Deduplicate(pattern, window))
}

// Broadcast sends a message to all subscribers of a type in the mesh, including this
// node's own: see mesh.Mesh.Broadcast. The error wraps mesh.ErrNoPeers if no other
// subscriber is known; with mesh.WaitForPeer, Broadcast waits for one.
func (n *Node) Broadcast(ctx context.Context, typ string, data []byte, opts ...mesh.BroadcastOption) error {
	return n.ended(n.mesh.Broadcast(ctx, typ, data, opts...))
}

// Validate registers a function that decides which broadcasts of a type this node
// delivers and forwards: see mesh.Mesh.Validate.
func (n *Node) Validate(typ string, f func(context.Context, *message.Message) mesh.Verdict) (remove func(), err error) {
	remove, err = n.mesh.Validate(typ, f)
	return remove, n.ended(err)
}

// Presence watches which peers are subscribed to a type: see mesh.Mesh.Presence.
func (n *Node) Presence(typ string) (*mesh.Presence, error) {
	p, err := n.mesh.Presence(typ)
	return p, n.ended(err)
}

// KeepHistory keeps the broadcasts of a type that this node receives, for peers that
// were offline and for Recover: see mesh.Mesh.KeepHistory.
func (n *Node) KeepHistory(typ string, limits replay.Limits) error {
	return n.ended(n.mesh.KeepHistory(typ, limits))
}

// Recover requests the broadcasts of a type that this node missed from peers, and
// delivers them to its subscriptions: see mesh.Mesh.Recover.
func (n *Node) Recover(ctx context.Context, typ string) (mesh.Recovery, error) {
	r, err := n.mesh.Recover(ctx, typ)
	return r, n.ended(err)
}

// SendOption changes how a message is sent.
type SendOption func(*sending) error

type sending struct{ priority link.Priority }

// At gives a message a priority. If not given, link.Normal.
func At(p link.Priority) SendOption {
	return func(s *sending) error {
		if p > link.Low {
			return fmt.Errorf("there is no %s: link.High, link.Normal or link.Low", p)
		}
		s.priority = p
		return nil
	}
}

func outgoing(typ string, data []byte, opts []SendOption) (*message.Message, link.Priority, error) {
	s := sending{priority: link.Normal}
	for i, opt := range opts {
		if opt == nil {
			return nil, 0, fmt.Errorf("send %q: option %d is nil", typ, i+1)
		}
		if err := opt(&s); err != nil {
			return nil, 0, fmt.Errorf("send %q: %w", typ, err)
		}
	}
	return &message.Message{Type: typ, Data: data}, s.priority, nil
}

// Send sends a message to one peer, connecting first if needed, and returns when the
// message has been written to the connection: see link.Links.Send. The caller must not
// change data before that.
func (n *Node) Send(ctx context.Context, p peer.ID, typ string, data []byte, opts ...SendOption) error {
	m, priority, err := outgoing(typ, data, opts)
	if err == nil {
		err = n.links.Send(ctx, p, m, priority)
	}
	return n.ended(err)
}

// Post queues a message for one peer and returns at once; use it to send many messages:
// see link.Links.Post. done, which may be nil, is called when the message has been
// written to the connection, or with the reason why it was not. The caller must not
// change data before that.
func (n *Node) Post(ctx context.Context, p peer.ID, typ string, data []byte, done func(error), opts ...SendOption) error {
	m, priority, err := outgoing(typ, data, opts)
	if err == nil {
		err = n.links.Post(ctx, p, m, priority, done)
	}
	return n.ended(err)
}

// SendAll sends a message to several peers at once. The report lists the peers that were
// reached, and the reason for each of the others: see link.Links.SendAll. If the call
// itself is invalid, SendAll sends nothing and returns an error.
func (n *Node) SendAll(ctx context.Context, peers []peer.ID, typ string, data []byte, opts ...SendOption) (link.Report, error) {
	if n.isClosed() {
		return link.Report{}, ErrClosed
	}
	m, priority, err := outgoing(typ, data, opts)
	if err != nil {
		return link.Report{}, err
	}
	return n.links.SendAll(ctx, peers, m, priority), nil
}

// SendTo sends a message to the connected peers that the filter selects: link.Every,
// link.Random, link.Sqrt, link.Where or your own. See SendAll.
func (n *Node) SendTo(ctx context.Context, filter link.Filter, typ string, data []byte, opts ...SendOption) (link.Report, error) {
	if filter == nil {
		return link.Report{}, fmt.Errorf("send %q: the filter is nil: link.Every is all peers", typ)
	}
	return n.SendAll(ctx, filter(n.host.Network().Peers()), typ, data, opts...)
}

// Request sends a request to a peer and returns its reply: see link.Links.Request. If the
// peer answers with an error, the error is a *link.RemoteError.
func (n *Node) Request(ctx context.Context, p peer.ID, typ string, data []byte) ([]byte, error) {
	reply, err := n.links.Request(ctx, p, typ, data)
	if err != nil {
		return nil, n.ended(err)
	}
	return reply.Data, nil
}

// Respond answers the requests of a type: see link.Links.Respond.
func (n *Node) Respond(typ string, f link.Responder) (remove func(), err error) {
	remove, err = n.links.Respond(typ, f)
	return remove, n.ended(err)
}

func (n *Node) dispatcherPart(opts Options) Part {
	n.dispatcher = dispatch.New(dispatch.Options{Logger: n.log, HandlerLimit: opts.HandlerLimit, Program: n.program})
	return Part{Name: "dispatcher", Close: n.dispatcher.Close}
}

func (n *Node) linksPart(opts Options) Part {
	return Part{
		Name: "links",
		Start: func(context.Context) (err error) {
			n.links, err = link.New(n.host, link.Options{
				Open: n.Open,
				// The dispatcher counts the messages that nobody takes.
				Deliver:      func(ctx context.Context, m *message.Message) { _ = n.dispatcher.Publish(ctx, m) },
				MaxData:      opts.MaxMessage,
				HandlerLimit: opts.HandlerLimit,
				Logger:       n.log,
				Program:      n.program,
			})
			return err
		},
		Close: func() error { return n.links.Close() },
	}
}

func (n *Node) meshPart(opts Options) Part {
	return Part{
		Name: "mesh",
		Start: func(ctx context.Context) (err error) {
			n.mesh, err = mesh.New(ctx, n.host, mesh.Options{
				Network:       n.network,
				Open:          n.Open,
				Deliver:       func(m *message.Message) { _ = n.dispatcher.Offer(m) },
				MaxMessage:    opts.MaxMessage,
				RelayTopics:   opts.RelayTopics,
				Pace:          opts.Pace,
				KeepHistories: opts.KeepHistories,
				Store:         opts.Store,
				Logger:        n.log,
				Program:       n.program,
			})
			return err
		},
		Close: func() error { return n.mesh.Close() },
	}
}
