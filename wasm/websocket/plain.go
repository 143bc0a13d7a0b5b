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
	// maxBuffered is how much may wait in the platform to be sent, bytes.
	maxBuffered = 1 << 20
	// maxUnread is how far behind the reader may be, bytes. The muxer reads all
	// the time and its windows bound what peers may send, so only a peer that
	// ignores them comes here.
	maxUnread = 16 << 20
	// drainPoll is how often a full buffer is looked at: there is no event.
	drainPoll = 2 * time.Millisecond
)

// plain is a WebSocket.
type plain struct {
	js       js.Value
	handlers []js.Func
	arrived  chan struct{} // holds a token after unread or err changed
	done     chan struct{} // closed when the socket is
	reading  jsio.Deadline
	writing  jsio.Deadline
	readTurn chan struct{}
	sendTurn chan struct{}
	scratch  js.Value // an ArrayBuffer of scratchSize, for small sends

	mu     sync.Mutex
	unread [][]byte
	size   int
	err    error // why there is no more after unread
}

var _ socket = (*plain)(nil)

func openSocket(ctx context.Context, url string) (socket, error) {
	ws, err := jsio.Try(func() js.Value { return js.Global().Get("WebSocket").New(url) })
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", url, err)
	}
	ws.Set("binaryType", "arraybuffer")
	p := &plain{
		js:       ws,
		arrived:  make(chan struct{}, 1),
		done:     make(chan struct{}),
		readTurn: make(chan struct{}, 1),
		sendTurn: make(chan struct{}, 1),
		scratch:  js.Global().Get("Uint8Array").New(scratchSize),
	}
	opened := make(chan struct{})
	p.on("open", func(js.Value) { close(opened) })
	p.on("message", func(e js.Value) { p.message(e.Get("data")) })
	p.on("close", func(e js.Value) { p.closed(closeError(e.Get("code").Int(), e.Get("reason").String())) })
	// Browsers say nothing here and send close after it; Node.js says what
	// failed, and may send nothing more.
	p.on("error", func(e js.Value) {
		if why := e.Get("error"); !why.IsUndefined() {
			p.closed(fmt.Errorf("connection failed: %w", jsio.AsError(why)))
		}
	})
	select {
	case <-opened:
		return p, nil
	case <-p.done:
		return nil, fmt.Errorf("open %s: %w", url, p.err)
	case <-ctx.Done():
		_ = p.Close()
		return nil, fmt.Errorf("open %s: %w", url, ctx.Err())
	}
}

func (p *plain) on(event string, f func(js.Value)) {
	h := jsio.NewFunc(func(_ js.Value, args []js.Value) any {
		f(args[0])
		return nil
	})
	p.handlers = append(p.handlers, h)
	p.js.Set("on"+event, h)
}

func (p *plain) message(data js.Value) {
	b := jsio.Bytes(data)
	p.mu.Lock()
	if p.err == nil {
		p.unread = append(p.unread, b)
		p.size += len(b)
	}
	tooMuch := p.size > maxUnread
	p.mu.Unlock()
	if tooMuch {
		p.end(fmt.Errorf("more than %d bytes unread: the peer ignores its windows", maxUnread))
		p.js.Call("close")
		return
	}
	p.wake()
}

func closeError(code int, reason string) error {
	if orderly(code) {
		return io.EOF
	}
	return fmt.Errorf("closed with code %d %s", code, reason)
}

// closed takes the last event there is.
func (p *plain) closed(why error) {
	p.end(why)
	for _, name := range []string{"open", "message", "close", "error"} {
		p.js.Set("on"+name, js.Null())
	}
	for _, h := range p.handlers {
		jsio.Release(h)
	}
	p.handlers = nil
}

// end notes why there is no more, once.
func (p *plain) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		close(p.done)
	}
	p.wake()
}

func (p *plain) wake() {
	select {
	case p.arrived <- struct{}{}:
	default:
	}
}

func (p *plain) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if p.reading.Expired() {
		return 0, os.ErrDeadlineExceeded
	}
	select {
	case p.readTurn <- struct{}{}:
	case <-p.reading.Wait():
		return 0, os.ErrDeadlineExceeded
	}
	defer func() { <-p.readTurn }()
	for {
		if n, err := p.take(b); n > 0 || err != nil {
			return n, err
		}
		select {
		case <-p.arrived:
		case <-p.reading.Wait():
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (p *plain) take(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(b) && len(p.unread) > 0 {
		c := copy(b[n:], p.unread[0])
		n += c
		if p.unread[0] = p.unread[0][c:]; len(p.unread[0]) == 0 {
			p.unread[0] = nil
			p.unread = p.unread[1:]
		}
	}
	p.size -= n
	if n == 0 {
		return 0, p.err
	}
	return n, nil
}

// scratchSize is the largest message that is sent from a reused buffer.
const scratchSize = 64 << 10

func (p *plain) Write(b []byte) (n int, err error) {
	if p.writing.Expired() {
		return 0, os.ErrDeadlineExceeded
	}
	select {
	case p.sendTurn <- struct{}{}:
	case <-p.writing.Wait():
		return 0, os.ErrDeadlineExceeded
	case <-p.done:
		return 0, p.writeError()
	}
	defer func() { <-p.sendTurn }()
	for n < len(b) {
		chunk := b[n:min(len(b), n+scratchSize)]
		if err := p.room(); err != nil {
			return n, err
		}
		js.CopyBytesToJS(p.scratch, chunk)
		// send copies, so the buffer is free again when it returns.
		p.js.Call("send", p.scratch.Call("subarray", 0, len(chunk)))
		n += len(chunk)
	}
	return n, nil
}

// room waits until the platform holds less than it may.
func (p *plain) room() error {
	for {
		select {
		case <-p.done:
			return p.writeError()
		default:
		}
		if p.js.Get("bufferedAmount").Int() < maxBuffered {
			return nil
		}
		select {
		case <-time.After(drainPoll):
		case <-p.done:
		case <-p.writing.Wait():
			return os.ErrDeadlineExceeded
		}
	}
}

func (p *plain) writeError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(p.err, io.EOF) {
		return net.ErrClosed
	}
	return p.err
}

func (p *plain) SetReadDeadline(t time.Time) error {
	p.reading.Set(t)
	return nil
}

func (p *plain) SetWriteDeadline(t time.Time) error {
	p.writing.Set(t)
	return nil
}

// Close sends what was written, then closes. It does not wait.
func (p *plain) Close() error {
	p.end(net.ErrClosed)
	p.js.Call("close")
	return nil
}
