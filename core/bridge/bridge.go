// Package bridge joins streams of peers to local ones: a service of this machine is
// offered to peers under a protocol name (a [Listener]), and a local address forwards to
// the service of a peer (a [Forward]).
//
// A stream carries the service's bytes and nothing else, under names that begin with
// /x/, as Kubo's `ipfs p2p` does: Kubo can be the other end. Peers exchange everything
// else, such as the list of services and the reason why a stream was refused, over a
// separate protocol (see [Protocol]).
//
// A stream that a peer opens takes this path: host -> Listener, which checks access and
// limits -> Target -> splice. A stream that is opened here takes this one: Acceptor ->
// Forward -> the node -> splice; or Dial, for a Go program. Every stream is a [Conn],
// which counts its bytes and is in the registry while it is open.
//
// Two small interfaces describe the local ends: inbound streams go to a [Target];
// outbound streams come from an [Acceptor]. Each platform provides its own.
package bridge

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/internal/feed"
	"github.com/tombolo-net/tombolo/core/supervise"
)

const (
	// DefaultOpenTimeout bounds how long a forward tries to reach its peer for one
	// connection. It is Kubo's value.
	DefaultOpenTimeout = 30 * time.Second
	// DefaultTargetTimeout bounds how long connecting to a target may take.
	DefaultTargetTimeout = 10 * time.Second
	// DefaultDrain is how long a half-closed spliced stream may be idle.
	DefaultDrain = 5 * time.Minute
	// History is the number of ended streams that are remembered.
	History = 256
)

// ErrClosed is returned once the bridge is closed.
var ErrClosed = errors.New("the bridge is closed")

// Timeouts bound the waits of a bridge. The zero value is usable.
type Timeouts struct {
	Open   time.Duration // if zero, DefaultOpenTimeout
	Target time.Duration // if zero, DefaultTargetTimeout
	Drain  time.Duration // if zero, DefaultDrain
	// Idle ends a spliced stream that has been idle for this long. If zero, a stream may
	// be idle forever.
	Idle time.Duration
}

// Options configure a bridge.
type Options struct {
	Host host.Host
	// Open opens a stream to a peer, connecting first if needed.
	Open func(context.Context, peer.ID, protocol.ID) (network.Stream, error)
	// Handle registers a handler for a protocol until remove is called. It returns an
	// error if the protocol has a handler already.
	Handle func(protocol.ID, network.StreamHandler) (remove func(), err error)
	// Describe returns the transport of a connection and, if the connection passes
	// through a relay, the relay.
	Describe func(network.Conn) (transport string, relay peer.ID)

	Timeouts Timeouts
	Logger   *slog.Logger // if nil, nothing is logged

	// Program tracks the Targets while they run, and bounds how long Close waits
	// for them. The parts of a node share one. If nil, this part has its own.
	Program *supervise.Program
}

// Bridge keeps the listeners, the forwards and the open streams of a node. All methods
// may be called concurrently.
type Bridge struct {
	opts       Options
	log        *slog.Logger
	supervisor *supervise.Supervisor
	changes    feed.Feed[Change]
	counts     counts
	notes      notes

	ctx   context.Context // cancelled by Close
	stop  context.CancelFunc
	tasks sync.WaitGroup // handlers of streams, accept loops

	mu         sync.Mutex
	closed     bool
	nextEntry  uint64 // the last ID given to a listener or a forward
	nextStream uint64
	listeners  map[protocol.ID]*Listener
	forwards   map[uint64]*Forward
	streams    map[uint64]*Conn
	perPeer    map[peer.ID]int // open streams
	ended      []StreamInfo    // a ring
	endedAt    int             // the oldest entry, once the ring is full
	asked      map[peer.ID]int // questions being answered
	unhandle   func()
}

// New makes a bridge and starts answering the questions of other bridges.
func New(opts Options) (*Bridge, error) {
	t := &opts.Timeouts
	t.Open = cmp.Or(t.Open, DefaultOpenTimeout)
	t.Target = cmp.Or(t.Target, DefaultTargetTimeout)
	t.Drain = cmp.Or(t.Drain, DefaultDrain)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	opts.Program = cmp.Or(opts.Program, new(supervise.Program))
	b := &Bridge{
		opts:       opts,
		log:        opts.Logger,
		supervisor: supervise.New(supervise.Options{Logger: opts.Logger, Limit: -1}),
		listeners:  make(map[protocol.ID]*Listener),
		forwards:   make(map[uint64]*Forward),
		streams:    make(map[uint64]*Conn),
		perPeer:    make(map[peer.ID]int),
		asked:      make(map[peer.ID]int),
	}
	b.ctx, b.stop = context.WithCancel(context.Background())
	var err error
	if b.unhandle, err = opts.Handle(Protocol, b.answer); err != nil {
		b.stop()
		return nil, err
	}
	return b, nil
}

// Close closes every listener and forward, resets every stream, and waits for all
// goroutines, including those of Func targets. It waits for supervise.CloseGrace at most;
// then it logs that a function has not returned, and leaves it running.
func (b *Bridge) Close() error {
	b.opts.Program.Closing()
	b.mu.Lock()
	b.closed = true
	listeners := slices.Collect(maps.Values(b.listeners))
	forwards := slices.Collect(maps.Values(b.forwards))
	streams := slices.Collect(maps.Values(b.streams))
	b.mu.Unlock()
	b.unhandle()
	var errs []error
	for _, l := range listeners {
		errs = append(errs, l.Close())
	}
	for _, f := range forwards {
		errs = append(errs, f.Close())
	}
	for _, c := range streams {
		c.abort(&Error{Reason: Shutdown})
	}
	b.stop()
	if !b.opts.Program.Await(b.tasks.Wait) {
		b.log.Error("closed without a function of a listener that does not return")
	}
	b.changes.Close()
	return errors.Join(errs...)
}

// enter registers a task that Close waits for. It returns false if the bridge is closed.
func (b *Bridge) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.tasks.Add(1)
	return true
}

// Listeners lists the listeners, ordered by protocol.
func (b *Bridge) Listeners() []ListenerInfo {
	return list(b, b.listeners, func(x, y ListenerInfo) int { return cmp.Compare(x.Protocol, y.Protocol) })
}

// Forwards lists the forwards, oldest first.
func (b *Bridge) Forwards() []ForwardInfo {
	return list(b, b.forwards, func(x, y ForwardInfo) int { return cmp.Compare(x.ID, y.ID) })
}

// Streams lists the open streams, oldest first.
func (b *Bridge) Streams() []StreamInfo {
	return list(b, b.streams, func(x, y StreamInfo) int { return cmp.Compare(x.ID, y.ID) })
}

// list takes a snapshot of one of b's maps.
func list[K comparable, E interface{ Info() I }, I any](b *Bridge, from map[K]E, order func(I, I) int) []I {
	b.mu.Lock()
	all := slices.Collect(maps.Values(from))
	b.mu.Unlock()
	infos := make([]I, len(all))
	for i, e := range all {
		infos[i] = e.Info()
	}
	slices.SortFunc(infos, order)
	return infos
}

// Listener returns the listener of a protocol.
func (b *Bridge) Listener(proto protocol.ID) (*Listener, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.listeners[proto]
	return l, ok
}

// Ended lists the last streams that ended, at most History, in the order in which they
// ended.
func (b *Bridge) Ended() []StreamInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Concat(b.ended[b.endedAt:], b.ended[:b.endedAt])
}

// ErrNoStream is returned by CloseStream for an ID that no open stream has.
var ErrNoStream = errors.New("no live stream has that id")

// CloseStream resets an open stream at both ends.
func (b *Bridge) CloseStream(id uint64) error {
	b.mu.Lock()
	c := b.streams[id]
	b.mu.Unlock()
	if c == nil {
		return ErrNoStream
	}
	c.abort(&Error{Reason: ClosedByHand})
	return nil
}

// Action is the kind of a Change.
type Action string

// The actions. A stream has no Changed: the bytes that it carries are not reported as
// changes.
const (
	Added   Action = "added"
	Changed Action = "changed"
	Removed Action = "removed"
)

// Change is a change of the registries: of a listener, a forward or a stream. If Missed
// is not 0, the watcher was too slow and lost that many changes, and all other fields are
// empty.
type Change struct {
	Action   Action        `json:"action,omitempty"`
	Listener *ListenerInfo `json:"listener,omitempty"`
	Forward  *ForwardInfo  `json:"forward,omitempty"`
	Stream   *StreamInfo   `json:"stream,omitempty"`
	Missed   int           `json:"missed,omitempty"`
}

// Watch yields the changes of the registries, beginning when the iteration starts, until
// ctx ends or the bridge is closed.
func (b *Bridge) Watch(ctx context.Context) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		reader := b.changes.Subscribe()
		defer reader.Close()
		for {
			change, missed, err := reader.Next(ctx)
			if missed > 0 {
				change = Change{Missed: missed}
			}
			if err != nil || !yield(change) {
				return
			}
		}
	}
}

// connTag protects the peers of open streams in the connection manager, as Kubo does.
const (
	connTag    = "stream-fwd"
	connWeight = 20
)

// add puts a stream into the registry.
func (b *Bridge) add(c *Conn) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return ErrClosed
	}
	c.id = b.nextStream
	b.nextStream++
	b.streams[c.id] = c
	b.perPeer[c.peer]++
	if b.perPeer[c.peer] == 1 {
		b.opts.Host.ConnManager().TagPeer(c.peer, connTag, connWeight)
		b.opts.Host.ConnManager().Protect(c.peer, connTag)
	}
	b.counts.opened.Add(1)
	if b.changes.Listened() { // emit before anyone can remove the stream
		info := c.Info()
		b.changes.Emit(Change{Action: Added, Stream: &info})
	}
	b.mu.Unlock()
	return nil
}

// remove moves an ended stream from the registry to the history.
func (b *Bridge) remove(c *Conn) {
	info := c.Info()
	b.counts.end(info)
	b.mu.Lock()
	delete(b.streams, c.id)
	b.perPeer[c.peer]--
	if b.perPeer[c.peer] == 0 {
		delete(b.perPeer, c.peer)
		b.opts.Host.ConnManager().UntagPeer(c.peer, connTag)
		b.opts.Host.ConnManager().Unprotect(c.peer, connTag)
	}
	b.remember(info)
	b.mu.Unlock()
	b.changes.Emit(Change{Action: Removed, Stream: &info})
}

// unopened adds a stream that could not be opened to the history.
func (b *Bridge) unopened(info StreamInfo) {
	b.counts.end(info)
	b.mu.Lock()
	info.ID = b.nextStream
	b.nextStream++
	b.remember(info)
	b.mu.Unlock()
	b.changes.Emit(Change{Action: Removed, Stream: &info})
}

// remember is called with b.mu held.
func (b *Bridge) remember(info StreamInfo) {
	if len(b.ended) < History {
		b.ended = append(b.ended, info)
		return
	}
	b.ended[b.endedAt] = info
	b.endedAt = (b.endedAt + 1) % History
}

// Stats holds the current and total counts of a bridge.
type Stats struct {
	Listeners, Forwards, Streams int

	Opened   uint64            // streams opened, in both directions
	Ended    map[Reason]uint64 // ended streams by reason; the empty reason counts those that ended well
	Sent     uint64            // bytes to peers, of ended streams
	Received uint64            // bytes from peers, of ended streams
}

type counts struct {
	opened, sent, received atomic.Uint64
	mu                     sync.Mutex
	ended                  map[Reason]uint64
}

func (c *counts) end(info StreamInfo) {
	c.sent.Add(uint64(info.Sent))
	c.received.Add(uint64(info.Received))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = make(map[Reason]uint64)
	}
	c.ended[info.Reason.known()]++
}

// Stats returns a snapshot of the counts.
func (b *Bridge) Stats() Stats {
	b.mu.Lock()
	s := Stats{Listeners: len(b.listeners), Forwards: len(b.forwards), Streams: len(b.streams)}
	b.mu.Unlock()
	s.Opened, s.Sent, s.Received = b.counts.opened.Load(), b.counts.sent.Load(), b.counts.received.Load()
	b.counts.mu.Lock()
	defer b.counts.mu.Unlock()
	s.Ended = maps.Clone(b.counts.ended)
	return s
}
