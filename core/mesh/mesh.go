// Package mesh speaks to the whole network: what one node broadcasts on a type
// reaches every node that subscribed to it, whether or not the two are
// connected.
//
// It is GossipSub (https://github.com/libp2p/specs/tree/master/pubsub/gossipsub)
// on the topics "<network>/<type>". The data of a GossipSub message is the
// envelope of package message without its type; every message is signed by who
// made it. What GossipSub leaves open is closed here:
//
//   - A publisher that nobody hears is told so (ErrNoPeers), or waits
//     (WaitForPeer).
//   - The messages of one publisher and type are numbered without holes, so
//     that a receiver knows what it missed and asks its peers for it. What was
//     said while a subscription was spreading comes the same way.
//   - Every queue is bounded, and every drop is counted by reason: see Stats.
//   - A node that can be reached by many who reach nobody else, such as a
//     relay, carries their topics for them (Options.RelayTopics).
//
// The way of a broadcast: its publisher gives it the next number of the type
// (numbers) and GossipSub signs it. At each node GossipSub checks the signature, one
// goroutine decodes it and asks the type's validator, and the topic's history says
// whether it is new. What is new is handed to Options.Deliver, in the order of arrival
// and without a queue in between, and GossipSub passes it on. Where the history says
// that it left a hole, peers are asked for what is missing (history): that comes
// through package replay, by the same validator and the same judge.
package mesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-datastore"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/core/supervise"
)

// DefaultNetwork is the network name of a mesh that is given none.
const DefaultNetwork = "tombolo"

// ErrClosed is returned by the methods of a Mesh after Close.
var ErrClosed = errors.New("mesh is closed")

// Options configure a Mesh.
type Options struct {
	// Network separates meshes that share connections. If empty,
	// DefaultNetwork.
	Network string

	// Deliver receives the messages of the types subscribed to, those of the
	// node's own included. It is called by several goroutines and must never
	// block. The message is shared: it must not be changed.
	Deliver func(*message.Message)

	// Open opens a stream to a connected peer, to ask it for what was missed.
	// If nil, the host's NewStream.
	Open func(context.Context, peer.ID, protocol.ID) (network.Stream, error)

	// MaxMessage bounds the data of a broadcast, in bytes, and must be the same
	// in the whole network. If zero, message.MaxData.
	MaxMessage int

	// RelayTopics is how many types this node carries for peers that
	// subscribe to them, besides its own. If zero, none.
	RelayTopics int

	// KeepHistories makes the node remember the broadcasts of every type that it
	// carries for peers, within these limits each. If nil, it remembers those of
	// the types given to KeepHistory.
	KeepHistories *replay.Limits

	// Store keeps histories over restarts. If nil, nothing does. It is not
	// closed.
	Store datastore.Batching

	// Logger receives what the mesh has to say. If nil, nothing is logged.
	Logger *slog.Logger

	// Program tracks the validators while they run, and bounds how long Close waits
	// for them. The parts of a node share one. If nil, this part has its own.
	Program *supervise.Program
}

// Mesh is a node's part in the mesh. All methods may be called concurrently.
type Mesh struct {
	host    *trackedHost
	self    peer.ID
	prefix  string // of the network's topics
	opts    Options
	log     *slog.Logger
	ps      *pubsub.PubSub
	filter  *filter
	replay  *replay.Service
	stats   counters
	marks   marks
	meshed  meshed
	streams streams
	bursts  bursts
	rounds  chan struct{} // has a token of each round of questions under way

	ctx    context.Context // of all that runs
	cancel context.CancelFunc
	run    sync.WaitGroup  // goroutines of the mesh
	calls  supervise.Calls // into Deliver and validators, and broadcasts

	mu         sync.Mutex // never held while GossipSub is called
	topics     map[string]*topic
	validators map[string]*validator
	numbers    map[string]message.ID // the last of topics that are not in use

	carrier *carrier // nil if topics are not carried

	closeOnce sync.Once
	closeErr  error
}

// New starts a mesh on h. ctx bounds the start only. The host must have the
// private key of its own id in its peerstore, and must outlive the mesh.
func New(ctx context.Context, h host.Host, opts Options) (*Mesh, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start mesh: %w", err)
	}
	if opts.Deliver == nil {
		return nil, errors.New("start mesh: Options.Deliver is nil")
	}
	if opts.Network == "" {
		opts.Network = DefaultNetwork
	}
	if opts.MaxMessage <= 0 {
		opts.MaxMessage = message.MaxData
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	opts.Program = cmp.Or(opts.Program, new(supervise.Program))
	if opts.Open == nil {
		opts.Open = func(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error) {
			return h.NewStream(ctx, p, proto)
		}
	}
	m := &Mesh{
		self:       h.ID(),
		prefix:     opts.Network + "/",
		opts:       opts,
		log:        opts.Logger,
		topics:     make(map[string]*topic),
		validators: make(map[string]*validator),
		numbers:    make(map[string]message.ID),
		rounds:     make(chan struct{}, mostRounds),
	}
	m.filter = newFilter(m)
	m.host = newTrackedHost(h, m.filter.forget)
	if opts.RelayTopics > 0 {
		m.carrier = newCarrier(m)
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	var err error
	if m.replay, err = m.newReplay(); err == nil {
		m.ps, err = m.newGossip()
	}
	if err != nil {
		m.cancel()
		if m.replay != nil {
			err = errors.Join(err, m.replay.Close())
		}
		return nil, fmt.Errorf("start mesh: %w", err)
	}
	m.run.Go(m.sweep)
	m.run.Go(m.reach)
	if m.carrier != nil {
		m.run.Go(m.carrier.run)
	}
	return m, nil
}

// Close leaves all topics, ends GossipSub and waits for what the mesh runs, the
// calls of Deliver and validators included, for supervise.CloseGrace at most; it
// must not be called from those.
// Goroutines of GossipSub that only have to notice end by themselves at once.
// Histories are stored; the error says what could not be. Later and concurrent
// calls wait for the first and return the same.
func (m *Mesh) Close() error {
	m.closeOnce.Do(func() {
		m.opts.Program.Closing()
		m.calls.End()
		m.cancel()
		m.host.close()
		asked := m.opts.Program.Await(func() {
			_ = m.replay.Close()
			m.calls.Wait()
		})
		m.mu.Lock()
		topics := slices.Collect(maps.Values(m.topics))
		clear(m.topics)
		m.mu.Unlock()
		ended := m.opts.Program.Await(func() {
			for _, t := range topics {
				t.close()
			}
			m.run.Wait()
		})
		if !asked || !ended {
			m.log.Error("closed without a validator that does not return")
		}
		for _, t := range topics {
			m.closeErr = errors.Join(m.closeErr, t.history.close())
		}
	})
	return m.closeErr
}

// typeOf is the type whose topic this is, or "" if it is none of ours.
func (m *Mesh) typeOf(topic string) string {
	typ, ok := strings.CutPrefix(topic, m.prefix)
	if !ok || message.CheckType(typ) != nil {
		return ""
	}
	return typ
}

// lookup is the topic of a type, or nil where the node has no part in it.
func (m *Mesh) lookup(typ string) *topic {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.topics[typ]
}

// lastEpoch is the last that was given in this process.
var lastEpoch atomic.Uint64

// newEpoch is the time in microseconds since 1970, or more where that was given
// before.
func newEpoch() uint64 {
	for {
		last := lastEpoch.Load()
		epoch := max(uint64(max(time.Now().UnixMicro(), 1)), last+1)
		if lastEpoch.CompareAndSwap(last, epoch) {
			return epoch
		}
	}
}
