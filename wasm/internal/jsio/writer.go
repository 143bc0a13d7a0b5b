//go:build js

package jsio

import (
	"errors"
	"os"
	"sync"
	"syscall/js"
	"time"
)

// ErrWriteClosed is what a Write returns after Close.
var ErrWriteClosed = errors.New("closed for writing")

const (
	// maxChunk is the most that is handed to JavaScript in one piece, bytes.
	maxChunk = 64 << 10

	// maxUnflushed is how much a Writer hands over before it waits until the
	// platform has taken all of it, bytes.
	maxUnflushed = 256 << 10
)

// Writer writes to a WritableStream of bytes. Its methods may be called
// concurrently; concurrent Writes take turns, and each stays in one piece.
type Writer struct {
	writer  js.Value
	idle    float64 // desiredSize of the stream while nothing is queued
	failure func(js.Value) error
	turn    chan struct{} // holds a token while a Write runs
	expiry  Deadline

	mu        sync.Mutex
	unflushed int
	err       error // why no more can be written
	ended     chan struct{}
}

// NewWriter locks stream. failure makes an error of what the stream fails
// with; if nil, AsError.
func NewWriter(stream js.Value, failure func(js.Value) error) *Writer {
	if failure == nil {
		failure = AsError
	}
	w := stream.Call("getWriter")
	return &Writer{
		writer:  w,
		idle:    w.Get("desiredSize").Float(),
		failure: failure,
		turn:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
	}
}

// Write hands p to the stream and returns once all of it is handed over,
// which waits while the stream holds as much as it should.
func (w *Writer) Write(p []byte) (n int, err error) {
	if w.expiry.Expired() {
		return 0, os.ErrDeadlineExceeded
	}
	select {
	case w.turn <- struct{}{}:
	case <-w.expiry.Wait():
		return 0, os.ErrDeadlineExceeded
	case <-w.ended:
		return 0, w.ending()
	}
	defer func() { <-w.turn }()
	for {
		chunk := p[n:min(n+maxChunk, len(p))]
		if err := w.hand(chunk); err != nil {
			return n, err
		}
		if n += len(chunk); n == len(p) {
			return n, nil
		}
	}
}

// hand gives one chunk to the stream when there is room.
func (w *Writer) hand(chunk []byte) error {
	size := w.writer.Get("desiredSize")
	if size.IsNull() || size.Float() < w.idle && w.unflushed+len(chunk) > maxUnflushed {
		if err := w.flush(); err != nil {
			return err
		}
	} else if size.Float() >= w.idle {
		w.unflushed = 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if len(chunk) == 0 {
		return nil
	}
	w.unflushed += len(chunk)
	w.writer.Call("write", Uint8Array(chunk)).Call("then", Ignore, Ignore)
	return nil
}

// flush waits until the stream has room, or has failed.
func (w *Writer) flush() error {
	cancel := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := await(w.writer.Get("ready"), cancel)
		done <- err
	}()
	defer close(cancel)
	select {
	case err := <-done:
		if err == nil {
			w.unflushed = 0
			return nil
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.end(w.failure(thrown(err)))
		return w.err
	case <-w.expiry.Wait():
		return os.ErrDeadlineExceeded
	case <-w.ended:
		return w.ending()
	}
}

func (w *Writer) ending() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func thrown(err error) js.Value {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Value
	}
	return js.ValueOf(err.Error())
}

// SetWriteDeadline sets the time after which Write fails; zero for never.
func (w *Writer) SetWriteDeadline(t time.Time) error {
	w.expiry.Set(t)
	return nil
}

// Close ends the stream after what was written. It does not wait.
func (w *Writer) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.end(ErrWriteClosed)
		w.writer.Call("close").Call("then", Ignore, Ignore)
	}
}

// Fail drops what is not yet sent, tells the far side with reason as far as
// the stream can tell it, and makes Writes return err. It also ends a stream
// that Close is still flushing. It returns the promise of the stream's abort,
// or undefined where Fail was called before.
func (w *Writer) Fail(err error, reason any) js.Value {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil && !errors.Is(w.err, ErrWriteClosed) {
		return js.Undefined()
	}
	w.end(err)
	aborted := w.writer.Call("abort", reason)
	aborted.Call("then", Ignore, Ignore)
	return aborted
}

// end notes why no more can be written; w.mu is held, which those who see
// ended closed take before they read err.
func (w *Writer) end(err error) {
	if w.err == nil {
		close(w.ended)
	}
	w.err = err
}
