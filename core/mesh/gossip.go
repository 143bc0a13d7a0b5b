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

	// outboundQueue bounds the RPCs that wait for one peer, of one message each.
	// GossipSub's default, 32, loses half of 1,000 messages a second. The queues share
	// the messages, so this does not cost memory per peer.
	outboundQueue = 2048

	// validateQueue bounds the messages that wait for their signatures to be checked.
	// GossipSub's default is 32.
	validateQueue = 2048

	// mostGrafts bounds the peers that have this node in their mesh for one topic.
	// GossipSub's default of 12 is made for meshes in which every peer knows many others:
	// beyond it, a peer receives broadcasts only by gossip, a second late and not always.
	// A tab knows only its relay.
	mostGrafts = 128

	// mostGraftsCarrier is the same for a node that carries topics for others.
	mostGraftsCarrier = 1 << 16

	// unsubscribeBackoff is how long a peer that left a topic is not grafted again.
	// GossipSub's default is 10 s; a page reloads faster than that.
	unsubscribeBackoff = time.Second
)

// Scores. A peer loses the square of its bad marks (see marks) times ten: after four of
// them, everything that it sends is dropped until most are forgotten.
const (
	markWeight    = -10
	gossipBelow   = -20  // no gossip with the peer
	publishBelow  = -50  // nothing is published to it
	graylistBelow = -100 // nothing from it is accepted

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
		// A single worker preserves the order of arrival.
		pubsub.WithValidateWorkers(1),
		pubsub.WithDefaultValidator(m.receive, pubsub.WithValidatorInline(true)),
		pubsub.WithSubscriptionFilter(m.filter),
		pubsub.WithGossipSubParams(params),
		// The node's own messages go to all its peers on the topic, not only to those in
		// its mesh, so a peer that has just joined receives them, too.
		pubsub.WithFloodPublish(true),
		pubsub.WithPeerScore(score, thresholds),
		pubsub.WithAppSpecificRpcInspector(m.inspect),
		pubsub.WithRawTracer((*tracer)(m)),
	)
}

// scoreParams returns parameters that also suit small meshes. They do not judge how much
// a peer delivers on a topic (GossipSub's P1 to P3), because that says nothing in a small
// or quiet mesh. Invalid messages are counted by marks over all topics (P5, in place of
// P4), because parameters per topic are never forgotten, and remote peers choose the
// topics of a carrier.
func (m *Mesh) scoreParams() (*pubsub.PeerScoreParams, *pubsub.PeerScoreThresholds) {
	return &pubsub.PeerScoreParams{
			AppSpecificScore:  m.markScore,
			AppSpecificWeight: 1,
			// No penalty for sharing an address: tabs behind one NAT do, and peers that
			// meet on circuits all have the address of the relay.
			IPColocationFactorWeight: 0,
			// For promised messages that did not come and for grafts that came too early.
			// An honest peer that is too slow also causes these, so the penalty is mild.
			BehaviourPenaltyWeight:    -0.1,
			BehaviourPenaltyThreshold: 10,
			BehaviourPenaltyDecay:     pubsub.ScoreParameterDecay(time.Minute),
			DecayInterval:             scoreInterval,
			DecayToZero:               scoreZero,
		}, &pubsub.PeerScoreThresholds{
			GossipThreshold:   gossipBelow,
			PublishThreshold:  publishBelow,
			GraylistThreshold: graylistBelow,
			AcceptPXThreshold: 1, // never: discovery finds peers
		}
}

func (m *Mesh) markScore(p peer.ID) float64 {
	n := m.marks.of(p, time.Now())
	return markWeight * n * n
}

// inspect drops the messages of a peer whose marks are too bad. GossipSub does so, too,
// but not for a peer that it has no stream to, because it gives such a peer no score. The
// subscriptions of the peer remain known.
func (m *Mesh) inspect(p peer.ID, rpc *pubsub.RPC) error {
	if n := len(rpc.GetPublish()); n > 0 && m.markScore(p) < graylistBelow {
		m.stats.graylisted.Add(uint64(n))
		rpc.Publish, rpc.Control = nil, nil
	}
	m.paces.charge(p, rpc)
	m.answerQuestions(p, rpc)
	return nil
}

// errorsOnly keeps out of the log what a remote peer can make GossipSub log.
type errorsOnly struct{ slog.Handler }

func (h errorsOnly) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError && h.Handler.Enabled(ctx, l)
}

func (h errorsOnly) WithAttrs(a []slog.Attr) slog.Handler { return errorsOnly{h.Handler.WithAttrs(a)} }
func (h errorsOnly) WithGroup(g string) slog.Handler      { return errorsOnly{h.Handler.WithGroup(g)} }
