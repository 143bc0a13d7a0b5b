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

// Protocol is the protocol by which a peer catches up; see replay.proto.
const Protocol protocol.ID = "/tombolo/replay/1.0.0"

// Defaults of Options.
const (
	DefaultMaxEntry       = message.DefaultMaxFrame + 1<<10 // the envelope, and what GossipSub puts around it
	DefaultAnswerMessages = 4096
	DefaultAnswerBytes    = 4 << 20
	DefaultAnswers        = 16
	DefaultAnswersPerPeer = 2
	DefaultAsksPerSecond  = 4
	DefaultAskBurst       = 16
	DefaultTimeout        = time.Minute
)

const (
	// maxAsk bounds an Ask, in bytes. One that would be larger asks for less; see
	// wireAsk.fit.
	maxAsk = 512 << 10
	// maxKnown bounds what comes after the entries of an answer, in bytes. All
	// that maxPublishers, MaxEpochs and maxCount allow fits in it.
	maxKnown = 4 << 20
	// askTimeout is how long a peer that opens a stream may take to ask.
	askTimeout = 10 * time.Second
	// ownBuffer is what an answer collects before it writes, in bytes.
	ownBuffer = 16 << 10
)

var (
	// ErrBadAnswer is wrapped where a peer answered what no honest peer does: it
	// is named, and what was good before it is kept.
	ErrBadAnswer = errors.New("bad answer")
	// ErrBusy is wrapped where a peer answers enough others already, or was
	// asked too often: ask again later, or another.
	ErrBusy = errors.New("peer is busy")
	// ErrNoHistory is wrapped where a peer, or this one, keeps no history of a
	// type.
	ErrNoHistory = errors.New("no history of that type")
)

// Options configure a Service. Histories and Topic are needed.
type Options struct {
	// Histories finds the history of a type; nil if none is kept. It is called for each
	// request, with types that remote peers choose.
	Histories func(typ string) *History
	// Topic is the GossipSub topic of a type.
	Topic func(typ string) string
	// Open opens a stream to a peer. If nil, the host does, to a peer that it
	// is connected to or has addresses of.
	Open func(context.Context, peer.ID, protocol.ID) (network.Stream, error)

	// MaxEntry bounds Entry.Signed, in bytes: larger ones are neither sent nor
	// taken. If zero, DefaultMaxEntry.
	MaxEntry int
	// AnswerMessages and AnswerBytes bound one answer: who lacks more asks
	// again. If zero, DefaultAnswerMessages and DefaultAnswerBytes.
	AnswerMessages int
	AnswerBytes    int
	// Answers and AnswersPerPeer bound the answers given at once; beyond, peers
	// are told to come again. If zero, DefaultAnswers and
	// DefaultAnswersPerPeer.
	Answers        int
	AnswersPerPeer int
	// AsksPerSecond and AskBurst bound how often one peer is answered. If zero,
	// DefaultAsksPerSecond and DefaultAskBurst.
	AsksPerSecond float64
	AskBurst      int
	// Timeout bounds one answer, from either side: who reads or writes so
	// slowly is cut off. If zero, DefaultTimeout.
	Timeout time.Duration

	// Logger receives what the service has to say. If nil, nothing is logged.
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

// Service answers peers that were away, and asks others on behalf of this one.
// All methods may be called concurrently.
type Service struct {
	host  host.Host
	opts  Options
	guard *guard
	stats counters

	mu      sync.Mutex
	last    int
	breaks  map[int]func() // break off what is under way
	closed  bool
	running sync.WaitGroup // of what is under way
}

type counters struct {
	asked, answered, busy, bad, failed, sent, sentBytes atomic.Uint64
	synced, lied, received, repeated, unwanted, broken  atomic.Uint64
}

// Stats counts what a Service did since it was made.
type Stats struct {
	Asked     uint64 // streams that peers opened
	Answered  uint64 // to the end
	Busy      uint64 // turned away: too many at once, or too often
	BadAsks   uint64 // of which no sense could be made
	Failed    uint64 // answers that broke off: the asker was gone or stalled
	Sent      uint64 // entries
	SentBytes uint64

	Synced     uint64 // answers taken to the end
	BadAnswers uint64 // refused, their peer named
	Broken     uint64 // that broke off for another reason, busy peers included
	Received   uint64 // entries that were new
	Repeated   uint64 // entries that had come another way meanwhile
	Refused    uint64 // entries, by Ask.Check
}

// New makes a service and answers on h until Close.
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

// enter counts in what Close waits for, after it called off. leave must be
// called.
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

// Stats is a snapshot.
func (s *Service) Stats() Stats {
	c := &s.stats
	return Stats{
		Asked: c.asked.Load(), Answered: c.answered.Load(), Busy: c.busy.Load(), BadAsks: c.bad.Load(), Failed: c.failed.Load(),
		Sent: c.sent.Load(), SentBytes: c.sentBytes.Load(),
		Synced: c.synced.Load(), BadAnswers: c.lied.Load(), Broken: c.broken.Load(),
		Received: c.received.Load(), Repeated: c.repeated.Load(), Refused: c.unwanted.Load(),
	}
}

// Close stops answering, breaks off what is under way and waits for it; Syncs
// then return ErrClosed. The histories are the caller's to close. It may be
// called again.
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

// history finds that of a type, which a remote peer may have chosen.
func (s *Service) history(typ string) (*History, error) {
	if err := message.CheckType(typ); err != nil {
		return nil, err
	}
	if h := s.opts.Histories(typ); h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("%w: %q", ErrNoHistory, typ)
}
