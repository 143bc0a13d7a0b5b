package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// The reasons why a link takes nothing more, besides ErrClosed, ErrLost and
// ErrUnreachable.
var (
	errEnded = errors.New("link has ended")
	errIdle  = errors.New("link was idle")
	errStuck = fmt.Errorf("%w: the peer took nothing for too long", ErrLost)
	errMoved = errors.New("link has moved to another connection")
	errHalf  = fmt.Errorf("%w: the peer paused in an answer for too long", ErrLost)
)

// outgoing is a link: the messages that wait for a peer, and the stream on which they
// leave and the answers to requests come back.
type outgoing struct {
	links  *Links
	peer   peer.ID
	cancel context.CancelFunc // cancels opening
	wake   chan struct{}      // of capacity 1: wakes the sleeping writer
	writes writer
	reads  reader          // used after the first write
	turn   <-chan struct{} // closed when the link may send; nil if it has replaced none

	mu        sync.Mutex
	queues    queues
	calls     map[uint64]*call // by ID.Seq: requests without an answer
	room      chan struct{}    // closed when High has room, or the link ends; nil if nobody waits
	stream    network.Stream   // nil until open
	writing   bool
	asleep    bool
	used      bool // since the last look for idle links
	idleSince time.Time
	ended     error  // why nothing more is taken, or nil
	handOver  func() // lets the link that replaces this one send; nil if there is none
	asked     bool   // the peer was asked whether it has read everything: see finish
}

// push queues an item, or returns errEnded or ErrQueueFull.
func (o *outgoing) push(it item, prio Priority) error {
	o.mu.Lock()
	if o.ended != nil || o.handOver != nil {
		o.mu.Unlock()
		return errEnded
	}
	if o.isFull(prio, len(it.frame)) {
		o.mu.Unlock()
		return ErrQueueFull
	}
	o.enqueue(it, prio)
	wake := o.asleep
	o.asleep = false
	o.mu.Unlock()
	if wake {
		o.wake <- struct{}{} // does not block: only the one that resets asleep sends
	}
	return nil
}

// enqueue queues an item. o.mu is held.
func (o *outgoing) enqueue(it item, prio Priority) {
	o.queues[prio].push(it)
	if c, ok := it.to.(*call); ok {
		if o.calls == nil {
			o.calls = make(map[uint64]*call)
		}
		o.calls[c.id] = c
	}
	o.used = true
}

// isFull reports whether a queue has no room for a frame of that many bytes. o.mu is
// held.
func (o *outgoing) isFull(prio Priority, frame int) bool {
	q := &o.queues[prio]
	return q.n > 0 && (q.n >= o.links.opts.QueueMessages || q.bytes+frame > o.links.opts.QueueBytes)
}

// roomInHigh returns a channel that is closed when the queue High may have room for a
// frame of that many bytes.
func (o *outgoing) roomInHigh(frame int) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended != nil || o.handOver != nil || !o.isFull(High, frame) {
		return closedChan
	}
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// signalRoom is called with o.mu held.
func (o *outgoing) signalRoom() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

// withdraw removes an item that is still queued, and counts it as expired. It does not
// report to the item's outcome.
func (o *outgoing) withdraw(prio Priority, to outcome, i int32) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.queues[prio].remove(to, i) {
		return false
	}
	o.links.count.expired.Add(1)
	if prio == High {
		o.signalRoom()
	}
	return true
}

func (o *outgoing) isOpen() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stream != nil
}

// end makes the link take nothing more, and its writer finish. Only the first
// reason counts.
func (o *outgoing) end(why error) {
	o.mu.Lock()
	if o.ended != nil {
		o.mu.Unlock()
		return
	}
	o.ended = why
	o.signalRoom()
	stuck := o.stream
	if !o.writing {
		stuck = nil
	}
	wake := o.asleep
	o.asleep = false
	o.mu.Unlock()
	o.cancel()
	if stuck != nil {
		_ = stuck.Reset()
	}
	if wake {
		o.wake <- struct{}{}
	}
}

// run opens the stream, unless there is one, and writes what is queued until the link
// ends. Then it fails the messages that are left.
func (o *outgoing) run(ctx context.Context) {
	defer o.cancel()
	s, err := o.open(ctx)
	if err == nil {
		err = o.awaitTurn(ctx)
	}
	if err == nil {
		err = o.write(s)
	}
	o.end(err)
	o.writes.release()

	o.mu.Lock()
	why, handOver := o.ended, o.handOver
	o.stream = nil
	var left []item
	for p := range o.queues {
		for q := &o.queues[p]; q.n > 0; {
			left = append(left, q.pop())
		}
		o.queues[p].trim()
	}
	o.mu.Unlock()
	quiet := errors.Is(why, errIdle) || errors.Is(why, errMoved) || errors.Is(why, ErrClosed)
	if s != nil {
		// A reset could lose messages that were written.
		if !quiet || err != nil || s.Close() != nil {
			_ = s.Reset()
		}
	}
	o.links.forget(o)
	o.links.count.lost.Add(uint64(len(left) + len(o.writes.batch)))
	defer o.links.program.Enter()()
	o.writes.tell(why)
	for _, it := range left {
		it.tell(why)
	}
	o.failCalls(why)
	if handOver != nil {
		handOver()
	}
	if !quiet {
		o.links.log.Debug("link ended", "peer", o.peer, "queued", len(left), "error", why)
	}
}

func (o *outgoing) open(ctx context.Context) (network.Stream, error) {
	if o.turn != nil {
		return o.stream, nil
	}
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, o.links.opts.OpenTimeout)
	defer cancel()
	s, err := o.links.opts.Open(ctx, o.peer, Protocol)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	o.mu.Lock()
	o.stream = s
	o.mu.Unlock()
	o.links.move(whole, o.peer) // a better connection may have come meanwhile
	return s, nil
}

// write writes batches until the link ends, and returns nil then. If a write fails, it
// returns the error.
func (o *outgoing) write(s network.Stream) error {
	for reading := false; o.next(); reading = true {
		if err := o.writes.flush(s); err != nil {
			return fmt.Errorf("%w: write to %s: %w", ErrLost, o.peer, err)
		}
		if !reading {
			// Not before the first write, which also carries the negotiation of the
			// protocol.
			o.links.goroutines.Go(func() { o.readAnswers(s) })
		}
	}
	return nil
}

// next waits for something to write and makes it the batch. It returns false
// when the link has ended.
func (o *outgoing) next() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writing = false
	for {
		if o.ended != nil {
			return false
		}
		if o.takeBatch() {
			o.writing = true
			return true
		}
		if o.finish() || o.ended != nil {
			continue
		}
		for p := range o.queues {
			o.queues[p].trim()
		}
		o.asleep = true
		o.mu.Unlock()
		o.writes.release()
		<-o.wake
		o.mu.Lock()
	}
}

// takeBatch makes a batch, if anything is queued, and wakes those that wait for room.
func (o *outgoing) takeBatch() bool {
	high := o.queues[High].n
	taken := o.writes.take(&o.queues)
	if o.queues[High].n < high {
		o.signalRoom()
	}
	return taken
}

// readAnswers reads the answers to the requests of the link until the stream ends. Then
// it ends the link.
func (o *outgoing) readAnswers(s network.Stream) {
	o.reads.open(o.links, s)
	var m *message.Message
	var err error
	for err == nil {
		if m, err = o.reads.next(); err == nil {
			err = o.answered(m)
		}
	}
	if ended(err) {
		err = errors.New("it ended the stream")
	}
	o.links.judge(o.peer, err)
	o.end(fmt.Errorf("%w: %s: %w", ErrLost, o.peer, err))
}

// endIfIdle ends a link on which nothing was sent for as long as limit.
func (o *outgoing) endIfIdle(now time.Time, limit time.Duration) {
	o.mu.Lock()
	busy := o.used || !o.asleep || len(o.calls) > 0
	o.used = false
	if busy {
		o.idleSince = now
	}
	idle := !busy && now.Sub(o.idleSince) >= limit
	if !idle || o.ended != nil {
		o.mu.Unlock()
		return
	}
	// The writer is asleep: nothing is queued, and from here on nothing will be.
	o.ended = errIdle
	o.asleep = false
	o.mu.Unlock()
	o.wake <- struct{}{}
}
