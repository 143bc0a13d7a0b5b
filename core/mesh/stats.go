package mesh

import (
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/mesh/replay"
)

// Stats are counts since the mesh started, of messages unless they say what.
type Stats struct {
	Topics  int // topics that the node has a part in now
	Carried int // those of them that it carries for peers

	Published  uint64 // sent by this node
	Unheard    uint64 // given to the node's own subscribers only, with ErrNoPeers
	Received   uint64 // accepted from peers
	Replayed   uint64 // accepted from the histories of peers
	Missing    uint64 // known to have been broadcast on topics of now, and not here
	Duplicates uint64 // handed over again; dropping them costs nothing but their bytes

	Refused   uint64 // by the validators of this node
	Malformed uint64 // no envelope, not signed, or signed wrongly
	Ignored   uint64 // of a kind that is not known, on a topic that was left, or refused but not to the blame of who handed it over
	Panics    uint64 // of validators

	Graylisted uint64 // not looked at, because of what else their bearer handed over

	DroppedOutbound uint64 // to a peer, because what waits for it has reached its bound
	DroppedControl  uint64 // RPCs without messages, for the same reason; GossipSub repeats what matters
	DroppedInbound  uint64 // because what waits for its signature to be checked has reached its bound

	NotCarried    uint64 // types that peers came to and there was no room for
	TooManyTopics uint64 // subscriptions of peers beyond the number that one may have
	Uncounted     uint64 // peers not counted as present because there were too many

	History   replay.Stats        // of asking peers for theirs, and of answering
	Histories replay.HistoryStats // of this node, for topics of now, added up
}

type counters struct {
	published, unheard, received, duplicates   atomic.Uint64
	refused, malformed, ignored, panics        atomic.Uint64
	droppedOutbound, droppedControl, droppedIn atomic.Uint64
	replayed, notCarried, tooManyTopics        atomic.Uint64
	uncounted, graylisted                      atomic.Uint64
	carried                                    atomic.Int64
}

// Stats is a snapshot.
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

// burst is a run of drops with no pause of burstPause; it is logged once.
type burst struct{ last atomic.Pointer[time.Time] }

const burstPause = 10 * time.Second

// begins says whether a drop at now is the first of a burst.
func (b *burst) begins(now time.Time) bool {
	last := b.last.Swap(&now)
	return last == nil || now.Sub(*last) > burstPause
}

type bursts struct{ outbound, inbound burst }

// tracer is the Mesh as GossipSub reports to it, mostly from its one loop.
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
			t.log.Warn("broadcasts are dropped: this node does not check them fast enough", "from", msg.ReceivedFrom)
		}
	case pubsub.RejectValidationFailed, pubsub.RejectMissingSignature, pubsub.RejectInvalidSignature, pubsub.RejectUnexpectedAuthInfo:
		t.stats.malformed.Add(1)
		t.marks.add(msg.ReceivedFrom, time.Now())
	default:
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
