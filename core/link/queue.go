package link

import "fmt"

// Priority selects the queue of a link.
type Priority uint8

const (
	// High is sent first; if its queue is full, the sender waits.
	High Priority = iota
	// Normal is for most messages.
	Normal
	// Low is sent when nothing else waits, and otherwise now and then.
	Low

	priorities = 3
)

// fairness is the number of messages that may pass a waiting one of lower priority before
// that one is sent. So a busy queue leaves a seventeenth to those below it, and never
// stops them.
const fairness = 16

// smallQueue is the capacity of a queue that is kept while it is empty.
const smallQueue = 64

func (p Priority) String() string {
	switch p {
	case High:
		return "high"
	case Normal:
		return "normal"
	case Low:
		return "low"
	}
	return fmt.Sprintf("priority %d", uint8(p))
}

// item is a frame that waits to be written. Frames are shared between links.
type item struct {
	frame []byte
	to    outcome // or nil
	i     int32   // passed to it
}

// outcome receives the result of an item, once and outside of locks: nil when the item
// was written, or the reason why it was not.
type outcome interface {
	sent(i int32, err error)
}

func (it item) tell(err error) {
	if it.to != nil {
		it.to.sent(it.i, err)
	}
}

// queue is a ring of items.
type queue struct {
	ring   []item // its length is a power of two
	head   int
	n      int
	bytes  int
	passed int // how many items of higher priority went before the first one here
}

func (q *queue) at(i int) *item { return &q.ring[(q.head+i)&(len(q.ring)-1)] }

func (q *queue) push(it item) {
	if q.n == len(q.ring) {
		larger := make([]item, max(8, 2*q.n))
		for i := range q.n {
			larger[i] = *q.at(i)
		}
		q.ring, q.head = larger, 0
	}
	q.n++
	*q.at(q.n - 1) = it
	q.bytes += len(it.frame)
}

func (q *queue) pop() item {
	first := q.at(0)
	it := *first
	*first = item{} // otherwise the ring would keep the frame
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	q.bytes -= len(it.frame)
	return it
}

// remove removes the item of an outcome, wherever it is.
func (q *queue) remove(to outcome, i int32) bool {
	for at := range q.n {
		if it := q.at(at); it.to != to || it.i != i {
			continue
		}
		q.bytes -= len(q.at(at).frame)
		for ; at < q.n-1; at++ {
			*q.at(at) = *q.at(at + 1)
		}
		*q.at(q.n - 1) = item{}
		q.n--
		return true
	}
	return false
}

// trim frees the memory of an empty queue.
func (q *queue) trim() {
	if q.n == 0 && len(q.ring) > smallQueue {
		q.ring, q.head = nil, 0
	}
}

// queues are the queues of one link.
type queues [priorities]queue

// next returns the priority whose turn it is, or false if all queues are empty. The turn
// does not change before take is called.
func (qs *queues) next() (Priority, bool) {
	for p := Priority(priorities - 1); p > 0; p-- {
		if q := &qs[p]; q.n > 0 && q.passed >= fairness {
			return p, true
		}
	}
	for p := range Priority(priorities) {
		if qs[p].n > 0 {
			return p, true
		}
	}
	return 0, false
}

// take removes the first item of the priority whose turn it is.
func (qs *queues) take(p Priority) item {
	for lower := p + 1; lower < priorities; lower++ {
		if qs[lower].n > 0 {
			qs[lower].passed++
		}
	}
	qs[p].passed = 0
	return qs[p].pop()
}
