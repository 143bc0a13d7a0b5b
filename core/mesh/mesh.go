// Package mesh broadcasts to the whole network: a broadcast of a type reaches every node
// that is subscribed to the type, whether or not the two nodes are connected.
//
// It uses GossipSub (https://github.com/libp2p/specs/tree/master/pubsub/gossipsub) with
// the topics "<network>/<type>". The data of a GossipSub message is the envelope of
// package message without its type. The publisher signs each message. The package adds
// what GossipSub lacks:
//
//   - If a publisher has no subscribers, Broadcast returns ErrNoPeers, or waits
//     (WaitForPeer).
//   - The messages of one publisher and type are numbered without gaps. A receiver
//     therefore knows what it missed, and requests it from its peers. Messages that were
//     sent while a subscription was spreading arrive in the same way.
//   - Every queue is bounded, and every drop is counted by reason: see Stats.
//   - A node that many peers can reach, such as a relay, carries their topics for them
//     (Options.RelayTopics).
//
// This is how a broadcast travels. The publisher gives it the next number of the type
// (numbers), and GossipSub signs it. At each node, GossipSub checks the signature, one
// goroutine decodes the message and calls the validator of the type, and the history of
// the topic decides whether it is new. A new message is passed to Options.Deliver, in
// the order of arrival and without a queue in between, and GossipSub forwards it. If the
// history finds a gap, the node requests the missing messages from peers (history). They
// arrive through package replay, and pass the same validator and the same check.
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

// DefaultNetwork is the name of the network if Options.Network is empty.
const DefaultNetwork = "tombolo"

// ErrClosed is returned by the methods of a Mesh after Close.
var ErrClosed = errors.New("mesh is closed")

// Options configure a Mesh.
type Options struct {
	// Network separates meshes that share connections. If empty,
	// DefaultNetwork.
	Network string

	// Deliver receives the messages of the subscribed types, including the node's own.
	// Several goroutines call it. It must never block, and must not change the message,
	// which is shared.
	Deliver func(*message.Message)

	// Open opens a stream to a connected peer, to request missed messages. If nil, the
	// NewStream of the host.
	Open func(context.Context, peer.ID, protocol.ID) (network.Stream, error)

	// MaxMessage is the maximum size of the data of a broadcast, in bytes. It must be the
	// same in the whole network. If zero, message.MaxData.
	MaxMessage int

	// RelayTopics is the number of types that this node carries for subscribed peers, in
	// addition to its own. If zero, it carries none.
	RelayTopics int

	// Pace limits what each peer broadcasts through this node. If nil, there is no limit.
	Pace *Pace

	// KeepHistories makes the node keep the broadcasts of every type that it carries for
	// peers. The limits apply to each type. If nil, it keeps only the types given to
	// KeepHistory.
	KeepHistories *replay.Limits

	// Store keeps histories across restarts. If nil, histories are in memory only. The mesh
	// does not close it.
	Store datastore.Batching

	// Logger receives the log. If nil, nothing is logged.
	Logger *slog.Logger

	// Program tracks running validators, and bounds how long Close waits for them. The
	// parts of a node share one. If nil, the mesh has its own.
	Program *supervise.Program
}

// Mesh is the part of a node that broadcasts. All methods may be called concurrently.
type Mesh struct {
	host    *trackedHost
	self    peer.ID
	prefix  string // of the network's topics
	opts    Options
	log     *slog.Logger
	ps      *pubsub.PubSub
	router  *pubsub.GossipSubRouter // of ps; only its loop may use it
	filter  *filter
	replay  *replay.Service
	stats   counters
	marks   marks
	paces   *paces
	meshed  meshed
	streams streams
	bursts  bursts
	rounds  chan struct{} // holds a token for each round of requests under way

	ctx    context.Context // ends all that runs
	cancel context.CancelFunc
	run    sync.WaitGroup  // goroutines of the mesh
	calls  supervise.Calls // of Deliver and validators, and broadcasts

	mu         sync.Mutex // never held while GossipSub is called
	topics     map[string]*topic
	validators map[string]*validator
	numbers    map[string]message.ID // the last numbers of topics that are not in use

	carrier *carrier // nil if topics are not carried

	closeOnce sync.Once
	closeErr  error
}

// New starts a mesh on h. ctx bounds the start only. The peerstore of the host must
// contain the private key of its own ID, and the host must outlive the mesh.
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
	m.paces = newPaces(opts.Pace)
	m.host = newTrackedHost(h, m.filter.forget)
	m.host.waits = m.paces.wait
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

// Close leaves all topics, stops GossipSub, stores histories, and waits for the
// goroutines of the mesh, for at most supervise.CloseGrace. That includes calls of
// Deliver and of validators, which must not call Close. A few goroutines of GossipSub end
// shortly afterwards.
//
// The error names the histories that could not be stored. Later and concurrent calls
// wait for the first one and return the same error.
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

// typeOf returns the type that a topic belongs to, or "" if it is not one of ours.
func (m *Mesh) typeOf(topic string) string {
	typ, ok := strings.CutPrefix(topic, m.prefix)
	if !ok || message.CheckType(typ) != nil {
		return ""
	}
	return typ
}

// lookup returns the topic of a type, or nil if the node does not use it.
func (m *Mesh) lookup(typ string) *topic {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.topics[typ]
}

// lastEpoch is the last epoch assigned in this process.
var lastEpoch atomic.Uint64

// newEpoch returns the time in microseconds since 1970, or more if that epoch was
// assigned before.
func newEpoch() uint64 {
	for {
		last := lastEpoch.Load()
		epoch := max(uint64(max(time.Now().UnixMicro(), 1)), last+1)
		if lastEpoch.CompareAndSwap(last, epoch) {
			return epoch
		}
	}
}
