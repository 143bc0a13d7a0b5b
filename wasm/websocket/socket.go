//go:build js

package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall/js"
	"time"

	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

const (
	// maxBuffered is how many bytes may wait in the platform to be sent.
	maxBuffered = 1 << 20
	// maxUnread is how many bytes the reader may be behind. The muxer reads all the time and
	// its windows bound what peers may send, so only a peer that ignores them reaches this.
	maxUnread = 16 << 20
	// frameCost is added to the size of each waiting message, in bytes: about what Go needs
	// to hold it. It also bounds the number of one-byte messages.
	frameCost = 64
	// drainPoll is how often a full buffer is checked, because the platform has no event for
	// it. In a hidden tab the timers of the platform run once a second or a minute; there an
	// incoming message means that something was sent, because peers return windows.
	drainPoll = 2 * time.Millisecond
)

// socket is a WebSocket as a connection of bytes.
type socket struct {
	js       js.Value
	handlers []js.Func
	arrived  chan struct{} // holds a token after unread or err has changed
	stirred  chan struct{} // holds a token after a message, for the writer
	done     chan struct{} // closed when the socket has ended
	reading  jsio.Deadline
	writing  jsio.Deadline
	readTurn chan struct{}
	sendTurn chan struct{}
	scratch  js.Value // a Uint8Array of scratchSize, for send, which copies it

	mu     sync.Mutex
	unread [][]byte
	size   int   // of unread, with frameCost for each
	err    error // why nothing follows unread
}

func open(ctx context.Context, url string) (*socket, error) {
	ws, err := jsio.Try(func() js.Value { return js.Global().Get("WebSocket").New(url) })
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", url, err)
	}
	ws.Set("binaryType", "arraybuffer")
	s := &socket{
		js:       ws,
		arrived:  make(chan struct{}, 1),
		stirred:  make(chan struct{}, 1),
		done:     make(chan struct{}),
		readTurn: make(chan struct{}, 1),
		sendTurn: make(chan struct{}, 1),
		scratch:  js.Global().Get("Uint8Array").New(scratchSize),
	}
	opened := make(chan struct{})
	s.on("open", func(js.Value) { close(opened) })
	s.on("message", func(e js.Value) {
		if err := s.message(e.Get("data")); err != nil {
			s.end(err)
			s.js.Call("close")
		}
	})
	s.on("close", func(e js.Value) { s.closed(closeError(e.Get("code"), e.Get("reason"))) })
	// Browsers give no reason here, and send close after it. Node.js gives the reason, and
	// may send nothing after it.
	s.on("error", func(e js.Value) {
		if why := e.Get("error"); !why.IsUndefined() && !why.IsNull() {
			s.closed(fmt.Errorf("connection failed: %w", jsio.AsError(why)))
		}
	})
	select {
	case <-opened:
		return s, nil
	case <-s.done:
		return nil, fmt.Errorf("open %s: %w", url, s.err)
	case <-ctx.Done():
		_ = s.Close()
		return nil, fmt.Errorf("open %s: %w", url, ctx.Err())
	}
}

func (s *socket) on(event string, f func(js.Value)) {
	h := jsio.NewFunc(func(_ js.Value, args []js.Value) any {
		f(args[0])
		return nil
	})
	s.handlers = append(s.handlers, h)
	s.js.Set("on"+event, h)
}

// message takes a message of the server. An error ends the connection.
func (s *socket) message(data js.Value) error {
	s.mu.Lock()
	room, over := maxUnread-s.size-frameCost, s.err != nil
	s.mu.Unlock()
	if over {
		return nil // messages come until the server answers the close
	}
	if jsio.TypeOf(data) == js.TypeString {
		return errText
	}
	b, err := jsio.Bytes(data, max(room, 0))
	switch {
	case errors.Is(err, jsio.ErrTooLarge):
		return errUnread
	case err != nil:
		return fmt.Errorf("message: %w", err)
	case len(b) == 0:
		return nil
	}
	s.mu.Lock()
	s.unread = append(s.unread, b)
	s.size += len(b) + frameCost
	s.mu.Unlock()
	s.wake()
	select {
	case s.stirred <- struct{}{}:
	default:
	}
	return nil
}

var (
	errText   = errors.New("the server sent a text message, and libp2p's are binary: check that the address is that of a libp2p peer")
	errUnread = fmt.Errorf("more than %d bytes unread: the peer ignores its windows", maxUnread)
)

// closeError returns why the socket was closed. The codes 1000 (normal) and 1005 (none
// given) of RFC 6455, 7.4.1, mean an orderly close. The reason is the server's text.
func closeError(code, reason js.Value) error {
	n, _ := jsio.Count(code, 0, 1<<16-1)
	if n == 1000 || n == 1005 {
		return io.EOF
	}
	if words, _ := jsio.Text(reason); words != "" {
		return fmt.Errorf("closed with code %d: %q", n, words)
	}
	return fmt.Errorf("closed with code %d", n)
}

// closed handles the last event of the socket.
func (s *socket) closed(why error) {
	s.end(why)
	for _, name := range []string{"open", "message", "close", "error"} {
		s.js.Set("on"+name, js.Null())
	}
	for _, h := range s.handlers {
		jsio.Release(h)
	}
	s.handlers = nil
}

// end records why the socket has ended. The first reason stays.
func (s *socket) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.done)
	}
	s.wake()
}

func (s *socket) wake() {
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

func (s *socket) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if s.reading.Expired() {
		return 0, os.ErrDeadlineExceeded
	}
	select {
	case s.readTurn <- struct{}{}:
	case <-s.reading.Wait():
		return 0, os.ErrDeadlineExceeded
	}
	defer func() { <-s.readTurn }()
	for {
		if n, err := s.take(b); n > 0 || err != nil {
			return n, err
		}
		select {
		case <-s.arrived:
		case <-s.reading.Wait():
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (s *socket) take(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(b) && len(s.unread) > 0 {
		c := copy(b[n:], s.unread[0])
		n += c
		s.size -= c
		if s.unread[0] = s.unread[0][c:]; len(s.unread[0]) == 0 {
			s.unread[0] = nil
			s.unread = s.unread[1:]
			s.size -= frameCost
		}
	}
	if n == 0 {
		return 0, s.err
	}
	return n, nil
}

// scratchSize is the largest part of a Write that is sent at once, in bytes.
const scratchSize = 64 << 10

func (s *socket) Write(b []byte) (n int, err error) {
	if s.writing.Expired() {
		return 0, os.ErrDeadlineExceeded
	}
	select {
	case s.sendTurn <- struct{}{}:
	case <-s.writing.Wait():
		return 0, os.ErrDeadlineExceeded
	case <-s.done:
		return 0, s.writeError()
	}
	defer func() { <-s.sendTurn }()
	for n < len(b) {
		chunk := b[n:min(len(b), n+scratchSize)]
		if err := s.room(); err != nil {
			return n, err
		}
		js.CopyBytesToJS(s.scratch, chunk)
		// send copies, so the buffer is free again when it returns.
		if _, err := jsio.Try(func() js.Value { return s.js.Call("send", s.scratch.Call("subarray", 0, len(chunk))) }); err != nil {
			s.end(err)
			return n, err
		}
		n += len(chunk)
	}
	return n, nil
}

// room waits until less than maxBuffered waits in the platform.
func (s *socket) room() error {
	for {
		select {
		case <-s.done:
			return s.writeError()
		default:
		}
		if s.js.Get("bufferedAmount").Int() < maxBuffered {
			return nil
		}
		select {
		case <-time.After(drainPoll):
		case <-s.stirred:
		case <-s.done:
		case <-s.writing.Wait():
			if s.js.Get("bufferedAmount").Int() < maxBuffered {
				return nil // only the timers were late
			}
			return os.ErrDeadlineExceeded
		}
	}
}

func (s *socket) writeError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(s.err, io.EOF) {
		return net.ErrClosed
	}
	return s.err
}

func (s *socket) SetReadDeadline(t time.Time) error {
	s.reading.Set(t)
	return nil
}

func (s *socket) SetWriteDeadline(t time.Time) error {
	s.writing.Set(t)
	return nil
}

// Close closes the socket after sending what was written. It does not wait.
func (s *socket) Close() error {
	s.end(net.ErrClosed)
	s.js.Call("close")
	return nil
}
