//go:build js

package jsio

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall/js"
	"time"
)

// ErrReadClosed is returned by Read after Cancel.
var ErrReadClosed = errors.New("closed for reading")

const (
	// firstView and maxView bound, in bytes, the memory that is passed to one read of a
	// stream that fills memory of ours. The size grows while reads fill it completely, so a
	// stream of small messages stays small.
	firstView = 4 << 10
	maxView   = 128 << 10
	// maxRead bounds a chunk, in bytes, if the platform brings its own memory.
	maxRead = 16 << 20
)

// Reader reads a ReadableStream of bytes. Its methods may be called
// concurrently; concurrent Reads take turns.
//
// It holds at most one chunk that JavaScript has delivered and nobody has read, and asks
// for the next only once that one is used up: a slow reader stops the platform, and
// through it the sender. While no Read waits and the chunks are small, it does not ask
// for more.
type Reader struct {
	stream  js.Value
	reader  js.Value
	failure func(js.Value) error
	turn    chan struct{} // holds a token while a Read runs
	ready   chan struct{} // holds a token after buf or err has changed
	expiry  Deadline

	onChunk, onFailure js.Func

	mu       sync.Mutex
	view     int      // bytes to ask for; 0 if the platform brings its own memory
	memory   js.Value // the ArrayBuffer to ask with, of view bytes; undefined at first
	buf      []byte   // not yet read; lies in store
	store    []byte   // reused for each chunk
	asked    bool     // read() has been called and not settled
	released bool
	err      error // why nothing follows buf
}

// NewReader locks stream and returns a Reader of it. failure converts the value that the
// stream fails with to an error; if nil, AsError.
func NewReader(stream js.Value, failure func(js.Value) error) *Reader {
	if failure == nil {
		failure = AsError
	}
	r := &Reader{
		stream:  stream,
		failure: failure,
		turn:    make(chan struct{}, 1),
		ready:   make(chan struct{}, 1),
	}
	// A stream that fills the memory it is given saves a new ArrayBuffer for each chunk.
	var err error
	if r.reader, err = Try(func() js.Value { return stream.Call("getReader", byob()) }); err == nil {
		r.view = firstView
	} else {
		r.reader = stream.Call("getReader")
	}
	r.onChunk = NewFunc(r.chunk)
	r.onFailure = NewFunc(r.failed)
	return r
}

var byob = sync.OnceValue(func() js.Value { return js.ValueOf(map[string]any{"mode": "byob"}) })

// Read reads the data that has arrived, waiting for at least one byte. It returns io.EOF
// at the end of the stream and os.ErrDeadlineExceeded past the deadline.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.expiry.Expired() {
		return 0, os.ErrDeadlineExceeded
	}
	select {
	case r.turn <- struct{}{}:
	case <-r.expiry.Wait():
		return 0, os.ErrDeadlineExceeded
	}
	defer func() { <-r.turn }()
	for {
		if n, err := r.take(p); n > 0 || err != nil {
			return n, err
		}
		select {
		case <-r.ready:
		case <-r.expiry.Wait():
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (r *Reader) take(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	if len(r.buf) > 0 {
		return n, nil
	}
	if r.err != nil {
		if n > 0 {
			return n, nil
		}
		return 0, r.err
	}
	if !r.asked && (n == 0 || r.view == maxView) {
		r.ask() // ahead of the next Read, if there is much to come
	}
	return n, nil
}

// ask asks for the next chunk. The mutex is held.
func (r *Reader) ask() {
	r.asked = true
	var promised js.Value
	if r.view == 0 {
		promised = r.reader.Call("read")
	} else if r.memory.IsUndefined() {
		promised = r.reader.Call("read", uint8Array.New(r.view))
	} else {
		promised = r.reader.Call("read", uint8Array.New(r.memory))
	}
	promised.Call("then", r.onChunk, r.onFailure)
}

// SetReadDeadline sets the time after which Read fails; the zero time means never.
func (r *Reader) SetReadDeadline(t time.Time) error {
	r.expiry.Set(t)
	return nil
}

// Cancel stops reading: waiting Reads fail with ErrReadClosed, and reason is sent to the
// sender if the stream supports that.
func (r *Reader) Cancel(reason any) { r.Fail(ErrReadClosed, reason) }

// Fail does the same as Cancel, but Reads return err. The first error of a stream stays.
func (r *Reader) Fail(err error, reason any) {
	r.mu.Lock()
	first := r.err == nil
	r.end(err)
	r.mu.Unlock()
	if first {
		r.reader.Call("cancel", reason).Call("then", Ignore, Ignore)
	}
}

// Detach returns the stream, unlocked, for JavaScript to read; later Reads fail with
// ErrReadClosed. If Go holds data already, or waits for some, or the stream has ended,
// the stream stays with the Reader and ok is false.
func (r *Reader) Detach() (stream js.Value, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil || r.asked || len(r.buf) > 0 {
		return js.Undefined(), false
	}
	r.end(ErrReadClosed)
	r.reader.Call("releaseLock")
	return r.stream, true
}

// end records why nothing follows. The mutex is held.
func (r *Reader) end(err error) {
	if r.err == nil {
		r.err = err
		if err != io.EOF {
			r.buf = nil
		}
	}
	if !r.asked && !r.released {
		r.released = true
		r.memory = js.Undefined()
		Release(r.onChunk)
		Release(r.onFailure)
	}
	r.wake()
}

func (r *Reader) wake() {
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

func (r *Reader) chunk(_ js.Value, args []js.Value) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = false
	if r.err != nil || args[0].Get("done").Truthy() {
		r.end(io.EOF)
		return nil
	}
	data := args[0].Get("value")
	if r.view == 0 { // otherwise it is the view that ask made
		c, err := copyOf(data, maxRead)
		if err != nil {
			r.end(fmt.Errorf("the stream brought what cannot be read: %w", err))
			r.reader.Call("cancel").Call("then", Ignore, Ignore)
			return nil
		}
		r.hold(c.js, c.size)
		c.free()
		return nil
	}
	n := data.Length()
	r.hold(data, n)
	if n == r.view && r.view < maxView {
		r.view, r.memory = min(4*r.view, maxView), js.Undefined()
	} else {
		r.memory = data.Get("buffer")
	}
	return nil
}

// hold copies the first n bytes of data, to be read. The mutex is held.
func (r *Reader) hold(data js.Value, n int) {
	if n > cap(r.store) {
		r.store = make([]byte, n)
	}
	r.buf = r.store[:n]
	js.CopyBytesToGo(r.buf, data)
	r.wake()
}

func (r *Reader) failed(_ js.Value, args []js.Value) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = false
	r.end(r.failure(First(args)))
	return nil
}
