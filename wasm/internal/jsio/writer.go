//go:build js

package jsio

import (
	"errors"
	"os"
	"sync"
	"syscall/js"
	"time"
)

// ErrWriteClosed is returned by Write after Close.
var ErrWriteClosed = errors.New("closed for writing")

const (
	// maxChunk is the most bytes that are handed to JavaScript in one piece.
	maxChunk = 64 << 10

	// maxUnflushed is how many bytes a Writer hands over before it waits until the platform
	// has taken some of them.
	maxUnflushed = 512 << 10

	// markEvery is how many bytes are handed over between two writes whose completion is
	// awaited. A callback into Go costs some 17 us, so a small write gets none of its own.
	markEvery = 64 << 10
)

// Writer writes to a WritableStream of bytes. Its methods may be called
// concurrently; concurrent Writes take turns, and each stays in one piece.
type Writer struct {
	writer  js.Value
	failure func(js.Value) error
	turn    chan struct{} // holds a token while a Write runs
	room    chan struct{} // holds a token after a mark was reached
	ended   chan struct{} // closed with err
	expiry  Deadline

	mu     sync.Mutex
	handed int     // bytes handed to the platform since the start
	taken  int     // of these, those that it has certainly taken
	marks  []mark  // writes whose completion is awaited, in order
	onMark js.Func // made for the first of them
	err    error   // why no more can be written
}

// mark is a write whose completion means that all before it has been taken, too.
type mark struct {
	at     int      // the value of handed after it
	buffer js.Value // to be reused then; undefined if the write had none
}

// NewWriter locks stream and returns a Writer to it. failure converts the value that the
// stream fails with to an error; if nil, AsError.
func NewWriter(stream js.Value, failure func(js.Value) error) *Writer {
	if failure == nil {
		failure = AsError
	}
	return &Writer{
		writer:  stream.Call("getWriter"),
		failure: failure,
		turn:    make(chan struct{}, 1),
		room:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
	}
}

// Write hands p to the stream and returns once all of it is handed over. It waits while
// the stream holds as much as it should.
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
		if err := w.await(len(chunk)); err != nil {
			return n, err
		}
		if err := w.hand(chunk); err != nil {
			return n, err
		}
		if n += len(chunk); n == len(p) {
			return n, nil
		}
	}
}

// await waits until the platform has room for n more bytes.
func (w *Writer) await(n int) error {
	for {
		w.mu.Lock()
		full := w.handed-w.taken+n > maxUnflushed
		w.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-w.room:
		case <-w.expiry.Wait():
			return os.ErrDeadlineExceeded
		case <-w.ended:
			return w.ending()
		}
	}
}

// hand hands one chunk to the platform.
func (w *Writer) hand(chunk []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if len(chunk) == 0 {
		return nil
	}
	if w.writer.Get("desiredSize").IsNull() { // the stream has failed
		w.mu.Unlock()
		_, err := await(w.writer.Get("closed"), nil)
		w.mu.Lock()
		w.end(w.failure(thrown(err)))
		return w.err
	}
	m := mark{at: w.handed + len(chunk)}
	var data js.Value
	if len(chunk) == maxChunk {
		m.buffer = takeBuffer()
		data = m.buffer
		js.CopyBytesToJS(data, chunk)
	} else {
		data = Uint8Array(chunk)
	}
	written := w.writer.Call("write", data)
	last := w.taken
	if len(w.marks) > 0 {
		last = w.marks[len(w.marks)-1].at
	}
	w.handed = m.at
	if w.handed-last < markEvery {
		written.Call("then", Ignore, Ignore)
		return nil
	}
	if w.onMark.IsUndefined() {
		w.onMark = NewFunc(w.marked)
	}
	w.marks = append(w.marks, m)
	written.Call("then", w.onMark, w.onMark)
	return nil
}

// marked handles the completion of the first marked write, whether or not it failed: a
// failure is reported by the next write.
func (w *Writer) marked(js.Value, []js.Value) any {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.marks[0]
	w.marks = w.marks[1:]
	w.taken = m.at
	putBuffer(m.buffer)
	w.release()
	select {
	case w.room <- struct{}{}:
	default:
	}
	return nil
}

func thrown(err error) js.Value {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Value
	}
	return js.Undefined()
}

// SetWriteDeadline sets the time after which Write fails; the zero time means never.
func (w *Writer) SetWriteDeadline(t time.Time) error {
	w.expiry.Set(t)
	return nil
}

// Close ends the stream after the data written so far. It does not wait.
func (w *Writer) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.end(ErrWriteClosed)
		w.writer.Call("close").Call("then", Ignore, Ignore)
	}
}

// Fail drops data that is not yet sent, sends reason to the receiver if the stream
// supports that, and makes Writes return err. It also ends a stream that Close is still
// flushing. It returns the promise of the stream's abort, or undefined if Fail was called
// before.
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

// Detach returns the platform's writer, for JavaScript to write with, without a call into
// Go; later Writes fail with ErrWriteClosed, and Fail still ends the stream. over settles
// when the stream has ended, for whatever reason. If it has ended already, ok is false.
func (w *Writer) Detach() (writer, over js.Value, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return js.Undefined(), js.Undefined(), false
	}
	w.end(ErrWriteClosed)
	return w.writer, w.writer.Get("closed"), true
}

// end records why no more can be written. The mutex is held; a goroutine that sees ended
// closed locks it before it reads err.
func (w *Writer) end(err error) {
	if w.err == nil {
		close(w.ended)
	}
	w.err = err
	w.release()
}

func (w *Writer) ending() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// release frees the callbacks once no write will call them. The mutex is held.
func (w *Writer) release() {
	if w.err == nil || len(w.marks) > 0 || w.onMark.IsUndefined() {
		return
	}
	Release(w.onMark)
	w.onMark = js.Func{}
}

// buffers are Uint8Arrays of maxChunk that no write is using: allocating memory is many
// times slower than copying into existing memory.
var buffers struct {
	sync.Mutex
	free []js.Value
}

// maxFreeBuffers is how many buffers are kept for reuse: 2 MiB.
const maxFreeBuffers = 32

func takeBuffer() js.Value {
	buffers.Lock()
	defer buffers.Unlock()
	if n := len(buffers.free); n > 0 {
		b := buffers.free[n-1]
		buffers.free = buffers.free[:n-1]
		return b
	}
	return uint8Array.New(maxChunk)
}

func putBuffer(b js.Value) {
	buffers.Lock()
	defer buffers.Unlock()
	if !b.IsUndefined() && len(buffers.free) < maxFreeBuffers {
		buffers.free = append(buffers.free, b)
	}
}
