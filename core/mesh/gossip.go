package mesh

import (
	"context"
	"log/slog"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

const (
	// rpcOverhead bounds what a signed message holds besides its data, in bytes:
	// the envelope, and what GossipSub adds to it, which is the topic, signer,
	// number, signature and key (of which RSA's are the longest).
	rpcOverhead = message.Overhead + 4<<10

	// outboundQueue bounds what waits for one peer, in RPCs of a message each.
	// GossipSub's default, 32, loses half of 1,000 messages a second. The
	// messages are shared between the queues, so that this is not memory per
	// peer.
	outboundQueue = 2048

	// validateQueue bounds what waits for its signature to be checked, in
	// messages. GossipSub's default is 32.
	validateQueue = 2048

	// mostGrafts bounds the peers that have this node in their mesh for one
	// topic. GossipSub's default of 12 is made for meshes in which everybody
	// knows many others: beyond it a peer hears what is said only by gossip, a
	// second late and not always. A tab knows its relay and nobody else.
	mostGrafts = 128

	// mostGraftsCarrier is the same for a node that carries topics for others.
	mostGraftsCarrier = 1 << 16

	// unsubscribeBackoff is how long a peer that left a topic is not grafted
	// again. GossipSub's default is 10 s; a page that is loaded anew is faster.
	unsubscribeBackoff = time.Second
)

// Scores. A peer loses the square of its bad marks, see marks, times ten: after
// four of them nothing it says is heard until most are forgotten.
const (
	markWeight    = -10
	gossipBelow   = -20  // no gossip with it
	publishBelow  = -50  // nothing published to it
	graylistBelow = -100 // nothing heard from it

	scoreInterval = time.Second
	scoreZero     = 0.01
)

func (m *Mesh) newGossip() (*pubsub.PubSub, error) {
	params := pubsub.DefaultGossipSubParams()
	params.Dhi = mostGrafts
	if m.opts.RelayTopics > 0 {
		params.Dhi = mostGraftsCarrier
	}
	params.UnsubscribeBackoff = unsubscribeBackoff
	score, thresholds := m.scoreParams()
	m.router = pubsub.DefaultGossipSubRouter(m.host)
	return pubsub.NewGossipSubWithRouter(m.ctx, m.host, m.router,
		m.router.WithDefaultTagTracer(), // as NewGossipSub does
		pubsub.WithLogger(slog.New(errorsOnly{m.log.Handler()})),
		pubsub.WithRPCLogger(slog.New(slog.DiscardHandler)),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictSign),
		pubsub.WithMaxMessageSize(m.opts.MaxMessage+rpcOverhead),
		pubsub.WithPeerOutboundQueueSize(outboundQueue),
		pubsub.WithValidateQueueSize(validateQueue),
		// One worker keeps what came in order in order.
		pubsub.WithValidateWorkers(1),
		pubsub.WithDefaultValidator(m.receive, pubsub.WithValidatorInline(true)),
		pubsub.WithSubscriptionFilter(m.filter),
		pubsub.WithGossipSubParams(params),
		// What this node says goes to all its peers on the topic, not only to
		// those it is meshed with: a peer that came a moment ago hears it too.
		pubsub.WithFloodPublish(true),
		pubsub.WithPeerScore(score, thresholds),
		pubsub.WithAppSpecificRpcInspector(m.inspect),
		pubsub.WithRawTracer((*tracer)(m)),
	)
}

// scoreParams are for small meshes too. How much a peer delivers on a topic
// (GossipSub's P1 to P3) is not judged: in a small or quiet mesh it says nothing.
// What it delivers that is no message of ours is counted by marks over all
// topics (P5, in place of P4), because parameters per topic are never forgotten
// and a carrier's topics are of a remote's choosing.
func (m *Mesh) scoreParams() (*pubsub.PeerScoreParams, *pubsub.PeerScoreThresholds) {
	return &pubsub.PeerScoreParams{
			AppSpecificScore:  m.markScore,
			AppSpecificWeight: 1,
			// No penalty for sharing an address: tabs behind one NAT do, and to
			// those that meet on circuits all have the relay's.
			IPColocationFactorWeight: 0,
			// For promised messages that did not come and for grafts too early,
			// which also an honest peer that is too slow does: mild.
			BehaviourPenaltyWeight:    -0.1,
			BehaviourPenaltyThreshold: 10,
			BehaviourPenaltyDecay:     pubsub.ScoreParameterDecay(time.Minute),
			DecayInterval:             scoreInterval,
			DecayToZero:               scoreZero,
		}, &pubsub.PeerScoreThresholds{
			GossipThreshold:   gossipBelow,
			PublishThreshold:  publishBelow,
			GraylistThreshold: graylistBelow,
			AcceptPXThreshold: 1, // never: peers are found by discovery
		}
}

func (m *Mesh) markScore(p peer.ID) float64 {
	n := m.marks.of(p, time.Now())
	return markWeight * n * n
}

// inspect drops what a peer says whose marks are too bad. GossipSub does too, but
// not to one that has no ear for us: to that it gives no score. What the peer is
// subscribed to remains known.
func (m *Mesh) inspect(p peer.ID, rpc *pubsub.RPC) error {
	if n := len(rpc.GetPublish()); n > 0 && m.markScore(p) < graylistBelow {
		m.stats.graylisted.Add(uint64(n))
		rpc.Publish, rpc.Control = nil, nil
	}
	m.paces.charge(p, rpc)
	m.answerQuestions(p, rpc)
	return nil
}

// errorsOnly keeps what a remote can make GossipSub say out of the log.
type errorsOnly struct{ slog.Handler }

func (h errorsOnly) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError && h.Handler.Enabled(ctx, l)
}

func (h errorsOnly) WithAttrs(a []slog.Attr) slog.Handler { return errorsOnly{h.Handler.WithAttrs(a)} }
func (h errorsOnly) WithGroup(g string) slog.Handler      { return errorsOnly{h.Handler.WithGroup(g)} }
