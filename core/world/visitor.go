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

// stream is the part of a libp2p stream that a visitor needs.
type stream interface {
	io.ReadWriter
	CloseWrite() error
	Reset() error
}

// visitor is a room's stream to one peer, with the peer's seats.
//
// Its reader puts what comes into a queue, which the tick empties. Its writer writes out,
// one tick at a time; meanwhile writing is set, and the tick skips the visitor.
type visitor struct {
	room   *Room
	peer   peer.ID
	stream stream

	mu      sync.Mutex
	queue   inbox
	listed  bool          // in the room's list of visitors with something for the tick
	emptied chan struct{} // signals that the queue was emptied
	early   early
	recalls []recalled // what is kept of the players that ask for a seat
	seats   atomic.Int32
	seen    atomic.Uint32 // the last tick that the peer has acknowledged
	broken  atomic.Bool   // the peer has broken the protocol
	writing atomic.Bool
	write   chan struct{}
	urgent  chan []byte   // what is written between two ticks
	ended   chan struct{} // closed by end
	endOnce sync.Once

	before *visitor // an earlier visitor of the same peer, which may still have seats

	// The fields of the tick.
	attached bool
	players  []*Player
	spare    inbox
	out      []byte // what the peer gets next
	taken    []byte // what is being written; the writer's, while writing
	sections []byte
	loose    looseOut
	since    int64  // when the current write began, or when its last seat ended
	told     uint32 // the last tick that was written
	closing  bool   // the stream ends once out is written
}

// inbox holds what came from a peer since the last tick.
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

func newVisitor(r *Room, p peer.ID, s stream) *visitor {
	return &visitor{
		room: r, peer: p, stream: s,
		emptied: make(chan struct{}, 1),
		write:   make(chan struct{}, 1),
		urgent:  make(chan []byte, 1),
		ended:   make(chan struct{}),
	}
}

// end makes the visitor's reader and writer return, and the tick drop it.
func (v *visitor) end() {
	v.endOnce.Do(func() {
		close(v.ended)
		_ = v.stream.Reset()
		v.room.notice(v)
	})
}

func (v *visitor) isEnded() bool {
	select {
	case <-v.ended:
		return true
	default:
		return false
	}
}

// run serves the stream until it ends.
func (v *visitor) run(messages *wire.Reader) {
	defer v.room.serving.Done()
	var writing sync.WaitGroup
	writing.Go(v.writeOut)
	defer v.loose.close()
	if err := v.read(messages); errors.Is(err, wire.ErrMalformed) {
		v.broken.Store(true)
		v.room.opts.Logger.Warn("a player's peer broke the protocol of its room", "room", v.room.opts.Name, "peer", v.peer, "error", err)
	}
	v.end()
	writing.Wait()
}

// read puts what comes into the queue until the stream ends. If a peer sends more than
// its seats may, read pauses, so that the peer's own stream fills up.
func (v *visitor) read(messages *wire.Reader) error {
	allowed := bucket{last: v.room.now()}
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
			v.seen.Store(ack.Seen)
		case wire.KindDatagrams:
			l, err := wire.DecodeDatagrams(body)
			if err != nil {
				return err
			}
			v.openLane(l.Lane)
		case wire.KindInput, wire.KindJoin, wire.KindLeave, wire.KindArrive, wire.KindParted:
			if kind == wire.KindInput && len(body) > v.room.opts.InputSize+15 {
				return fmt.Errorf("%w: an input of more than the %d bytes that the room allows", wire.ErrMalformed, v.room.opts.InputSize)
			}
			if (kind == wire.KindJoin || kind == wire.KindArrive) && v.room.keep != nil {
				v.room.keep.read(v, kind, body)
			}
			if err := v.post(kind, body); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: kind %d", wire.ErrMalformed, kind)
		}
		rate := float64(v.room.opts.Inputs * max(1, int(v.seats.Load())))
		if wait := allowed.take(rate, v.room.now()); wait > 0 {
			select {
			case <-time.After(wait):
			case <-v.ended:
				return errGone
			}
		}
	}
}

var errGone = errors.New("the visitor is gone")

// post queues a message for the next tick, and waits while too much is queued.
func (v *visitor) post(kind wire.Kind, body []byte) error {
	for {
		v.mu.Lock()
		if len(v.queue.bytes) == 0 || len(v.queue.bytes)+len(body) <= maxQueue {
			break
		}
		v.mu.Unlock()
		select {
		case <-v.emptied:
		case <-v.ended:
			return errGone
		}
	}
	if !v.early.isNew(kind, body) {
		v.mu.Unlock()
		return nil
	}
	v.enqueue(kind, body)
	return nil
}

// enqueue is called with mu held, and unlocks it.
func (v *visitor) enqueue(kind wire.Kind, body []byte) {
	q := &v.queue
	from := len(q.bytes)
	q.bytes = append(q.bytes, body...)
	q.messages = append(q.messages, arrived{kind, v.room.now(), from, len(q.bytes)})
	listed := v.listed
	v.listed = true
	v.mu.Unlock()
	if !listed {
		v.room.notice(v)
	}
}

// maxQueue bounds what waits for a tick from one peer, in bytes.
const maxQueue = 64 << 10

// take empties the queue into spare, which is valid until the next call.
func (v *visitor) take() *inbox {
	v.mu.Lock()
	v.spare, v.queue = v.queue, inbox{v.spare.messages[:0], v.spare.bytes[:0]}
	v.listed = false
	v.mu.Unlock()
	select {
	case v.emptied <- struct{}{}:
	default:
	}
	return &v.spare
}

// writeOut writes what the tick passes to it until the visitor ends.
func (v *visitor) writeOut() {
	for {
		select {
		case <-v.write:
		case message := <-v.urgent:
			if _, err := v.stream.Write(message); err != nil {
				v.end()
				return
			}
			continue
		case <-v.ended:
			return
		}
		if _, err := v.stream.Write(v.taken); err != nil {
			v.end()
			return
		}
		closing := v.closing
		v.writing.Store(false)
		if closing {
			_ = v.stream.CloseWrite()
			return
		}
	}
}

// sayNow sends a message before the next tick. It returns false if another one waits
// already.
func (v *visitor) sayNow(message []byte) bool {
	select {
	case v.urgent <- message:
		return true
	default:
		return false
	}
}

// flush passes out to the writer. It is called while nothing is being written.
func (v *visitor) flush(now int64) {
	if len(v.out) == 0 {
		return
	}
	v.taken, v.out = v.out, v.taken[:0]
	v.since = now
	v.writing.Store(true)
	v.write <- struct{}{}
}

// bucket is a token bucket that holds the tokens of one second.
type bucket struct {
	tokens float64 // 0 when full, otherwise minus the number missing
	last   int64
}

// take takes one token, and returns how long to wait before the next.
func (b *bucket) take(rate float64, now int64) time.Duration {
	b.tokens = min(0, b.tokens+rate*float64(now-b.last)/1e9) - 1
	b.last = now
	if b.tokens >= -rate {
		return 0
	}
	return time.Duration((-rate - b.tokens) / rate * 1e9)
}
