// Package feed delivers events to subscribers. A reader that is too slow loses the oldest
// events, and receives their number.
package feed

import (
	"context"
	"errors"
	"sync"
)

// Buffer is the number of events that may wait for a reader.
const Buffer = 256

// ErrClosed is returned by Next when the reader or its feed is closed and all earlier
// events have been read.
var ErrClosed = errors.New("feed is closed")

// Feed sends events to its readers. The zero value is ready. All methods may be called
// concurrently.
type Feed[T any] struct {
	mu      sync.Mutex
	readers map[*Reader[T]]struct{}
	closed  bool
}

// Reader is one subscription. One goroutine at a time may call Next; Close may
// be called from any.
type Reader[T any] struct {
	feed   *Feed[T]
	mu     sync.Mutex
	queue  []T
	missed int
	ready  chan struct{} // holds a token while there is something to read
	closed chan struct{}
	once   sync.Once
}

// Subscribe returns a reader of all events from now on.
func (f *Feed[T]) Subscribe() *Reader[T] {
	r := &Reader[T]{feed: f, ready: make(chan struct{}, 1), closed: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		r.end()
		return r
	}
	if f.readers == nil {
		f.readers = make(map[*Reader[T]]struct{})
	}
	f.readers[r] = struct{}{}
	return r
}

// Emit sends an event to every reader. It never waits.
func (f *Feed[T]) Emit(news T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for r := range f.readers {
		r.put(news)
	}
}

// Listened reports whether there is a reader.
func (f *Feed[T]) Listened() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.readers) > 0
}

// Close ends every reader, and those that subscribe later.
func (f *Feed[T]) Close() {
	f.mu.Lock()
	readers := f.readers
	f.readers, f.closed = nil, true
	f.mu.Unlock()
	for r := range readers {
		r.end()
	}
}

// Next waits for the next event. If missed is not 0, news is empty, and this reader has
// lost that many events that came before the next one.
func (r *Reader[T]) Next(ctx context.Context) (news T, missed int, err error) {
	for {
		if news, missed, ok := r.take(); ok {
			return news, missed, nil
		}
		select {
		case <-r.ready:
		case <-ctx.Done():
			return news, 0, ctx.Err()
		case <-r.closed:
			if news, missed, ok := r.take(); ok {
				return news, missed, nil
			}
			return news, 0, ErrClosed
		}
	}
}

// Close ends the subscription. It may be called more than once.
func (r *Reader[T]) Close() {
	r.feed.mu.Lock()
	delete(r.feed.readers, r)
	r.feed.mu.Unlock()
	r.end()
}

func (r *Reader[T]) end() { r.once.Do(func() { close(r.closed) }) }

func (r *Reader[T]) take() (news T, missed int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.missed > 0 {
		missed, r.missed = r.missed, 0
		return news, missed, true
	}
	if len(r.queue) == 0 {
		return news, 0, false
	}
	news = r.queue[0]
	r.queue = r.queue[1:]
	return news, 0, true
}

func (r *Reader[T]) put(news T) {
	r.mu.Lock()
	if len(r.queue) >= Buffer {
		r.queue = r.queue[1:]
		r.missed++
	}
	r.queue = append(r.queue, news)
	r.mu.Unlock()
	select {
	case r.ready <- struct{}{}:
	default:
	}
}
