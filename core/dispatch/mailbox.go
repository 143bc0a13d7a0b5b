package dispatch

import (
	"context"
	"math"
	"sync"
	"sync/atomic"

	"github.com/tombolo-net/tombolo/core/message"
)

// mailbox is the bounded queue of one subscription: a ring that grows up to its bound.
// Positions only count up; the slot of a position is its remainder by the size of the
// ring.
//
//	reader's own: [read, taken)    queued: [head, tail), with holes where a message was lost
//
// The reader takes a few messages at a time, so that it rarely meets a publisher at the
// lock. The messages that it has in hand count against the bound until they are
// delivered, one by one.
type mailbox struct {
	// The fields that the reader touches for each message: 64 bytes, one line of the
	// processor's cache, in which publishers need nothing.

	// read is the position of the reader. Its top bit is set when the reader must not
	// read the rest.
	read     atomic.Uint64
	waiting  atomic.Int32 // the number of waiters
	hand     []item       // used only by the reader, from here on: the slots when it took the messages
	next     uint64       // the position that it delivers next, up to last
	last     uint64
	inherits uint64 // lost before next, in addition to the count of the item

	told uint64 // also used only by the reader: the sum of Missed so far

	mu     sync.Mutex
	wake   chan struct{} // one token, which wakes the parked reader
	parked bool          // the reader waits for a token
	policy policy
	bound  int
	batch  uint64 // the maximum number of messages that the reader takes at a time

	slots    []item // its length is a power of two, or zero
	head     uint64
	tail     uint64
	live     int    // queued messages; the rest of [head, tail) is holes
	taken    uint64 // end of what the reader took last
	readSeen uint64 // the value of read when it was last loaded
	base     uint64 // slots of positions before it are free
	handHere bool   // the messages that the reader took last are in slots, not in a former ring

	missedHead uint64 // lost before head
	missedTail uint64 // lost after the last message

	why    error         // why nothing more is let in; nil while open
	done   chan struct{} // closed when why is set
	counts counts

	cancel context.CancelFunc // ends the goroutine of a handler or a channel; nil without one
	served chan struct{}      // closed when that goroutine has ended

	book *book   // the number of messages of each sender; nil unless the mailbox overflowed
	keys *keys   // nil unless latestPerKey
	seen *memory // nil unless de-duplicating

	firstWaiter, lastWaiter *waiter
	spareWaiter             *waiter
}

// item is a slot of the ring.
type item struct {
	m      *message.Message // nil: a hole
	missed uint32           // lost right before it; a hole counts itself, too
	key    uint32           // its number in keys, if any
}

const (
	cut      = 1 << 63 // bit of read: nothing more must be read
	maxBatch = 64      // messages
	minRing  = 8       // slots
)

func (b *mailbox) init(bound int, p policy, keyed bool) {
	b.wake, b.done = make(chan struct{}, 1), make(chan struct{})
	b.bound, b.policy = bound, p
	// What the reader has in hand can be neither dropped nor replaced. So it takes one
	// message at a time if new messages matter most, and otherwise only a few, to be
	// fair.
	b.batch = 1
	if p == dropNewest || p == block || p == closeOnOverflow {
		b.batch = uint64(min(max(bound/8, 1), maxBatch))
	}
	if keyed {
		b.keys = newKeys()
	}
}

func (b *mailbox) slot(pos uint64) *item { return &b.slots[pos&uint64(len(b.slots)-1)] }

// full reports whether there is no room for one more message.
func (b *mailbox) full() bool {
	if b.live+int(b.taken-b.readSeen) < b.bound {
		return false
	}
	b.readSeen = b.read.Load() &^ cut
	return b.live+int(b.taken-b.readSeen) >= b.bound
}

// push queues a message; there must be room.
func (b *mailbox) push(m *message.Message, w *window, key string, keyed bool) {
	if b.tail-b.base >= uint64(len(b.slots)) {
		b.makeRoom()
	}
	it := b.slot(b.tail)
	it.m, it.missed = m, saturate(b.missedTail)
	b.missedTail = 0
	if keyed {
		it.key = b.keys.add(key, b.tail)
	}
	b.tail++
	b.live++
	b.counts.accepted++
	if b.book != nil {
		b.book.add(m.From)
	}
	if w != nil {
		b.remember(m, w)
	}
}

// makeRoom frees slots: those that the reader is done with, or else those of holes. If
// there are few of these, it makes the ring longer.
func (b *mailbox) makeRoom() {
	b.base = b.head
	if b.handHere {
		if read := b.read.Load(); read != b.taken {
			b.base = read
		}
	}
	if b.tail-b.base < uint64(len(b.slots)) {
		return
	}
	old, from, to := b.slots, b.head, b.tail
	switch {
	case b.live+int(from-b.base) >= len(old)*3/4: // otherwise each batch would need a new ring
		b.slots = make([]item, max(minRing, 2*len(old)))
	case b.base != b.head: // the reader continues with the old ones
		b.slots = make([]item, len(old))
	}
	b.base, b.handHere = b.head, b.handHere && b.base == b.head && len(b.slots) == len(old)
	// Pack the messages towards the front. The losses of a hole go to the message after
	// it.
	var missed uint64
	b.tail = from
	for pos := from; pos < to; pos++ {
		at := &old[pos&uint64(len(old)-1)]
		it := *at
		*at = item{}
		missed += uint64(it.missed)
		if it.m == nil {
			continue
		}
		it.missed = saturate(missed)
		missed = 0
		if it.key != 0 {
			b.keys.move(it.key, b.tail)
		}
		*b.slot(b.tail) = it
		b.tail++
	}
	b.missedTail += missed
}

// evict drops the queued message at pos.
func (b *mailbox) evict(pos uint64) {
	it := b.slot(pos)
	b.forgetItem(it)
	if b.seen != nil {
		b.seen.forget(keyOf(it.m))
	}
	it.m = nil
	it.missed = saturate(uint64(it.missed) + 1)
	b.live--
	b.counts.full++
	b.counts.evicted++
	for b.head < b.tail && b.slot(b.head).m == nil {
		b.missedHead += uint64(b.slot(b.head).missed)
		*b.slot(b.head) = item{}
		b.head++
	}
	for b.head < b.tail && b.slot(b.tail-1).m == nil {
		b.tail--
		b.missedTail += uint64(b.slot(b.tail).missed)
		*b.slot(b.tail) = item{}
	}
}

// forgetItem removes a message that leaves the queue from the book and the keys.
func (b *mailbox) forgetItem(it *item) {
	if b.book != nil {
		b.book.remove(it.m.From)
	}
	if it.key != 0 {
		b.keys.remove(it.key)
		it.key = 0
	}
}

// take gives the reader its next few messages, and reports whether there were any. If
// not, ended is the reason why there will be none. If ended is nil and park is set, the
// reader must wait for a token.
func (b *mailbox) take(park bool) (ok bool, ended error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.live == 0 {
		b.parked = park && b.why == nil
		b.book = nil
		return false, b.why
	}
	holes := int(b.tail-b.head) != b.live
	for holes && b.slot(b.head).m == nil {
		b.missedHead += uint64(b.slot(b.head).missed)
		*b.slot(b.head) = item{}
		b.head++
	}
	end := min(b.head+b.batch, b.tail)
	if holes || b.book != nil || b.keys != nil {
		pos := b.head
		for ; pos < end && b.slot(pos).m != nil; pos++ {
			b.forgetItem(b.slot(pos))
		}
		end = pos
	}
	b.hand, b.next, b.last = b.slots, b.head, end
	b.inherits += b.missedHead
	b.missedHead = 0
	b.live -= int(end - b.head)
	b.read.Store(b.head)
	b.readSeen, b.base, b.handHere = b.head, b.head, true
	b.head, b.taken = end, end
	return true, nil
}

// rest returns the number of losses that no delivery reported, of a mailbox that has
// ended.
func (b *mailbox) rest() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts.dropped().Total() - b.told
}

// deliver returns the next message in hand, if there is one. After the reader was cut
// off, there are none.
func (b *mailbox) deliver() (Delivery, bool) {
	if b.next == b.last {
		return Delivery{}, false
	}
	it := &b.hand[b.next&uint64(len(b.hand)-1)]
	d := Delivery{Message: it.m, Missed: b.inherits + uint64(it.missed)}
	*it = item{}
	if !b.read.CompareAndSwap(b.next, b.next+1) {
		b.next = b.last
		return Delivery{}, false
	}
	b.next++
	if d.Missed != 0 {
		b.inherits = 0
		b.told += d.Missed
	}
	if b.waiting.Load() > 0 {
		b.mu.Lock()
		b.letIn()
		b.mu.Unlock()
	}
	return d, true
}

// depth returns the number of messages that wait for the reader, including those in its
// hand.
func (b *mailbox) depth() int {
	read := b.read.Load()
	if read&cut != 0 {
		return 0
	}
	return b.live + int(b.taken-read)
}

// end lets nothing more in, and reports whether the mailbox was open; the lock is held.
func (b *mailbox) end(why error) bool {
	open := b.why == nil
	if open {
		b.why = why
		close(b.done)
	}
	b.parked = false
	return open
}

// stop ends the mailbox and releases those that wait for room. If all is set, or if a
// goroutine reads that its owner must wait for, the queued messages are lost, and their
// memory is freed. stop reports whether the mailbox was open.
func (b *mailbox) stop(why error, all bool) bool {
	b.mu.Lock()
	open := b.end(why)
	if all || b.cancel != nil {
		b.discard()
	}
	for w := b.firstWaiter; w != nil; w = b.firstWaiter {
		b.unqueue(w)
		b.counts.closed++
		b.missedTail++
		w.result <- waitClosed
	}
	b.spareWaiter = nil
	b.mu.Unlock()
	b.signal()
	return open
}

// discard cuts the reader off, and drops the queued messages; the lock is held.
func (b *mailbox) discard() {
	if b.cancel != nil {
		b.cancel()
	}
	read := b.read.Or(cut)
	if read&cut != 0 {
		return
	}
	lost := uint64(b.live) + (b.taken - read)
	b.counts.closed += lost
	b.counts.unread += lost
	b.missedTail += lost
	b.live = 0
	b.slots, b.book, b.keys, b.seen = nil, nil, nil, nil
	b.head, b.tail, b.base = b.taken, b.taken, b.taken
}

// signal wakes the reader. One token too many only makes it look once more.
func (b *mailbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func saturate(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }
