// Package link sends messages to known peers: one long-lived stream per peer, opened on
// first use. Queued messages leave in one write.
//
// A node sends its events and requests on the stream that it opened to a peer, and only
// the answers to those requests come back on it. Two peers that send to each other
// therefore have two streams, and need not agree on one.
//
// Outgoing messages take this path: Send, Post, Request -> a queue of the peer's link ->
// its writer goroutine -> the stream. Incoming messages take this one: a stream -> its
// reader goroutine -> Options.Deliver, in order, or the function that answers a request.
// Answers take this one: that function -> the answers of the stream -> a goroutine that
// writes while there are any -> the link of the asking node, whose reader goroutine
// wakes the caller and never blocks. Answers therefore arrive even while events are held
// back.
package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/core/supervise"
)

// Protocol is the protocol of links: envelopes, each preceded by its length as an
// unsigned varint. The peer that opened the stream writes events, requests and cancels;
// the other one writes the replies and errors that answer them.
const Protocol protocol.ID = "/tombolo/msg/2.0.0"

// Defaults of Options.
const (
	// DefaultQueueMessages bounds each queue of a link: Nebulas' figure.
	DefaultQueueMessages = 2048
	// DefaultQueueBytes bounds each queue of a link, in bytes.
	DefaultQueueBytes = 4 << 20
	// DefaultOpenTimeout bounds connecting and opening a stream.
	DefaultOpenTimeout = 30 * time.Second
	// DefaultStallTimeout bounds the time in which 64 KiB must be written or read.
	DefaultStallTimeout = 30 * time.Second
	// DefaultIdleTimeout is the time after which an unused link is closed.
	DefaultIdleTimeout = 5 * time.Minute
	// DefaultRequestTimeout is the time for a request whose sender gave none.
	DefaultRequestTimeout = 30 * time.Second
	// DefaultPeerRequests bounds the requests of one peer that are answered concurrently.
	DefaultPeerRequests = 64
	// DefaultRequests bounds the requests of all peers that are answered concurrently.
	DefaultRequests = 1024
	// DefaultPending bounds the requests of this node that wait for answers.
	DefaultPending = 8192
)

// Errors of sending. Those about a peer also wrap the error of the transport.
var (
	// ErrClosed is returned after Close, and for the messages that Close found in queues.
	ErrClosed = errors.New("links are closed")
	// ErrQueueFull is returned at once if a queue is full: the peer reads more slowly than
	// this node sends.
	ErrQueueFull = errors.New("queue is full")
	// ErrUnreachable is returned for the messages queued on a link that could not be
	// opened.
	ErrUnreachable = errors.New("peer cannot be reached")
	// ErrLost is returned for messages that were queued, being written or unanswered when
	// the link ended.
	ErrLost = errors.New("link was lost")
	// ErrMayArrive is wrapped if waiting ended while a message was being written: the
	// message may or may not arrive.
	ErrMayArrive = errors.New("message may still arrive")
	// ErrPending is returned by Request if too many requests are waiting already.
	ErrPending = errors.New("too many requests wait for their answers")
)

// Options configure Links. Open and Deliver are required; all other fields may be zero.
type Options struct {
	// Open connects to a peer and opens a stream, within ctx.
	Open func(context.Context, peer.ID, protocol.ID) (network.Stream, error)

	// Deliver receives each event, in the order of its sender, in the goroutine that
	// reads the sender's stream. While it blocks, nothing more is read from that sender.
	// It must return when ctx ends, which Close causes. It is called concurrently for
	// different streams.
	Deliver func(context.Context, *message.Message)

	// Logger receives the log. If nil, nothing is logged.
	Logger *slog.Logger

	// MaxData bounds the data of a message in both directions, in bytes. If zero,
	// message.MaxData.
	MaxData int

	// QueueMessages and QueueBytes bound each of the three queues of a link. If zero,
	// DefaultQueueMessages and DefaultQueueBytes. An empty queue takes a message of any
	// size. QueueBytes also bounds the answers that wait on an inbound stream: if there
	// are more when another request must be refused, the stream is reset.
	QueueMessages int
	QueueBytes    int

	// OpenTimeout bounds connecting and opening a stream. If zero, DefaultOpenTimeout.
	OpenTimeout time.Duration

	// StallTimeout is how long 64 KiB, or the rest of a message, may take to be written,
	// or to be read once a frame has begun. After that, the stream is reset. This applies
	// to both ends of a stream, so a peer that does not read its answers loses the
	// stream. If zero, DefaultStallTimeout. It may take a quarter longer.
	StallTimeout time.Duration

	// IdleTimeout is how long a link is kept without messages and without unanswered
	// requests. If zero, DefaultIdleTimeout. It may take a quarter longer.
	IdleTimeout time.Duration

	// RequestTimeout is the time that a handler has for a request whose sender set no
	// time. If zero, DefaultRequestTimeout.
	RequestTimeout time.Duration

	// HandlerLimit is how long the handler of a request may run before the log and Stats
	// name it, whatever the time of the request. If zero, supervise.DefaultLimit; if
	// negative, there is no limit.
	HandlerLimit time.Duration

	// Program tracks the program's functions while they run, and bounds how long Close waits
	// for them. The parts of a node share one. If nil, this part has its own.
	Program *supervise.Program

	// PeerRequests and Requests bound the requests that are answered concurrently, of one
	// peer and of all peers. A request counts until its answer is written. If zero,
	// DefaultPeerRequests and DefaultRequests.
	PeerRequests int
	Requests     int

	// Pending bounds the requests of this node that wait for answers. If zero,
	// DefaultPending.
	Pending int
}

func (o *Options) setDefaults() error {
	if o.Open == nil || o.Deliver == nil {
		return errors.New("the options Open and Deliver must be set")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, n := range []struct {
		name     string
		value    *int
		standard int
	}{
		{"MaxData", &o.MaxData, message.MaxData},
		{"QueueMessages", &o.QueueMessages, DefaultQueueMessages},
		{"QueueBytes", &o.QueueBytes, DefaultQueueBytes},
		{"PeerRequests", &o.PeerRequests, DefaultPeerRequests},
		{"Requests", &o.Requests, DefaultRequests},
		{"Pending", &o.Pending, DefaultPending},
	} {
		if *n.value < 0 {
			return fmt.Errorf("%s is negative: %d", n.name, *n.value)
		}
		if *n.value == 0 {
			*n.value = n.standard
		}
	}
	for _, d := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"OpenTimeout", &o.OpenTimeout, DefaultOpenTimeout},
		{"StallTimeout", &o.StallTimeout, DefaultStallTimeout},
		{"IdleTimeout", &o.IdleTimeout, DefaultIdleTimeout},
		{"RequestTimeout", &o.RequestTimeout, DefaultRequestTimeout},
	} {
		if *d.value < 0 {
			return fmt.Errorf("%s is negative: %s", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	return nil
}

// Links are the links of one host. All methods may be called concurrently.
type Links struct {
	host       host.Host
	opts       Options
	log        *slog.Logger
	seq        atomic.Uint64 // of the last ID assigned
	count      counters
	supervisor *supervise.Supervisor
	program    *supervise.Program
	notif      *network.NotifyBundle
	stop       context.CancelFunc // ends deliveries, handlers and watchStalls

	mu         sync.RWMutex
	closed     bool
	peers      map[peer.ID]*remote
	offenders  offenders
	responders map[string]*responder
	active     int // requests of all peers that count as being answered

	goroutines sync.WaitGroup // writers, readers and watchStalls
	handlers   sync.WaitGroup
	closeOnce  sync.Once
}

// remote is what the node keeps for a peer, guarded by Links.mu. It is removed when all
// of it is empty.
type remote struct {
	out    *outgoing
	left   map[*outgoing]struct{} // links that have moved and have not ended yet: see move
	moving bool                   // a stream is being opened for out to move to
	in     map[*incoming]struct{}
	active int // requests that count as being answered
}

// outs returns the links to the peer.
func (r *remote) outs() []*outgoing {
	outs := slices.Collect(maps.Keys(r.left))
	if r.out != nil {
		outs = append(outs, r.out)
	}
	return outs
}

// New registers the protocol on h and returns its links, none of which is open yet.
func New(h host.Host, opts Options) (*Links, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &Links{
		host:       h,
		opts:       opts,
		log:        opts.Logger,
		supervisor: supervise.New(supervise.Options{Logger: opts.Logger, Limit: opts.HandlerLimit}),
		program:    cmp.Or(opts.Program, new(supervise.Program)),
		stop:       stop,
		peers:      make(map[peer.ID]*remote),
		offenders:  make(offenders),
		responders: make(map[string]*responder),
	}
	// The clock of a page may be coarse. The random part distinguishes two starts within
	// one of its ticks.
	l.seq.Store(uint64(time.Now().UnixNano()) + rand.Uint64N(1<<20))
	l.notif = &network.NotifyBundle{
		ConnectedF:    func(_ network.Network, c network.Conn) { l.move(ctx, c.RemotePeer()) },
		DisconnectedF: func(_ network.Network, c network.Conn) { l.disconnected(c) },
	}
	h.Network().Notify(l.notif)
	h.SetStreamHandler(Protocol, func(s network.Stream) { l.accept(ctx, s) })
	l.goroutines.Go(func() { l.watchStalls(ctx) })
	return l, nil
}

// Close ends all links and stops handling the protocol. Queued messages and unanswered
// requests fail with ErrClosed; messages that were written are not taken back. It
// cancels the contexts of running request handlers, and waits for them and for all
// goroutines of the links, for at most supervise.CloseGrace; it logs the names of those
// that have not returned by then. Close may be called more than once.
func (l *Links) Close() error {
	l.closeOnce.Do(func() {
		l.program.Closing()
		l.host.RemoveStreamHandler(Protocol)
		l.host.Network().StopNotify(l.notif)
		l.mu.Lock()
		l.closed = true
		var outs []*outgoing
		var ins []*incoming
		for _, r := range l.peers {
			outs = append(outs, r.outs()...)
			ins = slices.AppendSeq(ins, maps.Keys(r.in))
		}
		l.mu.Unlock()
		l.stop()
		for _, o := range outs {
			o.end(ErrClosed)
		}
		for _, in := range ins {
			in.end(ErrClosed)
		}
		l.wait()
	})
	return nil
}

// remote returns the entry of p; the first time, it makes an empty one. l.mu is held.
func (l *Links) remote(p peer.ID) *remote {
	r := l.peers[p]
	if r == nil {
		r = &remote{left: make(map[*outgoing]struct{}), in: make(map[*incoming]struct{})}
		l.peers[p] = r
	}
	return r
}

// tidy removes the entry of a peer if it is empty. l.mu is held.
func (l *Links) tidy(p peer.ID) {
	if r := l.peers[p]; r != nil && r.out == nil && len(r.left) == 0 && !r.moving && len(r.in) == 0 && r.active == 0 {
		delete(l.peers, p)
	}
}

// disconnected ends the inbound streams of a closed connection, and the links to its peer
// if that was the last connection. A link that is being opened stays, because it is about
// to have another connection.
func (l *Links) disconnected(c network.Conn) {
	p := c.RemotePeer()
	why := fmt.Errorf("%w: %s disconnected", ErrLost, p)
	var outs []*outgoing
	var ins []*incoming
	l.mu.RLock()
	if r := l.peers[p]; r != nil {
		outs = r.outs()
		ins = slices.Collect(maps.Keys(r.in))
	}
	l.mu.RUnlock()
	for _, in := range ins {
		if in.reads.stream.Conn() == c { // its reader may be blocked, and not notice
			in.end(why)
		}
	}
	last := len(l.host.Network().ConnsToPeer(p)) == 0
	for _, out := range outs {
		if last && out.isOpen() {
			out.end(why)
		}
	}
}
