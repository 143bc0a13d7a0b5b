package world

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// stream is what a link needs of a libp2p stream.
type stream interface {
	io.ReadWriter
	CloseWrite() error
	Reset() error
}

// link is a room's stream to one peer, with the seats behind it.
//
// Its reader puts what comes into a queue, which the tick empties. Its writer writes
// out, one tick at a time: while it does, writing is set, and the tick passes the
// link over.
type link struct {
	room   *Room
	peer   peer.ID
	stream stream

	mu      sync.Mutex
	queue   inbox
	listed  bool          // in the room's list of links that have something
	emptied chan struct{} // told when the queue was emptied
	seats   atomic.Int32
	seen    atomic.Uint32 // the last tick that the peer has told to have come
	broken  atomic.Bool   // the peer has broken the protocol
	writing atomic.Bool
	write   chan struct{}
	ended   chan struct{} // closed by end
	endOnce sync.Once

	before *link // of the same peer, which may still have seats

	// Of the tick.
	attached bool
	players  []*Player
	spare    inbox
	out      []byte // what the peer is told next
	taken    []byte // what is being written; the writer's, while writing
	sections []byte
	since    int64  // when the write under way began, or the link had its last seat
	told     uint32 // the last tick that was written
	closing  bool   // it is ended once out is written
}

// inbox is what came from a peer since the last tick.
type inbox struct {
	messages []arrived
	bytes    []byte
}

type arrived struct {
	kind     wire.Kind
	at       int64
	from, to int
}

func (in *inbox) body(m arrived) []byte { return in.bytes[m.from:m.to] }

func newLink(r *Room, p peer.ID, s stream) *link {
	return &link{
		room: r, peer: p, stream: s,
		emptied: make(chan struct{}, 1),
		write:   make(chan struct{}, 1),
		ended:   make(chan struct{}),
	}
}

// end has the link's reader and writer return, and the tick let go of it.
func (l *link) end() {
	l.endOnce.Do(func() {
		close(l.ended)
		_ = l.stream.Reset()
		l.room.notice(l)
	})
}

func (l *link) isEnded() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// run serves the stream until it ends.
func (l *link) run(messages *wire.Reader) {
	defer l.room.serving.Done()
	var writing sync.WaitGroup
	writing.Go(l.writeOut)
	if err := l.read(messages); errors.Is(err, wire.ErrMalformed) {
		l.broken.Store(true)
		l.room.opts.Logger.Warn("a player's peer broke the protocol of its room", "room", l.room.opts.Name, "peer", l.peer, "err", err)
	}
	l.end()
	writing.Wait()
}

// read puts what comes into the queue until the stream ends. A peer that sends more
// than its seats may is not read until it may again, so that its own stream fills up.
func (l *link) read(messages *wire.Reader) error {
	allowed := bucket{last: l.room.now()}
	for {
		kind, body, err := messages.Next()
		if err != nil {
			return err
		}
		switch kind {
		case wire.KindAck:
			ack, err := wire.DecodeAck(body)
			if err != nil {
				return err
			}
			l.seen.Store(ack.Seen)
		case wire.KindInput, wire.KindJoin, wire.KindLeave:
			if kind == wire.KindInput && len(body) > l.room.opts.InputSize+15 {
				return fmt.Errorf("%w: an input of more than the %d bytes that the room allows", wire.ErrMalformed, l.room.opts.InputSize)
			}
			if err := l.post(kind, body); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: kind %d", wire.ErrMalformed, kind)
		}
		rate := float64(l.room.opts.Inputs * max(1, int(l.seats.Load())))
		if wait := allowed.take(rate, l.room.now()); wait > 0 {
			select {
			case <-time.After(wait):
			case <-l.ended:
				return errLinkEnded
			}
		}
	}
}

var errLinkEnded = errors.New("the link has ended")

// post queues a message for the next tick, and waits while too much is queued.
func (l *link) post(kind wire.Kind, body []byte) error {
	for {
		l.mu.Lock()
		if len(l.queue.bytes) == 0 || len(l.queue.bytes)+len(body) <= maxQueue {
			break
		}
		l.mu.Unlock()
		select {
		case <-l.emptied:
		case <-l.ended:
			return errLinkEnded
		}
	}
	q := &l.queue
	from := len(q.bytes)
	q.bytes = append(q.bytes, body...)
	q.messages = append(q.messages, arrived{kind, l.room.now(), from, len(q.bytes)})
	listed := l.listed
	l.listed = true
	l.mu.Unlock()
	if !listed {
		l.room.notice(l)
	}
	return nil
}

// maxQueue bounds what of one peer waits for a tick, in bytes.
const maxQueue = 64 << 10

// take empties the queue into spare, which is valid until the next call.
func (l *link) take() *inbox {
	l.mu.Lock()
	l.spare, l.queue = l.queue, inbox{l.spare.messages[:0], l.spare.bytes[:0]}
	l.listed = false
	l.mu.Unlock()
	select {
	case l.emptied <- struct{}{}:
	default:
	}
	return &l.spare
}

// writeOut writes what the tick hands over until the link ends.
func (l *link) writeOut() {
	for {
		select {
		case <-l.write:
		case <-l.ended:
			return
		}
		if _, err := l.stream.Write(l.taken); err != nil {
			l.end()
			return
		}
		closing := l.closing
		l.writing.Store(false)
		if closing {
			_ = l.stream.CloseWrite()
			return
		}
	}
}

// flush hands out over to the writer, while nothing is being written.
func (l *link) flush(now int64) {
	if len(l.out) == 0 {
		return
	}
	l.taken, l.out = l.out, l.taken[:0]
	l.since = now
	l.writing.Store(true)
	l.write <- struct{}{}
}

// bucket is a token bucket that holds what a second brings.
type bucket struct {
	tokens float64 // less than full, by so many
	last   int64
}

// take takes one, and returns how long to wait before the next.
func (b *bucket) take(rate float64, now int64) time.Duration {
	b.tokens = min(0, b.tokens+rate*float64(now-b.last)/1e9) - 1
	b.last = now
	if b.tokens >= -rate {
		return 0
	}
	return time.Duration((-rate - b.tokens) / rate * 1e9)
}
