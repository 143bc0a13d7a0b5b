// Package dispatch delivers messages to their subscribers in this process: a
// [Dispatcher] puts each message into the mailbox of every subscription to its type.
//
// There is no goroutine in the middle, and there are no queues but the mailboxes:
// Publish looks up the subscriptions, puts a pointer to the message into each bounded
// mailbox, and returns. A slow reader fills only its own mailbox; the policy of its
// subscription decides what happens then.
//
// Nothing is lost silently. Lost messages are counted by reason, and the reader gets the
// size of each gap in order: Delivery.Missed. When a mailbox overflows, the sender with
// the most messages in it loses one (longest queue drop; Suter, Lakshman, Stiliadis,
// Choudhury 1998), so a peer that floods loses its own messages and not those of others.
package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/core/supervise"
)

var (
	// ErrClosed is returned by the methods of a Dispatcher after Close. It is also the
	// reason why a subscription ended, if it or its Dispatcher was closed.
	ErrClosed = errors.New("closed")
	// ErrSlow is the reason why a subscription with the policy CloseOnOverflow ended: its
	// reader was too slow, and its mailbox overflowed.
	ErrSlow = errors.New("the subscription's reader is too slow")
	// ErrBusy is returned by Next if the subscription has another reader.
	ErrBusy = errors.New("the subscription has another reader")
	// ErrNotTaken is wrapped by the errors of Publish and Offer about full
	// mailboxes with the policy Block.
	ErrNotTaken = errors.New("a subscription is full")
)

// Options configure a Dispatcher. The zero value is usable.
type Options struct {
	// Logger receives the panics of handlers and the names of late ones. If
	// nil, nothing is logged.
	Logger *slog.Logger
	// HandlerLimit is how long a handler may take for a message before the log and Stats
	// name it. If zero, supervise.DefaultLimit; if negative, there is no limit.
	HandlerLimit time.Duration
	// Program tracks the program's functions while they run, and bounds how long Close waits
	// for them. The parts of a node share one. If nil, this part has its own.
	Program *supervise.Program
}

// Dispatcher delivers messages to subscriptions. All methods may be called concurrently.
type Dispatcher struct {
	log        *slog.Logger
	supervisor *supervise.Supervisor
	program    *supervise.Program

	topics  index[*topic]
	recent  recent
	windows index[*window]
	closed  atomic.Bool

	published atomic.Uint64
	unclaimed atomic.Uint64
	refused   atomic.Uint64
	ends      sync.WaitGroup // goroutines that run functions given to OnEnd

	mu      sync.Mutex // guards all changes of topics, windows and subs
	subs    map[*Subscription]struct{}
	retired SubscriptionStats // of the closed subscriptions
}

// New returns a Dispatcher.
func New(opts Options) *Dispatcher {
	d := &Dispatcher{
		log:        opts.Logger,
		supervisor: supervise.New(supervise.Options{Logger: opts.Logger, Limit: opts.HandlerLimit}),
		program:    cmp.Or(opts.Program, new(supervise.Program)),
		subs:       make(map[*Subscription]struct{}),
	}
	d.recent.seed = maphash.MakeSeed()
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	return d
}

// Subscribe subscribes to a type, or with a pattern such as "room/*" to all types that
// begin with "room/". The subscription receives what is published after Subscribe
// returns. Two subscriptions to one pattern are independent: each gets every message.
//
// Close the subscription when it is no longer needed, even if it ended with ErrSlow. The
// error wraps message.ErrType or ErrClosed, or says which option is wrong.
func (d *Dispatcher) Subscribe(pattern string, opts ...Option) (*Subscription, error) {
	s, err := d.newSubscription(pattern, opts)
	if err != nil {
		return nil, err
	}
	if err := d.add(s); err != nil {
		return nil, err
	}
	return s, nil
}

// Publish delivers m to every subscription to its type. It waits only for full
// subscriptions with the policy Block, and only after it has served all others. The
// messages of one caller reach each subscription in the order of its calls. m must not
// be changed afterwards.
//
// If ctx ends first, m counts as dropped by the subscriptions that are still full, and
// the error names them and wraps ErrNotTaken and the error of ctx. Publish no longer
// waits for a subscription that is closed in the meantime. If the Dispatcher is closed
// in the meantime, the error is ErrClosed, and m may have reached some subscriptions.
//
// Only events of applications have subscribers. For a type that message.CheckType
// refuses ("tombolo/..." among them), and for any kind but message.Event, the error
// wraps message.ErrType, and m counts as refused. It is not an error if there is no
// subscriber.
//
// A handler that publishes to its own full subscription with the policy Block waits for
// itself.
func (d *Dispatcher) Publish(ctx context.Context, m *message.Message) error {
	waiting, err := d.publish(m, true)
	if waiting == nil || err != nil {
		return err
	}
	return d.await(ctx, m, waiting)
}

// Offer is like Publish, but for callers that cannot wait: a full subscription with the
// policy Block drops the message and counts it. The error then wraps ErrNotTaken.
func (d *Dispatcher) Offer(m *message.Message) error {
	_, err := d.publish(m, false)
	return err
}

func (d *Dispatcher) publish(m *message.Message, wait bool) (*waiter, error) {
	if d.closed.Load() {
		return nil, ErrClosed
	}
	exact := d.recent.topic(m.Type, &d.topics)
	if m.Kind != message.Event {
		d.refused.Add(1)
		return nil, fmt.Errorf("publish: %w: %q is a %s, and subscribers get events", message.ErrType, m.Type, m.Kind)
	}
	if exact == nil { // if the type has subscribers, Subscribe has checked it
		if err := message.CheckType(m.Type); err != nil {
			d.refused.Add(1)
			return nil, fmt.Errorf("publish: %w", err)
		}
	}
	d.published.Add(1)
	p := publication{m: m, wait: wait, window: d.windowOf(m)}
	if exact != nil {
		exact.publish(&p)
	}
	if d.topics.prefixes.Load() > 0 {
		for t := range d.topics.matching(m.Type) {
			t.publish(&p)
		}
	}
	if p.heard == 0 {
		d.unclaimed.Add(1)
	}
	if p.refused != 0 {
		return nil, fmt.Errorf("offer %q: %w (%d of %d)", m.Type, ErrNotTaken, p.refused, p.heard)
	}
	return p.waiters, nil
}

// publication is a message on its way through the subscriptions.
type publication struct {
	m       *message.Message
	window  *window // nil: copies are not looked for
	wait    bool
	heard   int     // open subscriptions to the type
	refused int     // full subscriptions with the policy Block, if wait is not set
	waiters *waiter // those subscriptions, if wait is set; linked by also
}

// await waits until the subscriptions of all waiters have taken m, or until ctx ends.
func (d *Dispatcher) await(ctx context.Context, m *message.Message, waiters *waiter) error {
	var untaken []string
	var closed bool
	for w := waiters; w != nil; {
		next := w.also // w may be reused once it is given back
		res := w.wait(ctx)
		switch res {
		case waitTimeout:
			untaken = append(untaken, w.sub.pattern)
		case waitClosed:
			closed = true
		}
		w.sub.giveBack(w)
		w = next
	}
	switch {
	case untaken != nil:
		return fmt.Errorf("publish %q: %w: %q: %w", m.Type, ErrNotTaken, untaken, context.Cause(ctx))
	case closed && d.closed.Load():
		return ErrClosed
	}
	return nil
}

// Close ends all subscriptions. A reader that uses Next or All gets the queued messages,
// and then ErrClosed. A channel is closed at once, and a handler gets no further
// message; their queued messages count as dropped. Publish returns ErrClosed from now
// on, also if it is waiting.
//
// Close cancels the contexts of running handlers, and waits for them and for the
// functions given to OnEnd, for at most supervise.CloseGrace. It logs the names of those
// that have not returned by then. It waits for nothing if a function of the program calls
// it. Later calls do the same.
func (d *Dispatcher) Close() error {
	d.program.Closing()
	d.mu.Lock()
	d.closed.Store(true)
	subs := make([]*Subscription, 0, len(d.subs))
	for s := range d.subs {
		subs = append(subs, s)
	}
	d.mu.Unlock()
	var ended []*Subscription
	for _, s := range subs {
		if s.stop(ErrClosed, false) {
			ended = append(ended, s)
		}
	}
	for _, s := range ended { // after all have ended, so that none of the functions finds another one open
		if s.onEnd != nil {
			d.ends.Add(1)
			d.tellEndLater(s)
		}
	}
	d.waitServed(subs...)
	if !d.program.Within() && !d.program.Await(d.ends.Wait) {
		d.log.Error("closed without a function given to OnEnd that does not return")
	}
	return nil
}

// tellEndLater runs tellEnd in a goroutine. The caller has added it to ends, so Close
// waits for it.
func (d *Dispatcher) tellEndLater(s *Subscription) {
	go func() {
		defer d.ends.Done()
		defer d.program.Enter()()
		s.tellEnd()
	}()
}

func (d *Dispatcher) add(s *Subscription) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed.Load() {
		return fmt.Errorf("subscribe to %q: %w", s.pattern, ErrClosed)
	}
	t, ok := d.topics.get(s.pattern)
	if !ok {
		t = &topic{pattern: s.pattern}
	}
	t.add(s)
	if !ok { // only with s in it, because publishers find it from here on
		d.topics.set(s.pattern, t)
	}
	d.subs[s] = struct{}{}
	return nil
}

// detach removes s from the table, so that nothing more is put into it.
func (d *Dispatcher) detach(s *Subscription) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.detachLocked(s)
}

func (d *Dispatcher) detachLocked(s *Subscription) {
	t, ok := d.topics.get(s.pattern)
	if ok && t.remove(s) && t.used == 0 {
		t.gone.Store(true)
		d.topics.remove(s.pattern)
	}
}

// retire detaches a stopped subscription, and keeps its counts.
func (d *Dispatcher) retire(s *Subscription) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.detachLocked(s)
	delete(d.subs, s)
	d.retired.add(s.Stats())
}

// undeliver counts a message as lost: the goroutine of a channel had taken it, but nobody
// received it before that goroutine ended.
func (d *Dispatcher) undeliver(s *Subscription) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.unread++
	s.counts.closed++
	if _, ok := d.subs[s]; !ok { // its counts are in retired already
		d.retired.Delivered--
		d.retired.Dropped.Closed++
	}
}

// prefixesOf yields "a/" and "a/b/" for "a/b/c".
func prefixesOf(typ string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := 0; i < len(typ); {
			n := strings.IndexByte(typ[i:], '/')
			if n < 0 {
				return
			}
			i += n + 1
			if !yield(typ[:i]) {
				return
			}
		}
	}
}
