package dispatch

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/tombolo-net/tombolo/core/message"
)

// Delivery is a message as one subscription receives it.
type Delivery struct {
	*message.Message
	// Missed is the number of messages that this subscription lost between the previous
	// delivery and this one. It stops counting at 4,294,967,295; Dropped does not.
	Missed uint64
}

// Subscription is a mailbox with its reader. There are four ways to read it: Next, All,
// Chan, or the handler given to Handle. It has one reader at a time. Next and All can
// follow each other; Chan and a handler are permanent. All other methods may be called
// concurrently.
//
// A gap is reported with the next delivery. Dropped counts every loss at once, even if no
// delivery follows.
type Subscription struct {
	mailbox
	d       *Dispatcher
	pattern string
	key     func(*message.Message) string
	onEnd   func()       // nil if not given
	slot    int32        // in the topic; guarded by the Dispatcher's lock
	readers atomic.Int32 // one of the reader constants

	closeOnce sync.Once
	out       chan Delivery // the channel that Chan returned; nil before
}

// The ways in which a subscription may be read.
const (
	readerNone int32 = iota
	readerPull       // by Next or All, now
	readerChan
	readerHandler
)

func (d *Dispatcher) newSubscription(pattern string, opts []Option) (*Subscription, error) {
	if _, _, err := message.CheckPattern(pattern); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	set := settings{buffer: DefaultBuffer}
	for i, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("subscribe to %q: option %d is nil", pattern, i+1)
		}
		if err := opt(&set); err != nil {
			return nil, fmt.Errorf("subscribe to %q: %w", pattern, err)
		}
	}
	s := &Subscription{d: d, pattern: pattern, key: set.key, onEnd: set.onEnd}
	s.init(set.buffer, set.policy, set.key != nil)
	return s, nil
}

// Pattern returns the pattern or type of the subscription.
func (s *Subscription) Pattern() string { return s.pattern }

// Done is closed when the subscription has ended: no further message enters its mailbox.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Err returns the reason why the subscription ended, ErrClosed or ErrSlow, and nil
// before that. Queued messages may still be there to read; see Close.
func (s *Subscription) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

// Dropped returns the number of messages that this subscription lost, for any reason; see
// Stats for the reasons.
func (s *Subscription) Dropped() uint64 { return s.Stats().Dropped.Total() }

// Stats returns a snapshot.
func (s *Subscription) Stats() SubscriptionStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, depth := s.counts, s.depth()
	return SubscriptionStats{
		// Each accepted message is waiting, lost or delivered.
		Delivered:  c.accepted - uint64(depth) - c.evicted - c.superseded - c.unread,
		Duplicates: c.duplicates,
		Dropped:    c.dropped(),
		Depth:      depth,
	}
}

// Next returns the next message, and waits for it until ctx ends. It returns a queued
// message even if ctx has ended. If the subscription has ended and no message is left,
// the error is ErrClosed or ErrSlow, and Missed of the Delivery counts the losses after
// the last message. The error is ErrBusy if there is another reader.
func (s *Subscription) Next(ctx context.Context) (Delivery, error) {
	if !s.readers.CompareAndSwap(readerNone, readerPull) {
		return Delivery{}, fmt.Errorf("read %q: %w", s.pattern, ErrBusy)
	}
	defer s.readers.Store(readerNone)
	return s.next(ctx)
}

// TryNext returns the next message if there is one now. It also returns false if there
// is another reader.
func (s *Subscription) TryNext() (Delivery, bool) {
	if !s.readers.CompareAndSwap(readerNone, readerPull) {
		return Delivery{}, false
	}
	defer s.readers.Store(readerNone)
	if d, ok := s.deliver(); ok {
		return d, true
	}
	if ok, _ := s.take(false); !ok {
		return Delivery{}, false
	}
	return s.deliver()
}

// All yields messages as they arrive, until the subscription has ended and its queued
// messages were read (Err then has the reason), or until the loop is left; another loop
// may then begin. If there is another reader, All yields nothing, and the log says so.
func (s *Subscription) All() iter.Seq[Delivery] {
	return func(yield func(Delivery) bool) {
		if !s.readers.CompareAndSwap(readerNone, readerPull) {
			s.busy()
			return
		}
		defer s.readers.Store(readerNone)
		for {
			d, err := s.next(context.Background())
			if err != nil || !yield(d) {
				return
			}
		}
	}
}

// Chan returns a channel of the messages, for use with select; Next and All are faster.
// All calls return the same channel. A goroutine fills it until the subscription or the
// Dispatcher is closed. Then the channel is closed, and messages that were not received
// count as lost. If there is another reader, the channel is closed from the start, and
// the log says so.
func (s *Subscription) Chan() <-chan Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out != nil {
		return s.out
	}
	out := make(chan Delivery)
	if !s.readers.CompareAndSwap(readerNone, readerChan) {
		s.busy()
		close(out)
		return out
	}
	s.out = out
	if s.why == ErrClosed { // nobody is left to wait for a goroutine
		s.discard()
		close(out)
		return out
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.served = cancel, make(chan struct{})
	go s.pump(ctx, out, s.served)
	return out
}

func (s *Subscription) pump(ctx context.Context, out chan<- Delivery, served chan<- struct{}) {
	defer close(served)
	defer close(out)
	for {
		d, err := s.next(ctx)
		if err != nil {
			return
		}
		select {
		case out <- d:
		case <-ctx.Done():
			s.d.undeliver(s)
			return
		}
	}
}

func (s *Subscription) busy() {
	s.d.log.Error("a subscription has another reader already", "pattern", s.pattern)
}

// put gives the subscription a message.
func (s *Subscription) put(p *publication) {
	var key string
	keyed := s.key != nil
	if keyed {
		key, keyed = s.keyFor(p.m)
	}
	s.mu.Lock()
	if s.why != nil {
		s.mu.Unlock()
		return
	}
	p.heard++
	over := false
	switch {
	case p.window != nil && s.duplicate(p.m, p.window):
		s.counts.duplicates++
	case keyed && s.replace(p.m, p.window, key):
	case s.full() || s.firstWaiter != nil:
		over = s.overflow(p, key, keyed)
	default:
		s.push(p.m, p.window, key, keyed)
	}
	wake := s.parked
	s.parked = false
	s.mu.Unlock()
	if wake {
		s.signal()
	}
	if over {
		s.d.detach(s)
		if s.onEnd != nil {
			s.d.tellEndLater(s)
		}
	}
}

// tellEnd calls the function given to OnEnd.
func (s *Subscription) tellEnd() {
	if s.onEnd != nil {
		_ = s.d.supervisor.Run(s.pattern, nil, s.onEnd) // Run has counted and logged the error
	}
}

// overflow treats a message for a full mailbox according to the policy, and reports
// whether the subscription ended. The lock is held.
func (s *Subscription) overflow(p *publication, key string, keyed bool) bool {
	switch {
	case s.policy == block && p.wait:
		s.enqueue(p)
		return false
	case s.makeWay(p.m):
		s.push(p.m, p.window, key, keyed)
		return false
	}
	s.counts.full++
	s.missedTail++
	switch s.policy {
	case block:
		p.refused++
	case closeOnOverflow:
		s.end(ErrSlow)
		s.signal()
		if s.onEnd != nil {
			s.d.ends.Add(1) // under the lock, so before Close waits for it
		}
		return true
	}
	return false
}

// keyFor returns the key of a message; ok is false if the key function panics.
func (s *Subscription) keyFor(m *message.Message) (key string, ok bool) {
	defer func() {
		if v := recover(); v != nil {
			s.d.log.Error("the key of a message panicked", "pattern", s.pattern, "type", m.Type, "id", m.ID, "peer", m.From,
				"panic", v, "stack", string(debug.Stack()))
		}
	}()
	return s.key(m), true
}

// looks is how often a reader that finds its mailbox empty lets others run and looks
// again before it parks. Waking a reader costs a publisher more than a look costs the
// reader, and while messages come quickly, they arrive in batches this way.
const looks = 2

func (s *Subscription) next(ctx context.Context) (Delivery, error) {
	for look := 0; ; look++ {
		if d, ok := s.deliver(); ok {
			return d, nil
		}
		ok, ended := s.take(look >= looks)
		switch {
		case ok:
			look = 0
		case ended != nil:
			return Delivery{Missed: s.rest()}, ended
		case look < looks:
			runtime.Gosched()
		case ctx.Done() == nil:
			<-s.wake
		default:
			select {
			case <-s.wake:
			case <-ctx.Done():
				return Delivery{}, context.Cause(ctx)
			}
		}
	}
}

// Close ends the subscription: its reader gets nothing more, and the queued messages
// count as dropped. Publishers stop waiting for it. Close may be called at any time,
// even by a handler or between deliveries, and more than once.
//
// Close cancels the context of a running handler and waits for it, for at most
// supervise.CloseGrace. It does not wait if a function of the program calls it, because
// two of them could wait for each other.
func (s *Subscription) Close() error {
	first := false
	s.closeOnce.Do(func() {
		first = s.stop(ErrClosed, true)
		s.d.retire(s)
	})
	if first { // outside the Once, because the function may call Close
		s.tellEnd()
	}
	s.d.waitServed(s)
	return nil
}
