package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/message"
)

// Protocol is the protocol with which a peer catches up; see replay.proto.
const Protocol protocol.ID = "/tombolo/replay/1.0.0"

// Defaults of Options.
const (
	DefaultMaxEntry       = message.DefaultMaxFrame + 1<<10 // the envelope, and what GossipSub adds to it
	DefaultAnswerMessages = 4096
	DefaultAnswerBytes    = 4 << 20
	DefaultAnswers        = 16
	DefaultAnswersPerPeer = 2
	DefaultAsksPerSecond  = 4
	DefaultAskBurst       = 16
	DefaultTimeout        = time.Minute
)

const (
	// maxAsk bounds an Ask, in bytes. If it would be larger, the node asks for less; see
	// wireAsk.fit.
	maxAsk = 512 << 10
	// maxKnown bounds what follows the entries of an answer, in bytes. Everything that
	// maxPublishers, MaxEpochs and maxCount allow fits in it.
	maxKnown = 4 << 20
	// askTimeout is how long a peer that opens a stream may take to send its request.
	askTimeout = 10 * time.Second
	// ownBuffer is how much of an answer is collected before it is written, in bytes.
	ownBuffer = 16 << 10
)

var (
	// ErrBadAnswer is wrapped if a peer sent an answer that no honest peer sends. The
	// error names the peer, and what was valid before it is kept.
	ErrBadAnswer = errors.New("bad answer")
	// ErrBusy is wrapped if a peer answers too many others already, or was asked too
	// often: ask later, or ask another peer.
	ErrBusy = errors.New("peer is busy")
	// ErrNoHistory is wrapped if a peer, or this node, keeps no history of a type.
	ErrNoHistory = errors.New("no history of that type")
)

// Options configure a Service. Histories and Topic are required.
type Options struct {
	// Histories returns the history of a type, or nil if none is kept. It is called for
	// each request, with types that remote peers choose.
	Histories func(typ string) *History
	// Topic returns the GossipSub topic of a type.
	Topic func(typ string) string
	// Open opens a stream to a peer. If nil, the host does; it must be connected to the
	// peer or know its addresses.
	Open func(context.Context, peer.ID, protocol.ID) (network.Stream, error)

	// MaxEntry bounds Entry.Signed, in bytes: larger entries are neither sent nor
	// accepted. If zero, DefaultMaxEntry.
	MaxEntry int
	// AnswerMessages and AnswerBytes bound one answer: a peer that lacks more asks again.
	// If zero, DefaultAnswerMessages and DefaultAnswerBytes.
	AnswerMessages int
	AnswerBytes    int
	// Answers and AnswersPerPeer bound the answers that are given concurrently. Further
	// peers are asked to try again. If zero, DefaultAnswers and DefaultAnswersPerPeer.
	Answers        int
	AnswersPerPeer int
	// AsksPerSecond and AskBurst bound how often one peer is answered. If zero,
	// DefaultAsksPerSecond and DefaultAskBurst.
	AsksPerSecond float64
	AskBurst      int
	// Timeout bounds one answer, on both sides: a peer that reads or writes more slowly
	// is cut off. If zero, DefaultTimeout.
	Timeout time.Duration

	// Logger receives the log. If nil, nothing is logged.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	def := func(v *int, to int) {
		if *v <= 0 {
			*v = to
		}
	}
	def(&o.MaxEntry, DefaultMaxEntry)
	def(&o.AnswerMessages, DefaultAnswerMessages)
	def(&o.AnswerBytes, DefaultAnswerBytes)
	def(&o.Answers, DefaultAnswers)
	def(&o.AnswersPerPeer, DefaultAnswersPerPeer)
	def(&o.AskBurst, DefaultAskBurst)
	if o.AsksPerSecond <= 0 {
		o.AsksPerSecond = DefaultAsksPerSecond
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Service answers the requests of peers that were offline, and sends requests of this
// node. All methods may be called concurrently.
type Service struct {
	host  host.Host
	opts  Options
	guard *guard
	stats counters

	mu      sync.Mutex
	last    int
	breaks  map[int]func() // break off the running operations
	closed  bool
	running sync.WaitGroup // running operations
}

type counters struct {
	asked, answered, busy, bad, failed, sent, sentBytes atomic.Uint64
	synced, lied, received, repeated, unwanted, broken  atomic.Uint64
}

// Stats counts the requests of a Service since it was made.
type Stats struct {
	Asked     uint64 // streams that peers opened
	Answered  uint64 // requests answered to the end
	Busy      uint64 // requests turned away: too many at once, or too often
	BadAsks   uint64 // malformed requests
	Failed    uint64 // answers that broke off: the asker had left or stalled
	Sent      uint64 // entries sent
	SentBytes uint64

	Synced     uint64 // calls of Sync that succeeded
	BadAnswers uint64 // calls of Sync that ended with ErrBadAnswer
	Broken     uint64 // calls of Sync that failed for another reason, such as busy peers
	Received   uint64 // entries that were new
	Repeated   uint64 // entries that had meanwhile come in another way
	Refused    uint64 // entries refused by Ask.Check
}

// New makes a service, and answers requests on h until Close.
func New(h host.Host, opts Options) (*Service, error) {
	if opts.Histories == nil || opts.Topic == nil {
		return nil, errors.New("replay needs to know the histories and the topic of a type")
	}
	opts = opts.withDefaults()
	if opts.Open == nil {
		opts.Open = func(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error) {
			return h.NewStream(network.WithAllowLimitedConn(ctx, "tombolo"), p, proto)
		}
	}
	s := &Service{
		host:   h,
		opts:   opts,
		guard:  newGuard(opts),
		breaks: make(map[int]func()),
	}
	h.SetStreamHandler(Protocol, s.handle)
	return s, nil
}

// enter registers an operation that Close waits for after it has called off. leave must
// be called.
func (s *Service) enter(off func()) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	s.last++
	number := s.last
	s.breaks[number] = off
	s.running.Add(1)
	return func() {
		s.mu.Lock()
		delete(s.breaks, number)
		s.mu.Unlock()
		s.running.Done()
	}, nil
}

// Stats returns a snapshot.
func (s *Service) Stats() Stats {
	c := &s.stats
	return Stats{
		Asked: c.asked.Load(), Answered: c.answered.Load(), Busy: c.busy.Load(), BadAsks: c.bad.Load(), Failed: c.failed.Load(),
		Sent: c.sent.Load(), SentBytes: c.sentBytes.Load(),
		Synced: c.synced.Load(), BadAnswers: c.lied.Load(), Broken: c.broken.Load(),
		Received: c.received.Load(), Repeated: c.repeated.Load(), Refused: c.unwanted.Load(),
	}
}

// Close stops answering, breaks off running operations and waits for them; Syncs then
// return ErrClosed. It does not close the histories. It may be called more than once.
func (s *Service) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.host.RemoveStreamHandler(Protocol)
	}
	for _, off := range s.breaks {
		off()
	}
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

func (s *Service) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// history returns the history of a type, which a remote peer may have chosen.
func (s *Service) history(typ string) (*History, error) {
	if err := message.CheckType(typ); err != nil {
		return nil, err
	}
	if h := s.opts.Histories(typ); h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("%w: %q", ErrNoHistory, typ)
}
