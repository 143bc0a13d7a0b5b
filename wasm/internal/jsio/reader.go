//go:build js

package jsio

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall/js"
	"time"
)

// ErrReadClosed is what a Read returns after Cancel.
var ErrReadClosed = errors.New("closed for reading")

// Reader reads a ReadableStream of bytes. Its methods may be called
// concurrently; concurrent Reads take turns.
//
// It holds at most one chunk that JavaScript has handed over and nobody has
// read, and asks for the next only once that one is used up: a slow reader
// stops the platform, and through it the sender.
type Reader struct {
	reader  js.Value
	failure func(js.Value) error
	turn    chan struct{} // holds a token while a Read runs
	ready   chan struct{} // holds a token after buf or err changed
	expiry  Deadline

	onChunk, onFailure js.Func

	mu       sync.Mutex
	buf      []byte // not yet read; lies in store
	store    []byte // reused for each chunk
	asked    bool   // read() has been called and not settled
	released bool
	err      error // why there is no more after buf
}

// NewReader locks stream and starts reading it. failure makes an error of what
// the stream fails with; if nil, AsError.
func NewReader(stream js.Value, failure func(js.Value) error) *Reader {
	if failure == nil {
		failure = AsError
	}
	r := &Reader{
		reader:  stream.Call("getReader"),
		failure: failure,
		turn:    make(chan struct{}, 1),
		ready:   make(chan struct{}, 1),
	}
	r.onChunk = NewFunc(r.chunk)
	r.onFailure = NewFunc(r.failed)
	return r
}

// Read reads what is there, waiting for at least one byte. It returns io.EOF
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
	if !r.asked {
		r.asked = true
		r.reader.Call("read").Call("then", r.onChunk, r.onFailure)
	}
	return n, nil
}

// SetReadDeadline sets the time after which Read fails; zero for never.
func (r *Reader) SetReadDeadline(t time.Time) error {
	r.expiry.Set(t)
	return nil
}

// Cancel stops reading: what waits fails with ErrReadClosed, and the sender is
// told with reason, as far as the stream can tell it.
func (r *Reader) Cancel(reason any) { r.Fail(ErrReadClosed, reason) }

// Fail is Cancel with an error of the caller's for Reads to return. The first
// end of a stream is the one that stays.
func (r *Reader) Fail(err error, reason any) {
	r.mu.Lock()
	first := r.err == nil
	r.end(err)
	r.mu.Unlock()
	if first {
		r.reader.Call("cancel", reason).Call("then", Ignore, Ignore)
	}
}

// end notes why there is no more; r.mu is held.
func (r *Reader) end(err error) {
	if r.err == nil {
		r.err = err
		if err != io.EOF {
			r.buf = nil
		}
	}
	if !r.asked && !r.released {
		r.released = true
		Release(r.onChunk)
		Release(r.onFailure)
	}
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

func (r *Reader) chunk(_ js.Value, args []js.Value) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = false
	if r.err != nil || args[0].Get("done").Bool() {
		r.end(io.EOF)
		return nil
	}
	data := asUint8Array(args[0].Get("value"))
	n := data.Length()
	if n > cap(r.store) {
		r.store = make([]byte, n)
	}
	r.buf = r.store[:n]
	js.CopyBytesToGo(r.buf, data)
	select {
	case r.ready <- struct{}{}:
	default:
	}
	return nil
}

func (r *Reader) failed(_ js.Value, args []js.Value) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = false
	r.end(r.failure(first(args)))
	return nil
}
