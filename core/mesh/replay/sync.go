package replay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// Defaults of Ask.
const (
	DefaultAskMessages = 1 << 16
	DefaultAskBytes    = 64 << 20
)

// Ask is a request of Sync.
type Ask struct {
	// MaxMessages and MaxBytes (of Entry.Signed) bound what one Sync accepts; the last
	// entry may exceed MaxBytes. If zero, DefaultAskMessages and DefaultAskBytes.
	MaxMessages int
	MaxBytes    int
	// MaxAge bounds the age of the broadcasts, by the answering peer's clock. Older ones are
	// not gaps, either. If zero, there is no bound.
	MaxAge time.Duration
	// Check is called with each broadcast before it is added to the history. If it
	// refuses one, that is skipped and not requested again; the peer that sent it may
	// have no such check, and is not to blame. It may be nil.
	Check func(context.Context, *message.Message) bool
	// Deliver is called with each broadcast that was new to the history, in the order of
	// each publisher, from the goroutine of Sync: the answering peer waits for it. It may
	// be nil.
	Deliver func(context.Context, *message.Message)
}

// Answer is the result of a Sync.
type Answer struct {
	Peer     peer.ID
	Received int // new entries, which were delivered
	Repeated int // entries that came in another way meanwhile
	Refused  int // entries refused by Check
	// More reports that the peer holds more than the Ask allowed, that the Sync failed
	// before its end, or that this node's history has too many gaps to ask for all of
	// them at once.
	More bool
	// Gaps are what is still missing, as far as this node and the peer know: ask another
	// peer. They are in order of publishers and numbers.
	Gaps []Gap
	// Unknown are the new epochs that this Sync learned of.
	Unknown []Unknown
	// Forgotten is the number of publishers that the peer has forgotten altogether: there
	// may be broadcasts that it does not know of. It is 0 if all of them had been silent
	// for Ask.MaxAge.
	Forgotten uint64
	// GivenUp is the number of broadcasts that this node's history never received and no
	// longer requests, because it would have had to remember too many gaps. Those known
	// to be older than Ask.MaxAge do not count.
	GivenUp uint64
}

// Complete reports that nothing is missing from the requested range, as far as this node
// and the peer know. They cannot know of broadcasts that reached neither.
func (a Answer) Complete() bool {
	return !a.More && len(a.Gaps) == 0 && len(a.Unknown) == 0 && a.Forgotten == 0 && a.GivenUp == 0
}

// Sync requests what the history of typ lacks from p, checks it, adds it and passes it to
// a.Deliver. It asks again while the peer has more, and waits for a busy peer a few
// times. ctx bounds all of it.
//
// Even if there is an error, the Answer says what was accepted until then; More is then
// set. The error wraps ErrBadAnswer, and names the peer, if the peer sent something
// forged, of another topic, out of order or not asked for, or if it did not send what it
// said that it holds. It wraps ErrBusy or ErrNoHistory if the peer does not answer for
// that reason, and ErrNoHistory if this node has no history of typ.
func (s *Service) Sync(ctx context.Context, p peer.ID, typ string, a Ask) (Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	leave, err := s.enter(cancel)
	if err != nil {
		return Answer{Peer: p, More: true}, err
	}
	defer leave()
	h, err := s.history(typ)
	if err != nil {
		return Answer{Peer: p, More: true}, fmt.Errorf("catch up on %q: %w", typ, err)
	}
	if a.MaxMessages <= 0 {
		a.MaxMessages = DefaultAskMessages
	}
	if a.MaxBytes <= 0 {
		a.MaxBytes = DefaultAskBytes
	}
	y := &syncing{s: s, peer: p, typ: typ, ask: a, history: h, answer: Answer{Peer: p, More: true}}
	if a.MaxAge > 0 {
		y.cutoff = time.Now().Add(-a.MaxAge)
	}
	return y.run(ctx)
}

// syncing is a Sync that is under way.
type syncing struct {
	s       *Service
	peer    peer.ID
	typ     string
	ask     Ask
	cutoff  time.Time
	history *History
	answer  Answer
	known   []Known // from the last round
	bytes   int
	cut     bool // an Ask did not hold all cursors in full
}

func (y *syncing) run(ctx context.Context) (Answer, error) {
	prior := cursorMap(y.history.Cursors())
	err := y.rounds(ctx)
	switch {
	case err == nil:
		y.s.stats.synced.Add(1)
	case errors.Is(err, ErrBadAnswer):
		y.s.stats.lied.Add(1)
	default:
		y.s.stats.broken.Add(1)
	}
	if err != nil {
		y.answer.More = true
		switch {
		case y.s.isClosed():
			err = ErrClosed
		case ctx.Err() != nil:
			err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
		err = fmt.Errorf("catch up on %q from %s: %w", y.typ, y.peer, err)
	}
	y.answer.Gaps, y.answer.Unknown = y.history.missing(y.known, prior, y.cutoff)
	y.answer.GivenUp = y.history.givenUp(y.cutoff)
	return y.answer, err
}

func cursorMap(cursors []Cursor) map[peer.ID]*Cursor {
	return (&wireAsk{have: cursors}).cursors()
}

const (
	maxBusy  = 3               // how often a Sync waits for a busy peer
	maxRetry = 5 * time.Second // the longest that it waits each time
)

func (y *syncing) rounds(ctx context.Context) error {
	for waited := 0; ; {
		forgotten := y.history.Stats().Forgot
		before := y.taken()
		end, err := y.round(ctx)
		var wait *busyError
		if errors.As(err, &wait) && waited < maxBusy {
			waited++
			select {
			case <-time.After(min(wait.after, maxRetry)):
				continue
			case <-ctx.Done():
				return err
			}
		}
		if err != nil {
			return err
		}
		waited = 0
		y.answer.More, y.answer.Forgotten = end.more || y.cut, end.forgotten
		if !end.more {
			return nil
		}
		if y.taken() == before {
			return fmt.Errorf("%w: it has more, and sends nothing", ErrBadAnswer)
		}
		if y.taken() >= y.ask.MaxMessages || y.bytes >= y.ask.MaxBytes || y.history.Stats().Forgot != forgotten {
			return nil // stop here; otherwise, what was forgotten would come again for ever
		}
	}
}

func (y *syncing) taken() int { return y.answer.Received + y.answer.Repeated + y.answer.Refused }

// busyError is an ErrBusy that says when to ask again.
type busyError struct{ after time.Duration }

func (e *busyError) Error() string { return fmt.Sprintf("%s for %s", ErrBusy, e.after) }
func (e *busyError) Unwrap() error { return ErrBusy }

// round sends one request.
func (y *syncing) round(ctx context.Context) (*wireEnd, error) {
	stream, err := y.s.opts.Open(ctx, y.peer, Protocol)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset() })
	defer stop()
	end, err := y.exchange(ctx, stream)
	if err != nil {
		_ = stream.Reset()
		return nil, err
	}
	_ = stream.Close()
	return end, nil
}

func (y *syncing) exchange(ctx context.Context, stream network.Stream) (*wireEnd, error) {
	ask := &wireAsk{
		typ:      y.typ,
		have:     y.history.Cursors(),
		messages: uint64(min(y.ask.MaxMessages-y.taken(), y.s.opts.AnswerMessages)),
		bytes:    uint64(min(y.ask.MaxBytes-y.bytes, y.s.opts.AnswerBytes)),
		age:      y.ask.MaxAge,
		entry:    uint64(y.s.opts.MaxEntry),
	}
	y.cut = ask.fit(maxAsk)
	if err := stream.SetDeadline(time.Now().Add(y.s.opts.Timeout)); err != nil {
		return nil, err
	}
	if _, err := stream.Write(appendFrame(nil, ask.append(nil))); err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	if err := stream.CloseWrite(); err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	c := newChecker(ask, y.s.opts.Topic(y.typ), y.s.opts.MaxEntry)
	r := bufio.NewReader(stream)
	for {
		b, err := readFrame(r, max(y.s.opts.MaxEntry, maxKnown)+frameOverhead)
		if err != nil {
			if errors.Is(err, message.ErrTooLarge) {
				err = fmt.Errorf("%w: %w", ErrBadAnswer, err)
			} else if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		msg, f, err := c.frame(b)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadAnswer, err)
		}
		switch {
		case f.entry != nil:
			y.take(ctx, msg, f.entry)
		case f.end != nil:
			y.known = c.known
			return f.end, f.end.err(y.typ)
		}
	}
}

// err returns the error that a status stands for.
func (e *wireEnd) err(typ string) error {
	switch e.status {
	case answered:
		return nil
	case busy:
		return &busyError{e.retryAfter}
	case noHistory:
		return fmt.Errorf("%w: %q", ErrNoHistory, typ)
	}
	return fmt.Errorf("the peer rejected the request as malformed (status %d)", e.status)
}

// take adds an entry that has been checked.
func (y *syncing) take(ctx context.Context, msg *message.Message, e *wireEntry) {
	y.bytes += len(e.signed)
	msg.Via = y.peer
	if y.ask.Check != nil && !y.ask.Check(ctx, msg) {
		y.history.Skip(msg.From, msg.ID)
		y.answer.Refused++
		y.s.stats.unwanted.Add(1)
		return
	}
	entry := Entry{Publisher: msg.From, ID: msg.ID, Replayed: true, Received: time.Now().Add(-e.age), Signed: e.signed}
	if !y.history.Add(entry).New {
		y.answer.Repeated++
		y.s.stats.repeated.Add(1)
		return
	}
	y.answer.Received++
	y.s.stats.received.Add(1)
	if y.ask.Deliver != nil {
		y.ask.Deliver(ctx, msg)
	}
}
