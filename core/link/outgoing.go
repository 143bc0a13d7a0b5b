package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// writeBuffer bounds what leaves in one write, in bytes: with its headers it
// fills one frame of the muxer.
const writeBuffer = 64<<10 - 64

var writeBuffers = sync.Pool{New: func() any { return new([writeBuffer]byte) }}

// Why a link takes nothing more, besides ErrClosed, ErrLost and ErrUnreachable.
var (
	errEnded = errors.New("link has ended")
	errIdle  = errors.New("link was idle")
	errStuck = fmt.Errorf("%w: the peer took nothing for too long", ErrLost)
)

// outgoing is a link: what waits for a peer, and the stream it leaves on.
type outgoing struct {
	links  *Links
	peer   peer.ID
	cancel context.CancelFunc // ends opening
	wake   chan struct{}      // of capacity 1: there is something for the sleeping writer
	stall  stall

	// Of the writer alone.
	batch  []item
	buffer *[writeBuffer]byte // of writeBuffers, or nil

	mu        sync.Mutex
	queues    queues
	calls     map[uint64]*call // by ID.Seq: requests without an answer
	room      chan struct{}    // closed when High has room, or the link ends; nil if nobody waits
	stream    network.Stream   // nil until open
	writing   bool
	asleep    bool
	used      bool // since the last look for idle links
	idleSince time.Time
	ended     error // why no more is taken, or nil
}

// push queues an item, or returns errEnded or ErrQueueFull.
func (o *outgoing) push(it item, prio Priority) error {
	o.mu.Lock()
	if o.ended != nil {
		o.mu.Unlock()
		return errEnded
	}
	if o.isFull(prio, len(it.frame)) {
		o.mu.Unlock()
		return ErrQueueFull
	}
	o.queues[prio].push(it)
	if c, ok := it.to.(*call); ok {
		if o.calls == nil {
			o.calls = make(map[uint64]*call)
		}
		o.calls[c.id] = c
	}
	o.used = true
	wake := o.asleep
	o.asleep = false
	o.mu.Unlock()
	if wake {
		o.wake <- struct{}{} // has room: one who takes asleep back sends one
	}
	return nil
}

// isFull says whether a queue has no room for a frame of that many bytes. o.mu
// is held.
func (o *outgoing) isFull(prio Priority, frame int) bool {
	q := &o.queues[prio]
	return q.n > 0 && (q.n >= o.links.opts.QueueMessages || q.bytes+frame > o.links.opts.QueueBytes)
}

// roomInHigh is closed when there may be room again for a frame of that many
// bytes.
func (o *outgoing) roomInHigh(frame int) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended != nil || !o.isFull(High, frame) {
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

// withdraw takes an item back that is still queued, and counts it as expired.
// Its outcome is not told.
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

// run opens the stream, writes what is queued until the link ends, and tells
// those whose messages were left.
func (o *outgoing) run(ctx context.Context) {
	defer o.cancel()
	s, err := o.open(ctx)
	if err == nil {
		err = o.write(s)
	}
	o.end(err)
	o.release()

	o.mu.Lock()
	why := o.ended
	o.stream = nil
	var left []item
	for p := range o.queues {
		for q := &o.queues[p]; q.n > 0; {
			left = append(left, q.pop())
		}
		o.queues[p].trim()
	}
	o.mu.Unlock()
	quiet := errors.Is(why, errIdle) || errors.Is(why, ErrClosed)
	if s != nil {
		// What was written is not to be lost by a reset.
		if !quiet || err != nil || s.Close() != nil {
			_ = s.Reset()
		}
	}
	o.links.forget(o)
	o.links.count.lost.Add(uint64(len(left) + len(o.batch)))
	for _, it := range append(o.batch, left...) {
		it.tell(why)
	}
	o.batch = nil
	o.failCalls(why)
	if !quiet {
		o.links.log.Debug("link ended", "peer", o.peer, "queued", len(left), "error", why)
	}
}

func (o *outgoing) open(ctx context.Context) (network.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, o.links.opts.OpenTimeout)
	defer cancel()
	s, err := o.links.opts.Open(ctx, o.peer, Protocol)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	o.mu.Lock()
	o.stream = s
	o.mu.Unlock()
	return s, nil
}

// write writes batches until the link ends, and returns nil then, or why it
// ended.
func (o *outgoing) write(s network.Stream) error {
	for watched := false; o.next(); watched = true {
		bytes, err := o.writeBatch(s)
		if err != nil {
			return fmt.Errorf("%w: write to %s: %w", ErrLost, o.peer, err)
		}
		o.links.count.batches.Add(1)
		o.links.count.sent.Add(uint64(len(o.batch)))
		o.links.count.sentBytes.Add(uint64(bytes))
		for i, it := range o.batch {
			it.tell(nil)
			o.batch[i] = item{}
		}
		o.batch = o.batch[:0]
		if !watched {
			// Not before the first write, which takes the protocol's
			// negotiation along.
			o.links.goroutines.Go(func() { o.watch(s) })
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
		for p := range o.queues {
			o.queues[p].trim()
		}
		o.asleep = true
		o.mu.Unlock()
		o.release()
		<-o.wake
		o.mu.Lock()
	}
}

// takeBatch takes what fits into one write, and at least one item where there
// is any.
func (o *outgoing) takeBatch() bool {
	high := o.queues[High].n
	for bytes := 0; ; {
		p, ok := o.queues.next()
		if !ok {
			break
		}
		bytes += len(o.queues[p].at(0).frame)
		if bytes > writeBuffer && len(o.batch) > 0 {
			break // it is the first of the next one
		}
		o.batch = append(o.batch, o.queues.take(p))
	}
	if o.queues[High].n < high {
		o.signalRoom()
	}
	return len(o.batch) > 0
}

// writeBatch writes the batch: copied together if it is several, as it is if it
// is one.
func (o *outgoing) writeBatch(s network.Stream) (bytes int, err error) {
	if len(o.batch) == 1 {
		frame := o.batch[0].frame
		return len(frame), o.writeAll(s, frame)
	}
	if o.buffer == nil {
		o.buffer = writeBuffers.Get().(*[writeBuffer]byte)
	}
	b := o.buffer[:0]
	for _, it := range o.batch {
		b = append(b, it.frame...)
	}
	return len(b), o.writeAll(s, b)
}

// writeAll writes in steps whose progress can be watched.
func (o *outgoing) writeAll(s io.Writer, b []byte) error {
	defer o.stall.rest()
	for len(b) > 0 {
		o.stall.step()
		step := b[:min(len(b), writeBuffer)]
		if _, err := s.Write(step); err != nil {
			return err
		}
		b = b[len(step):]
	}
	return nil
}

func (o *outgoing) release() {
	if o.buffer != nil {
		writeBuffers.Put(o.buffer)
		o.buffer = nil
	}
	if cap(o.batch) > smallQueue && len(o.batch) == 0 {
		o.batch = nil
	}
}

// watch sees when the far side ends the stream, on which it writes nothing.
func (o *outgoing) watch(s network.Stream) {
	n, err := s.Read(make([]byte, 1))
	switch {
	case n > 0:
		err = errors.New("it writes where it should read")
	case errors.Is(err, io.EOF):
		err = errors.New("it ended the stream")
	}
	o.end(fmt.Errorf("%w: %s: %w", ErrLost, o.peer, err))
}

// endIfIdle ends a link that nothing was sent on for as long as limit.
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
	// Asleep: nothing is queued, and from here on nothing will be.
	o.ended = errIdle
	o.asleep = false
	o.mu.Unlock()
	o.wake <- struct{}{}
}
