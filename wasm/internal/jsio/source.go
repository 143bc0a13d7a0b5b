//go:build js

package jsio

import (
	"errors"
	"io"
	"math"
	"sync"
	"syscall/js"
)

// Source is a Go stream that JavaScript reads.
type Source interface {
	io.Reader
	// CloseRead is called when the consumer cancels.
	CloseRead() error
}

// Sink is a Go stream that JavaScript writes.
type Sink interface {
	io.Writer
	// CloseWrite is called when the producer closes.
	CloseWrite() error
	// Reset is called when the producer aborts, or writes something that is not bytes.
	Reset() error
}

var (
	sources Handles[Source]
	sinks   Handles[Sink]
)

// chunkBuffers hold data on its way between Go and JavaScript.
var chunkBuffers = sync.Pool{New: func() any { b := make([]byte, maxChunk); return &b }}

// NewReadable returns a ReadableStream that reads from s: it closes at io.EOF and fails
// with any other error. s is read one chunk ahead of the consumer.
func NewReadable(s Source) js.Value {
	obj := global.Get("Object").New()
	sources.Add(obj, s)
	for name, f := range sourceCallbacks() {
		obj.Set(name, f)
	}
	return global.Get("ReadableStream").New(obj)
}

var sourceCallbacks = sync.OnceValue(func() map[string]js.Func {
	return map[string]js.Func{
		"pull": NewFunc(func(this js.Value, args []js.Value) any {
			controller := args[0]
			return Promise(func() (any, error) { return nil, pull(this, controller) })
		}),
		"cancel": NewFunc(func(this js.Value, _ []js.Value) any {
			s, ok := sources.Drop(this)
			if !ok {
				return nil
			}
			return Promise(func() (any, error) { return nil, s.CloseRead() })
		}),
	}
})

// pull reads one chunk. An error it returns fails the stream.
func pull(this, controller js.Value) error {
	s, _, ok := sources.Find(this)
	if !ok {
		return nil
	}
	b := chunkBuffers.Get().(*[]byte)
	defer chunkBuffers.Put(b)
	n, err := s.Read(*b)
	if _, _, open := sources.Find(this); !open {
		return nil // cancelled meanwhile: the controller takes no more
	}
	if err != nil {
		sources.Drop(this)
	}
	if n > 0 {
		if _, err := Call(controller, "enqueue", Uint8Array((*b)[:n])); err != nil {
			return err
		}
	}
	if err == io.EOF {
		_, err = Call(controller, "close")
	}
	return err
}

// NewWritable returns a WritableStream that writes to s. A write settles when s has taken
// it. When s fails, so does the stream, but s is not reset: the data that it has for its
// reader can still be read.
func NewWritable(s Sink) js.Value {
	obj := global.Get("Object").New()
	sinks.Add(obj, s)
	for name, f := range sinkCallbacks() {
		obj.Set(name, f)
	}
	return global.Get("WritableStream").New(obj, map[string]any{"highWaterMark": maxQueued})
}

// maxQueued is how many chunks a producer may be ahead before it should wait: the stream
// is ready while fewer wait, and not only once the last one has been taken. (A strategy
// that counts bytes would fail on a chunk that is not bytes before the sink sees it.)
const maxQueued = 8

var sinkCallbacks = sync.OnceValue(func() map[string]js.Func {
	// last makes the callback of a call after which there is no other.
	last := func(end func(Sink) error) js.Func {
		return NewFunc(func(this js.Value, _ []js.Value) any {
			s, ok := sinks.Drop(this)
			if !ok {
				return nil
			}
			return Promise(func() (any, error) { return nil, end(s) })
		})
	}
	abort := last(Sink.Reset)
	return map[string]js.Func{
		// The platform calls a sink's own abort only when the write before it has settled,
		// which may take until somebody reads.
		"start": NewFunc(func(this js.Value, args []js.Value) any {
			args[0].Get("signal").Call("addEventListener", "abort", abort.Call("bind", this))
			return nil
		}),
		"write": NewFunc(func(this js.Value, args []js.Value) any {
			chunk := args[0]
			return Promise(func() (any, error) { return nil, write(this, chunk) })
		}),
		"close": last(Sink.CloseWrite),
	}
})

func write(this, data js.Value) error {
	s, _, open := sinks.Find(this)
	if !open {
		return ErrWriteClosed
	}
	c, err := copyOf(data, math.MaxInt)
	if err != nil {
		sinks.Drop(this)
		_ = s.Reset() // the part must not pass for the whole
		if errors.Is(err, ErrNotBytes) {
			return &ArgumentError{Name: "chunk", Want: "a Uint8Array or an ArrayBuffer", Got: data}
		}
		return &ArgumentError{Name: "chunk", Err: err}
	}
	defer c.free()
	b := chunkBuffers.Get().(*[]byte)
	defer chunkBuffers.Put(b)
	for at := 0; at < c.size; {
		end := min(at+maxChunk, c.size)
		n := js.CopyBytesToGo((*b)[:end-at], c.js.Call("subarray", at, end))
		if _, err := s.Write((*b)[:n]); err != nil {
			sinks.Drop(this)
			return err
		}
		at += n
	}
	return nil
}
