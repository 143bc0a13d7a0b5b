package dispatch

import (
	"context"

	"github.com/tombolo-net/tombolo/core/message"
)

// waiter is a message whose publisher waits for room in a mailbox. The reader that makes
// room queues the message on the publisher's behalf, so waiting messages are queued in
// order, and no other message gets in before them.
type waiter struct {
	sub        *Subscription
	m          *message.Message
	window     *window
	result     chan waitResult // of capacity 1; empty while the waiter is not in use
	queued     bool            // guarded by the subscription's lock
	prev, next *waiter         // in the line of the same subscription
	also       *waiter         // the next waiter of the same message
}

type waitResult uint8

const (
	waitTaken waitResult = iota
	waitClosed
	waitTimeout
)

// enqueue makes the publisher of p wait in line; the lock is held.
func (s *Subscription) enqueue(p *publication) {
	w := s.spareWaiter
	s.spareWaiter = nil
	if w == nil {
		w = &waiter{sub: s, result: make(chan waitResult, 1)}
	}
	w.m, w.window, w.queued = p.m, p.window, true
	w.prev, w.next = s.lastWaiter, nil
	if s.lastWaiter == nil {
		s.firstWaiter = w
	} else {
		s.lastWaiter.next = w
	}
	s.lastWaiter = w
	s.waiting.Add(1)
	w.also = p.waiters
	p.waiters = w
	// The reader checks waiting after it has moved on. It may have done so before this
	// waiter was counted, so this looks for room, too.
	s.letIn()
}

// unqueue takes w out of the line; the lock is held.
func (b *mailbox) unqueue(w *waiter) {
	if w.prev == nil {
		b.firstWaiter = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		b.lastWaiter = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	b.waiting.Add(-1)
}

// letIn queues the messages of waiters while there is room; the lock is held.
func (b *mailbox) letIn() {
	for w := b.firstWaiter; w != nil && !b.full(); w = b.firstWaiter {
		b.unqueue(w)
		if w.window != nil && b.duplicate(w.m, w.window) { // a copy was taken while it waited
			b.counts.duplicates++
		} else {
			b.push(w.m, w.window, "", false)
		}
		w.result <- waitTaken
	}
}

// wait returns what became of the message. If ctx ends first, the message is dropped.
func (w *waiter) wait(ctx context.Context) waitResult {
	select {
	case res := <-w.result:
		return res
	case <-ctx.Done():
	}
	s := w.sub
	s.mu.Lock()
	defer s.mu.Unlock()
	if !w.queued {
		return <-w.result
	}
	s.unqueue(w)
	s.counts.timeout++
	s.missedTail++
	return waitTimeout
}

// giveBack keeps w for the next publisher that waits.
func (s *Subscription) giveBack(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.m, w.window, w.also = nil, nil, nil
	if s.why == nil {
		s.spareWaiter = w
	}
}
