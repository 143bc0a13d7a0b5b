package dispatch

import (
	"context"
	"math"
	"sync"
	"sync/atomic"

	"github.com/tombolo-net/tombolo/core/message"
)

// mailbox is the bounded queue of one subscription: a ring that grows up to its
// bound. Positions count up for ever; a position's place in the ring is its
// remainder.
//
//	reader's own: [read, taken)    queued: [head, tail), with holes where a message was lost
//
// The reader takes a few messages at a time, so that it rarely meets a publisher
// at the lock. What it has in hand counts against the bound until it is
// delivered, message by message.
type mailbox struct {
	// What the reader touches for each message: 64 bytes, a line of the
	// processor's cache, in which publishers find nothing they need.

	// read is the position the reader is at. Its top bit is set when the rest
	// is not to be read any more.
	read     atomic.Uint64
	waiting  atomic.Int32 // how many wait for room
	hand     []item       // the reader's own, from here: the slots at the time
	next     uint64       // what of them it delivers next, up to last
	last     uint64
	inherits uint64 // lost before next, beside what the item says

	told uint64 // the reader's own too: the sum of Missed so far

	mu     sync.Mutex
	wake   chan struct{} // one token: the reader is parked no longer
	parked bool          // the reader wants one
	policy policy
	bound  int
	batch  uint64 // the most a reader takes at a time

	slots    []item // its length is a power of two, or zero
	head     uint64
	tail     uint64
	live     int    // queued messages; the rest of [head, tail) is holes
	taken    uint64 // end of what the reader took last
	readSeen uint64 // what read was when last looked at
	base     uint64 // slots of positions before it are free
	handHere bool   // what the reader took last lies in slots, not in a former ring

	missedHead uint64 // lost before head
	missedTail uint64 // lost after the last message

	why    error         // why nothing more is put in; nil while open
	done   chan struct{} // closed when why is set
	counts counts

	cancel context.CancelFunc // ends the goroutine of a handler or a channel; nil without one
	served chan struct{}      // closed when that goroutine has ended

	book *book   // who has how many places; nil unless the mailbox overflowed
	keys *keys   // nil unless latestPerKey
	seen *memory // nil unless de-duplicating

	firstWaiter, lastWaiter *waiter
	spareWaiter             *waiter
}

// item is a place in the ring.
type item struct {
	m      *message.Message // nil: a hole
	missed uint32           // lost right before it, and with a hole also it itself
	key    uint32           // its number in keys, if any
}

const (
	cut      = 1 << 63 // in read: nothing more is to be read
	maxBatch = 64      // messages
	minRing  = 8       // slots
)

func (b *mailbox) init(bound int, p policy, keyed bool) {
	b.wake, b.done = make(chan struct{}, 1), make(chan struct{})
	b.bound, b.policy = bound, p
	// What the reader has in hand can be neither dropped nor replaced: none of
	// it where new messages matter most, and else little, to be fair.
	b.batch = 1
	if p == dropNewest || p == block || p == closeOnOverflow {
		b.batch = uint64(min(max(bound/8, 1), maxBatch))
	}
	if keyed {
		b.keys = newKeys()
	}
}

func (b *mailbox) slot(pos uint64) *item { return &b.slots[pos&uint64(len(b.slots)-1)] }

// full says whether there is no room for one more.
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

// makeRoom frees slots: those the reader is done with, else those of holes, and
// where these are few it makes the ring longer.
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
	case b.live+int(from-b.base) >= len(old)*3/4: // or it would be a new one for each hand
		b.slots = make([]item, max(minRing, 2*len(old)))
	case b.base != b.head: // the reader goes on with the old ones
		b.slots = make([]item, len(old))
	}
	b.base, b.handHere = b.head, b.handHere && b.base == b.head && len(b.slots) == len(old)
	// Packed towards the front; the losses of a hole go to what comes after it.
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

// evict loses the queued message at pos.
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

// forgetItem takes a message that leaves the queue out of what is kept beside it.
func (b *mailbox) forgetItem(it *item) {
	if b.book != nil {
		b.book.remove(it.m.From)
	}
	if it.key != 0 {
		b.keys.remove(it.key)
		it.key = 0
	}
}

// take gives the reader its next few messages and says whether there were any.
// If not, it says why there will be none, or, if park is set and ended is nil,
// the reader is due a token.
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

// rest is what was lost that no delivery told of, in a mailbox that ended.
func (b *mailbox) rest() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts.dropped().Total() - b.told
}

// deliver hands out the next message in hand, if there is one. After the reader
// was cut off, there is none.
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

// depth is how many wait for the reader, those in its hand included.
func (b *mailbox) depth() int {
	read := b.read.Load()
	if read&cut != 0 {
		return 0
	}
	return b.live + int(b.taken-read)
}

// end lets nothing more in, and says whether it was open; under the lock.
func (b *mailbox) end(why error) bool {
	open := b.why == nil
	if open {
		b.why = why
		close(b.done)
	}
	b.parked = false
	return open
}

// stop is end, and lets those who wait for room go. With all set, or where a
// goroutine reads that its owner is to wait for, what is queued is lost, and the
// memory let go. It says whether the mailbox was open.
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

// discard cuts the reader off; under the lock.
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

// signal wakes the reader. A token too many costs it one look.
func (b *mailbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func saturate(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }
