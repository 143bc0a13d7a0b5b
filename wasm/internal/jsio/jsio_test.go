//go:build js

package jsio

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"syscall/js"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// eval runs JavaScript and returns its value.
func eval(code string) js.Value { return js.Global().Get("Function").New("return " + code).Invoke() }

func TestThrownValuesBecomeErrors(t *testing.T) {
	_, err := Try(func() js.Value { return js.Global().Get("JSON").Call("parse", "{") })
	require.ErrorContains(t, err, "SyntaxError: ")
	require.Equal(t, "plain", AsError(js.ValueOf("plain")).Error())
	require.Equal(t, "", AsError(js.Undefined()).Error())
	require.PanicsWithValue(t, "mine", func() { _, _ = Try(func() js.Value { panic("mine") }) }, "other panics are not caught")
}

func TestAwaitEndsWithThePromiseOrTheContext(t *testing.T) {
	v, err := Await(context.Background(), eval("Promise.resolve(7)"))
	require.NoError(t, err)
	require.Equal(t, 7, v.Int())
	_, err = Await(context.Background(), eval("Promise.reject(new TypeError('no'))"))
	require.EqualError(t, err, "TypeError: no")
	before := LiveFuncs()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Await(ctx, eval("new Promise(() => {})"))
	require.ErrorIs(t, err, context.Canceled)
	require.Eventually(t, func() bool { return LiveFuncs() == before }, time.Minute, time.Millisecond, "a promise that never settles holds functions")
}

func TestPromiseCarriesValuesAndErrors(t *testing.T) {
	v, err := Await(context.Background(), Promise(func() (any, error) { return "value", nil }))
	require.NoError(t, err)
	require.Equal(t, "value", v.String())
	for want, cause := range map[string]error{
		"something broke": errors.New("something broke"),
		"TypeError: size must be a number, not \"big\"": &ArgumentError{Name: "size", Want: "a number", Got: js.ValueOf("big")},
		"AbortError: context canceled":                  context.Canceled,
	} {
		_, err = Await(context.Background(), Promise(func() (any, error) { return nil, cause }))
		require.EqualError(t, err, want)
	}
}

func TestSignalEndsAContext(t *testing.T) {
	before := LiveFuncs()
	controller := js.Global().Get("AbortController").New()
	ctx, cancel, err := WithSignal(context.Background(), controller.Get("signal"))
	require.NoError(t, err)
	require.NoError(t, ctx.Err())
	controller.Call("abort")
	<-ctx.Done()
	cancel()
	ctx, cancel, err = WithSignal(context.Background(), controller.Get("signal"))
	require.NoError(t, err)
	require.Error(t, ctx.Err(), "the signal was aborted before")
	cancel()
	_, cancel, err = WithSignal(context.Background(), js.Undefined())
	require.NoError(t, err)
	cancel()
	require.Equal(t, before, LiveFuncs())
}

// pipe is a Go stream as both a Source and a Sink.
type pipe struct {
	*io.PipeReader
	*io.PipeWriter
	mu    sync.Mutex
	ended []string
}

func newPipe() *pipe {
	r, w := io.Pipe()
	return &pipe{PipeReader: r, PipeWriter: w}
}

func (p *pipe) note(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = append(p.ended, s)
}

func (p *pipe) Close() error      { return errors.Join(p.PipeReader.Close(), p.PipeWriter.Close()) }
func (p *pipe) CloseRead() error  { p.note("read"); return p.PipeReader.Close() }
func (p *pipe) CloseWrite() error { p.note("write"); return p.PipeWriter.Close() }
func (p *pipe) Reset() error {
	p.note("reset")
	return p.PipeWriter.CloseWithError(errors.New("reset"))
}

// Bytes that are written to a WritableStream made here come out of a ReadableStream
// made here, through Go and through our own Writer and Reader.
func TestStreamsCarryEveryByteThroughJavaScript(t *testing.T) {
	p := newPipe()
	w, r := NewWriter(NewWritable(p), nil), NewReader(NewReadable(p), nil)
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		_, _ = w.Write(sent)
		w.Close()
	}()
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.True(t, bytes.Equal(sent, got))
	require.Equal(t, []string{"write"}, p.ended)
}

func TestCancelAndAbortReachGo(t *testing.T) {
	p := newPipe()
	_, err := Await(context.Background(), NewReadable(p).Call("cancel"))
	require.NoError(t, err)
	_, err = Await(context.Background(), NewWritable(p).Call("abort"))
	require.NoError(t, err)
	require.Equal(t, []string{"read", "reset"}, p.ended)
}

func TestAbortReachesGoWhileAWriteWaits(t *testing.T) {
	p := newPipe() // nobody reads it
	writer := NewWritable(p).Call("getWriter")
	written := writer.Call("write", Uint8Array([]byte("left")))
	_, err := Await(context.Background(), writer.Call("abort"))
	require.NoError(t, err)
	_, err = Await(context.Background(), written)
	require.Error(t, err)
	require.Equal(t, []string{"reset"}, p.ended)
}

func TestErrorsOfGoFailTheStreams(t *testing.T) {
	p := newPipe()
	require.NoError(t, p.PipeWriter.CloseWithError(errors.New("torn")))
	_, err := io.ReadAll(NewReader(NewReadable(p), nil))
	require.ErrorContains(t, err, "torn")

	q := newPipe()
	require.NoError(t, q.PipeReader.CloseWithError(errors.New("gone")))
	w := NewWritable(q).Call("getWriter")
	_, err = Await(context.Background(), w.Call("write", Uint8Array([]byte("x"))))
	require.ErrorContains(t, err, "gone")
	require.Empty(t, q.ended, "a failed write does not end the rest of the stream")
}

func TestChunkThatIsNotBytesResets(t *testing.T) {
	p := newPipe()
	w := NewWritable(p).Call("getWriter")
	_, err := Await(context.Background(), w.Call("write", "text"))
	require.ErrorContains(t, err, `chunk must be a Uint8Array or an ArrayBuffer, not "text"`)
	require.Equal(t, []string{"reset"}, p.ended)
}

func TestDeadlinesEndReadsAndWrites(t *testing.T) {
	r := NewReader(eval("new ReadableStream({})"), nil)
	require.NoError(t, r.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
	_, err := r.Read(make([]byte, 1))
	require.ErrorContains(t, err, "timeout")
	r.Cancel(js.Undefined())
	_, err = r.Read(make([]byte, 1))
	require.ErrorContains(t, err, "timeout", "a passed deadline comes first")
	require.NoError(t, r.SetReadDeadline(time.Time{}))
	_, err = r.Read(make([]byte, 1))
	require.ErrorIs(t, err, ErrReadClosed)

	w := NewWriter(eval("new WritableStream({write() { return new Promise(() => {}) }})"), nil)
	require.NoError(t, w.SetWriteDeadline(time.Now().Add(10*time.Millisecond)))
	n, err := w.Write(make([]byte, 10*maxUnflushed))
	require.ErrorContains(t, err, "timeout")
	require.LessOrEqual(t, n, maxUnflushed+maxChunk, "a stream that takes nothing holds no more than it should")
}

func TestFetchGetsWhatIsThereWithinItsBound(t *testing.T) {
	before := LiveFuncs()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := Fetch(ctx, "data:text/plain,hello", 5)
	require.NoError(t, err)
	require.Equal(t, "hello", string(b))
	_, err = Fetch(ctx, "data:text/plain,hello", 4)
	require.EqualError(t, err, "it answers more than 4 bytes")
	_, err = Fetch(ctx, "http://127.0.0.1:1/", 5)
	require.Error(t, err)
	cancel()
	_, err = Fetch(ctx, "http://127.0.0.1:1/", 5)
	require.ErrorIs(t, err, context.Canceled)
	require.Eventually(t, func() bool { return LiveFuncs() == before }, time.Minute, time.Millisecond)
}
