package mesh

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tombolo-net/tombolo/core/message"
)

// Verdict is the decision of a validator about a message.
type Verdict int

const (
	// Accept delivers the message and forwards it.
	Accept Verdict = iota
	// Ignore does neither.
	Ignore
	// Reject does neither, and gives the peer that handed over the message a bad mark if
	// it has made the message itself. A peer that forwards the message of another is not
	// to blame: it may have no validator for the type, as relays have none.
	Reject
)

// ValidateLimit is the timeout of the ctx that a validator receives.
const ValidateLimit = time.Second

type validator struct {
	f func(context.Context, *message.Message) Verdict
}

// Validate registers f to decide about each message of a type before it is delivered or
// forwarded, including replayed messages and those of this node itself. A type has at
// most one validator. remove unregisters it and may be called more than once.
//
// Broadcasts of peers are validated one at a time, in the order of arrival, and meanwhile
// messages of all types wait: f must be quick, and heed ctx. For replayed messages and
// the node's own, f is called concurrently to that, from other goroutines. If f panics,
// the message is ignored, and the panic is logged.
func (m *Mesh) Validate(typ string, f func(ctx context.Context, msg *message.Message) Verdict) (remove func(), err error) {
	if err := message.CheckType(typ); err != nil {
		return nil, fmt.Errorf("validate: %w", err)
	}
	if f == nil {
		return nil, fmt.Errorf("validate %q: the validator is nil", typ)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil {
		return nil, fmt.Errorf("validate %q: %w", typ, ErrClosed)
	}
	if m.validators[typ] != nil {
		return nil, fmt.Errorf("validate %q: the type has a validator already", typ)
	}
	v := &validator{f: f}
	m.validators[typ] = v
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.validators[typ] == v {
			delete(m.validators, typ)
		}
	}, nil
}

// verdict calls the validator of the type.
func (m *Mesh) verdict(ctx context.Context, msg *message.Message) (v Verdict) {
	m.mu.Lock()
	val := m.validators[msg.Type]
	m.mu.Unlock()
	if val == nil {
		return Accept
	}
	ctx, cancel := context.WithTimeout(ctx, ValidateLimit)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			m.stats.panics.Add(1)
			m.log.Error("a validator panicked", "type", msg.Type, "id", msg.ID, "peer", msg.From, "panic", r, "stack", string(debug.Stack()))
			v = Ignore
		}
	}()
	defer m.opts.Program.Enter()()
	return val.f(ctx, msg)
}

// receive is GossipSub's validator. It is called once for each message that has a valid
// signature and that GossipSub has not seen: by one goroutine for messages of peers, and
// by Publish for the node's own. It delivers the messages that it accepts.
func (m *Mesh) receive(_ context.Context, via peer.ID, raw *pubsub.Message) pubsub.ValidationResult {
	if own, ok := raw.ValidatorData.(*signed); ok {
		own.msg = raw.Message
		return pubsub.ValidationAccept
	}
	if !m.calls.Begin() {
		return pubsub.ValidationIgnore
	}
	defer m.calls.Leave()
	t := m.lookup(m.typeOf(raw.GetTopic()))
	if t == nil { // the node has just left the topic
		return pubsub.ValidationIgnore
	}
	msg, verdict := m.decode(t.typ, raw.GetFrom(), via, raw.GetData())
	if verdict == Accept {
		verdict = m.judge(m.ctx, msg)
	}
	switch verdict {
	case Accept:
		if t.accept(msg, raw.Message) {
			return pubsub.ValidationAccept
		}
		if msg.Kind != message.Event {
			raw.ValidatorData = withheld{}
		}
		return pubsub.ValidationIgnore
	case Reject:
		t.passOver(msg)
		return pubsub.ValidationReject
	}
	t.passOver(msg)
	return pubsub.ValidationIgnore
}

// passOver makes the history not request a message that was refused.
func (t *topic) passOver(msg *message.Message) {
	if msg != nil && msg.Kind == message.Event && isNumbered(msg) {
		t.history.past.Skip(msg.From, msg.ID)
	}
}

// isNumbered reports whether a message has a number. Nodes of ours number all messages;
// GossipSub tells the others apart by its own numbers.
func isNumbered(msg *message.Message) bool { return msg.ID.Epoch != 0 && msg.ID.Seq != 0 }

// decode makes a message from an envelope. It rejects what no honest peer sends, and
// ignores what may be of a later version.
func (m *Mesh) decode(typ string, from, via peer.ID, data []byte) (*message.Message, Verdict) {
	if len(data) > m.opts.MaxMessage+message.Overhead {
		return nil, Reject
	}
	msg := &message.Message{From: from, Via: via, Broadcast: true}
	if err := msg.Decode(data, nil); err != nil {
		if laterKind(data) {
			return nil, Ignore
		}
		return nil, Reject
	}
	if msg.CheckSize(m.opts.MaxMessage) != nil {
		return nil, Reject
	}
	msg.Type = typ
	switch msg.Kind {
	case message.Event, message.Who, message.Here, message.Gone:
		return msg, Accept
	}
	return nil, Reject
}

// laterKind reports whether an envelope is complete, but of a kind that is not known yet.
func laterKind(b []byte) bool {
	const fieldKind = 3 // of envelope.proto
	later := false
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		if num == fieldKind && typ == protowire.VarintType {
			v, n := protowire.ConsumeVarint(b)
			later = n > 0 && v > uint64(message.Gone)
		}
		n = protowire.ConsumeFieldValue(num, typ, b)
		if n < 0 {
			return false
		}
		b = b[n:]
	}
	return later
}

// judge calls the validator of the type for an event.
func (m *Mesh) judge(ctx context.Context, msg *message.Message) Verdict {
	if msg.Kind != message.Event {
		return Accept
	}
	v := m.verdict(ctx, msg)
	if v == Accept {
		return Accept
	}
	m.stats.refused.Add(1)
	if v == Reject && msg.From == msg.Via {
		return Reject
	}
	return Ignore
}

// accept delivers a new message, and reports whether to forward it. It also forwards a
// message that a peer's history had brought before, because other peers may get it from
// nobody else. It does not forward a message that GossipSub brings a second time after
// forgetting the first, nor words that would go to too many peers.
func (t *topic) accept(msg *message.Message, raw *pb.Message) bool {
	if msg.Kind != message.Event {
		return t.presence.hear(msg, raw)
	}
	if isNumbered(msg) {
		added := t.history.add(msg, raw)
		if !added.New {
			t.m.stats.duplicates.Add(1)
			return added.Again
		}
		t.history.heard(msg, added)
	}
	t.m.stats.received.Add(1)
	t.deliver(msg)
	return true
}

// acceptReplayed delivers a new message from a peer's history.
func (t *topic) acceptReplayed(msg *message.Message) {
	t.m.stats.replayed.Add(1)
	t.deliver(msg)
}

// deliver passes a message to the node's subscribers, if it has any.
func (t *topic) deliver(msg *message.Message) {
	if t.subscribed.Load() > 0 {
		t.m.opts.Deliver(msg)
	}
}
