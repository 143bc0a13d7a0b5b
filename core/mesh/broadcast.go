package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"

	"github.com/tombolo-net/tombolo/core/message"
)

var (
	// ErrNoPeers is returned if no connected peer is known to be on the topic of the
	// type.
	ErrNoPeers = errors.New("no peer is on the topic")
	// ErrRefused is returned by Broadcast if the node's own validator of the type does not
	// accept the message.
	ErrRefused = errors.New("refused by this node's validator")
)

// BroadcastOption changes how a message is broadcast.
type BroadcastOption func(*broadcast) error

type broadcast struct{ wait bool }

// WaitForPeer makes Broadcast wait until a peer is on the topic.
func WaitForPeer() BroadcastOption {
	return func(b *broadcast) error {
		b.wait = true
		return nil
	}
}

// Broadcast sends data to all subscribers of typ. The node need not be subscribed
// itself; if it is, it receives the message, too. The caller may reuse data afterwards.
//
// A nil error means that GossipSub accepted the message while at least one connected
// peer was on the topic. A relay that carries the type counts as such a peer. Without
// one, the error wraps ErrNoPeers: at once, or, with WaitForPeer, when ctx ends. The
// node's own subscribers have then received the message all the same, under an ID that
// was never sent.
//
// The other errors are ErrClosed, ErrRefused, message.ErrTooLarge and those of
// message.CheckType. Then nobody has received the message.
func (m *Mesh) Broadcast(ctx context.Context, typ string, data []byte, opts ...BroadcastOption) error {
	if err := m.broadcast(ctx, typ, data, opts); err != nil {
		return fmt.Errorf("broadcast: %w", err)
	}
	return nil
}

func (m *Mesh) broadcast(ctx context.Context, typ string, data []byte, opts []BroadcastOption) error {
	var b broadcast
	for i, opt := range opts {
		if opt == nil {
			return fmt.Errorf("option %d is nil", i+1)
		}
		if err := opt(&b); err != nil {
			return err
		}
	}
	if err := message.CheckType(typ); err != nil {
		return err
	}
	if !m.calls.Begin() {
		return ErrClosed
	}
	defer m.calls.Leave()
	t, err := m.use(typ)
	if err != nil {
		return err
	}
	defer t.release()
	msg := &message.Message{From: m.self, Via: m.self, Type: typ, Data: bytes.Clone(data), Broadcast: true}
	if v := m.verdict(ctx, msg); v != Accept {
		return fmt.Errorf("%q: %w", typ, ErrRefused)
	}
	if b.wait {
		return t.sendWhenHeard(ctx, msg)
	}
	sent, err := t.sendIfHeard(ctx, msg)
	if err == nil && !sent {
		t.serveLocal(msg)
		return fmt.Errorf("%w of %q; this node's own subscribers have been served", ErrNoPeers, typ)
	}
	return err
}

// sendWhenHeard sends the message as soon as a peer is on the topic.
func (t *topic) sendWhenHeard(ctx context.Context, msg *message.Message) error {
	for {
		joined := t.members.waiting()
		if sent, err := t.sendIfHeard(ctx, msg); sent || err != nil {
			return err
		}
		select {
		case <-joined:
		case <-t.m.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			t.serveLocal(msg)
			return fmt.Errorf("%w of %q: none came while the message was kept: %w", ErrNoPeers, t.typ, ctx.Err())
		}
	}
}

// numbers holds the last IDs of a node's own broadcasts of a type.
type numbers struct {
	mu    sync.Mutex // numbers and publishes in one step
	last  message.ID // the last one given to a broadcast that was sent
	local message.ID // the last one given to a broadcast that was not sent
}

// signed receives the signed form of the node's own message from GossipSub.
type signed struct{ msg *pb.Message }

// sendIfHeard numbers, sends and delivers the message if a peer is on the topic. A
// message that is not sent takes no number.
func (t *topic) sendIfHeard(ctx context.Context, msg *message.Message) (sent bool, err error) {
	t.numbers.mu.Lock()
	defer t.numbers.mu.Unlock()
	msg.ID = message.ID{Epoch: t.numbers.last.Epoch, Seq: t.numbers.last.Seq + 1}
	if err := msg.CheckSize(t.m.opts.MaxMessage); err != nil {
		return false, err
	}
	if len(t.members.handle.ListPeers()) == 0 {
		return false, t.m.closedOr(ctx.Err())
	}
	var own signed
	if err := t.put(ctx, msg, &own); err != nil {
		return false, t.m.closedOr(fmt.Errorf("%q: %w", t.typ, err))
	}
	t.numbers.last = msg.ID
	t.m.stats.published.Add(1)
	if own.msg != nil {
		t.history.add(msg, own.msg)
	}
	t.deliver(msg)
	return true, nil
}

// put hands a message to GossipSub.
func (t *topic) put(ctx context.Context, msg *message.Message, own *signed) error {
	return t.members.handle.Publish(ctx, t.envelope(msg), pubsub.WithValidatorData(own))
}

// envelope returns the envelope of the message without its type, which the topic names.
func (t *topic) envelope(msg *message.Message) []byte {
	bare := *msg
	bare.Type = ""
	return bare.Append(make([]byte, 0, bare.Size()))
}

// serveLocal delivers a message that was not sent. Its ID has an epoch that is never
// sent, so it differs from all others.
func (t *topic) serveLocal(msg *message.Message) {
	t.numbers.mu.Lock()
	defer t.numbers.mu.Unlock()
	t.numbers.local.Seq++
	msg.ID = t.numbers.local
	t.m.stats.unheard.Add(1)
	t.deliver(msg)
}
