package mesh

import (
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/mesh/replay"
)

// Stats are counts since the start of the mesh, of messages unless a field says
// otherwise.
type Stats struct {
	Topics  int // current topics of the node
	Carried int // those of Topics that are carried for peers

	Published  uint64 // sent by this node
	Unheard    uint64 // delivered to the node's own subscribers only, with ErrNoPeers
	Received   uint64 // accepted from peers
	Replayed   uint64 // accepted from the histories of peers
	Missing    uint64 // known to be missing, on the current topics
	Duplicates uint64 // received again; they cost only bandwidth

	Refused   uint64 // by a validator of this node
	Malformed uint64 // not an envelope, unsigned, or with a wrong signature
	Ignored   uint64 // of an unknown kind, on a topic that was left, or refused without fault of the forwarding peer
	Withheld  uint64 // presence messages that were not forwarded: nobody watches the type, or more than 128 peers are on it
	Panics    uint64 // panics of validators

	Graylisted uint64 // skipped, because the forwarding peer sent too many bad messages before

	DroppedOutbound uint64 // because the queue to a peer was full
	DroppedControl  uint64 // RPCs without messages, for the same reason; GossipSub repeats what matters
	DroppedInbound  uint64 // because the queue for checking signatures was full

	NotCarried    uint64 // types of peers that were not carried, because there was no room
	TooManyTopics uint64 // subscriptions of peers beyond the limit per peer
	Uncounted     uint64 // peers that presence did not record, because there were too many

	History   replay.Stats        // of requests to and from the histories of peers
	Histories replay.HistoryStats // of this node, summed over the current topics
}

type counters struct {
	published, unheard, received, duplicates   atomic.Uint64
	refused, malformed, ignored, panics        atomic.Uint64
	withheld                                   atomic.Uint64
	droppedOutbound, droppedControl, droppedIn atomic.Uint64
	replayed, notCarried, tooManyTopics        atomic.Uint64
	uncounted, graylisted                      atomic.Uint64
	carried                                    atomic.Int64
}

// Stats returns a snapshot.
func (m *Mesh) Stats() Stats {
	m.mu.Lock()
	topics := make([]*topic, 0, len(m.topics))
	for _, t := range m.topics {
		topics = append(topics, t)
	}
	m.mu.Unlock()
	var missing uint64
	var histories replay.HistoryStats
	for _, t := range topics {
		missing += t.history.past.Missing()
		addUp(&histories, t.history.past.Stats())
	}
	c := &m.stats
	return Stats{
		Topics:          len(topics),
		Carried:         int(c.carried.Load()),
		Replayed:        c.replayed.Load(),
		Missing:         missing,
		NotCarried:      c.notCarried.Load(),
		TooManyTopics:   c.tooManyTopics.Load(),
		Uncounted:       c.uncounted.Load(),
		Graylisted:      c.graylisted.Load(),
		Histories:       histories,
		History:         m.replay.Stats(),
		Published:       c.published.Load(),
		Unheard:         c.unheard.Load(),
		Received:        c.received.Load(),
		Duplicates:      c.duplicates.Load(),
		Refused:         c.refused.Load(),
		Malformed:       c.malformed.Load(),
		Ignored:         c.ignored.Load(),
		Withheld:        c.withheld.Load(),
		Panics:          c.panics.Load(),
		DroppedOutbound: c.droppedOutbound.Load(),
		DroppedControl:  c.droppedControl.Load(),
		DroppedInbound:  c.droppedIn.Load(),
	}
}

func addUp(sum *replay.HistoryStats, s replay.HistoryStats) {
	sum.Entries += s.Entries
	sum.Bytes += s.Bytes
	sum.Publishers += s.Publishers
	sum.Added += s.Added
	sum.Repeated += s.Repeated
	sum.Refused += s.Refused
	sum.Aged += s.Aged
	sum.Evicted += s.Evicted
	sum.GivenUp += s.GivenUp
	sum.Forgot += s.Forgot
	sum.Loaded += s.Loaded
	sum.Damaged += s.Damaged
	sum.Written += s.Written
	sum.WriteFailures += s.WriteFailures
	sum.Unwritten += s.Unwritten
}

// burst is a series of drops without a pause of burstPause. It is logged once.
type burst struct{ last atomic.Pointer[time.Time] }

const burstPause = 10 * time.Second

// begins reports whether a drop at now is the first of a burst.
func (b *burst) begins(now time.Time) bool {
	last := b.last.Swap(&now)
	return last == nil || now.Sub(*last) > burstPause
}

type bursts struct{ outbound, inbound burst }

// tracer is the Mesh as GossipSub reports to it, mostly from its only loop.
type tracer Mesh

var _ pubsub.RawTracer = (*tracer)(nil)

func (t *tracer) DropRPC(rpc *pubsub.RPC, p peer.ID) {
	n := len(rpc.GetPublish())
	if n == 0 {
		t.stats.droppedControl.Add(1)
		return
	}
	t.stats.droppedOutbound.Add(uint64(n))
	if t.bursts.outbound.begins(time.Now()) {
		t.log.Warn("broadcasts are dropped: a peer does not take them fast enough", "peer", p)
	}
}

func (t *tracer) RejectMessage(msg *pubsub.Message, reason string) {
	switch reason {
	case pubsub.RejectValidationQueueFull, pubsub.RejectValidationThrottled:
		t.stats.droppedIn.Add(1)
		if t.bursts.inbound.begins(time.Now()) {
			t.log.Warn("broadcasts are dropped: this node does not check them fast enough", "peer", msg.ReceivedFrom)
		}
	case pubsub.RejectValidationFailed, pubsub.RejectMissingSignature, pubsub.RejectInvalidSignature, pubsub.RejectUnexpectedAuthInfo:
		t.stats.malformed.Add(1)
		t.marks.add(msg.ReceivedFrom, time.Now())
	default:
		if _, is := msg.ValidatorData.(withheld); is {
			t.stats.withheld.Add(1)
			return
		}
		t.stats.ignored.Add(1)
	}
}

func (t *tracer) DuplicateMessage(*pubsub.Message) { t.stats.duplicates.Add(1) }

func (t *tracer) OnNewOutboundStream(p peer.ID, _ protocol.ID) {
	t.streams.opened(p)
	(*Mesh)(t).wakeFor(p)
}
func (t *tracer) OnClosedOutboundStream(p peer.ID)     { (*Mesh)(t).streamClosed(p) }
func (t *tracer) Join(string)                          {}
func (t *tracer) Leave(string)                         {}
func (t *tracer) Graft(p peer.ID, topic string)        { t.meshed.graft(p, topic) }
func (t *tracer) Prune(p peer.ID, topic string)        { t.meshed.prune(p, topic) }
func (t *tracer) ValidateMessage(*pubsub.Message)      {}
func (t *tracer) DeliverMessage(*pubsub.Message)       {}
func (t *tracer) ThrottlePeer(peer.ID)                 {}
func (t *tracer) RecvRPC(*pubsub.RPC)                  {}
func (t *tracer) SendRPC(*pubsub.RPC, peer.ID)         {}
func (t *tracer) UndeliverableMessage(*pubsub.Message) {}
