//go:build js

package webtransport

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall/js"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// stream is a bidirectional stream of a session: a QUIC stream, whose flow control is the
// browser's. A slow reader holds back the peer after at most one chunk; a Write waits
// while the browser has 512 KiB to take.
type stream struct {
	conn     *conn
	r        *jsio.Reader
	w        *jsio.Writer
	detached bool
}

var _ network.MuxedStream = (*stream)(nil)

func newStream(c *conn, pair js.Value) *stream {
	return &stream{
		conn: c,
		r:    jsio.NewReader(pair.Get("readable"), Failure),
		w:    jsio.NewWriter(pair.Get("writable"), Failure),
	}
}

// Failure returns the error of a stream that fails with a value that the browser throws:
// the peer reset it, or refused to read on, or the session ended, which streams may see
// before the session itself reports it.
func Failure(thrown js.Value) error {
	seen := jsio.AsError(thrown)
	if source, err := jsio.Get(thrown, "source"); err == nil && source.Equal(js.ValueOf("session")) {
		return &network.ConnError{Remote: true, TransportError: seen}
	}
	return &network.StreamError{Remote: true, TransportError: seen}
}

// resetCode makes the error that is sent to the peer with every reset. libp2p's own codes
// do not fit into those that browsers can send.
var resetCode = sync.OnceValue(func() js.Value { return js.Global().Get("WebTransportError") })

func resetReason() js.Value {
	if resetCode().IsUndefined() {
		return js.Undefined()
	}
	return resetCode().New(map[string]any{"source": "stream", "streamErrorCode": 0})
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	return n, s.explain(err)
}

func (s *stream) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	return n, s.explain(err)
}

// explain returns the reason why the session ended, if it has, instead of the stream's
// own error.
func (s *stream) explain(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if _, ok := errors.AsType[*network.StreamError](err); ok && s.conn.IsClosed() {
		return s.conn.reason()
	}
	return err
}

// CloseWrite ends the stream for writing, after the data written so far.
func (s *stream) CloseWrite() error {
	s.w.Close()
	return nil
}

// CloseRead ends the stream for reading and asks the peer to stop sending.
func (s *stream) CloseRead() error {
	s.r.Cancel(resetReason())
	return nil
}

// Close calls CloseWrite and CloseRead; the stream ends once the data written so far has
// been sent.
func (s *stream) Close() error {
	s.w.Close()
	s.r.Cancel(resetReason())
	s.conn.remove(s)
	return nil
}

// Reset ends both directions at once; the peer sees a reset.
func (s *stream) Reset() error {
	s.abort(&network.StreamError{})
	return nil
}

// ResetWithError does the same as Reset, with a code for the local side only; the peer
// gets none.
func (s *stream) ResetWithError(code network.StreamErrorCode) error {
	s.abort(&network.StreamError{ErrorCode: code})
	return nil
}

func (s *stream) abort(err error) {
	settled := s.fail(err)
	s.conn.remove(s)
	if settled.IsUndefined() {
		return
	}
	s.conn.aborts.Go(func() { _, _ = jsio.Await(context.Background(), settled) })
}

// fail ends both directions and returns the promise of the abort, or undefined if there
// was nothing to abort.
func (s *stream) fail(err error) js.Value {
	reason := resetReason()
	settled := s.w.Fail(err, reason)
	s.r.Fail(err, reason)
	return settled
}

func (s *stream) SetDeadline(t time.Time) error {
	_ = s.SetReadDeadline(t)
	return s.w.SetWriteDeadline(t)
}

func (s *stream) SetWriteDeadline(t time.Time) error { return s.w.SetWriteDeadline(t) }

func (s *stream) SetReadDeadline(t time.Time) error {
	s.conn.touched = s // see unwrap
	return s.r.SetReadDeadline(t)
}
