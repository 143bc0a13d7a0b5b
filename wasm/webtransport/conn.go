//go:build js

package webtransport

import (
	"context"
	"fmt"
	"math"
	"net"
	"sync"
	"syscall/js"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// conn is a WebTransport session with a peer that has proven its identity.
type conn struct {
	network.ConnSecurity
	transport *Transport
	js        js.Value
	incoming  js.Value // reader of the streams the peer opens
	target    target
	scope     network.ConnManagementScope
	closed    chan struct{}

	aborts  sync.WaitGroup // resets of streams that have not settled
	touched *stream        // see unwrap
	grams   datagrams

	mu      sync.Mutex
	streams map[*stream]struct{}
	err     error // why the session ended
}

var _ transport.CapableConn = (*conn)(nil)

func newConn(t *Transport, session js.Value, to target, scope network.ConnManagementScope) *conn {
	c := &conn{
		transport: t,
		js:        session,
		incoming:  session.Get("incomingBidirectionalStreams").Call("getReader"),
		target:    to,
		scope:     scope,
		closed:    make(chan struct{}),
		streams:   make(map[*stream]struct{}),
	}
	c.grams.conn = c
	var onClose, onFailure js.Func
	over := func(err error) any {
		jsio.Release(onClose)
		jsio.Release(onFailure)
		c.end(err)
		return nil
	}
	onClose = jsio.NewFunc(func(_ js.Value, args []js.Value) any { return over(closeError(args)) })
	onFailure = jsio.NewFunc(func(_ js.Value, args []js.Value) any {
		return over(fmt.Errorf("session failed: %w", jsio.AsError(jsio.First(args))))
	})
	session.Get("closed").Call("then", onClose, onFailure)
	return c
}

// closeError returns the error for an orderly end of the session, from its
// WebTransportCloseInfo.
func closeError(args []js.Value) error {
	var code int64
	if len(args) > 0 {
		if v, err := jsio.Get(args[0], "closeCode"); err == nil {
			code, _ = jsio.Count(v, 0, math.MaxUint32)
		}
	}
	return &network.ConnError{Remote: true, ErrorCode: network.ConnErrorCode(code)}
}

// OpenStream opens a stream. If the peer allows no more at the moment, it waits until ctx
// ends.
func (c *conn) OpenStream(ctx context.Context) (network.MuxedStream, error) {
	s, err := c.open(ctx)
	if err != nil {
		return nil, err // never a typed nil
	}
	return s, nil
}

func (c *conn) open(ctx context.Context) (*stream, error) {
	if c.IsClosed() {
		return nil, c.reason()
	}
	p, err := jsio.Try(func() js.Value { return c.js.Call("createBidirectionalStream") })
	if err != nil {
		return nil, c.explain(err)
	}
	pair, err := jsio.Await(ctx, p)
	if err != nil {
		if ctx.Err() != nil {
			c.discard(p)
		}
		return nil, c.explain(err)
	}
	return c.add(pair)
}

// discard resets the stream that p may still resolve to.
func (c *conn) discard(p js.Value) {
	go func() {
		if pair, err := jsio.Await(context.Background(), p); err == nil {
			if s, err := c.add(pair); err == nil {
				_ = s.Reset()
			}
		}
	}()
}

// AcceptStream waits for the next stream that the peer opens.
func (c *conn) AcceptStream() (network.MuxedStream, error) {
	r, err := jsio.Await(context.Background(), c.incoming.Call("read"))
	if err != nil {
		return nil, c.explain(err)
	}
	if r.Get("done").Truthy() {
		<-c.closed
		return nil, c.reason()
	}
	s, err := c.add(r.Get("value"))
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (c *conn) add(pair js.Value) (*stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	s := newStream(c, pair)
	c.streams[s] = struct{}{}
	return s, nil
}

func (c *conn) remove(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.streams, s)
}

// end closes the session and fails every stream with err. The first error stays.
func (c *conn) end(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	streams := c.streams
	c.streams = nil
	c.mu.Unlock()
	close(c.closed)
	c.scope.Done()
	// Chromium 156 crashes the page when a session is closed while the abort of a stream
	// with a pending write has not settled. So end waits for earlier aborts, and lets the
	// close itself fail the open streams.
	go func() {
		for s := range streams {
			if s.detached { // JavaScript may have just aborted it
				s.abort(err)
			}
		}
		c.aborts.Wait()
		// On a session that has already ended, close does nothing.
		_, _ = jsio.Call(c.js, "close", map[string]any{"closeCode": 0, "reason": ""})
		for s := range streams {
			s.fail(err)
		}
	}()
}

func (c *conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// explain returns the reason why the session ended, if it has, instead of a call's own
// error.
func (c *conn) explain(err error) error {
	if c.IsClosed() {
		return c.reason()
	}
	return err
}

// Close ends the session and all its streams. The peer sees an orderly close.
func (c *conn) Close() error {
	c.end(&network.ConnError{})
	return nil
}

// CloseWithError does the same as Close, because browsers cannot send libp2p's codes.
func (c *conn) CloseWithError(code network.ConnErrorCode) error {
	c.end(&network.ConnError{ErrorCode: code})
	return nil
}

// IsClosed reports whether the session has ended.
func (c *conn) IsClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// localAddr stands for the local address, which the platform does not report.
var localAddr = ma.StringCast("/ip4/0.0.0.0/udp/0/quic-v1/webtransport")

func (c *conn) LocalMultiaddr() ma.Multiaddr   { return localAddr }
func (c *conn) RemoteMultiaddr() ma.Multiaddr  { return c.target.addr }
func (c *conn) Scope() network.ConnScope       { return c.scope }
func (c *conn) Transport() transport.Transport { return c.transport }

// As gives access to the connection of this transport below those of a host, see Detach,
// and to its datagrams.
func (c *conn) As(into any) bool {
	switch into := into.(type) {
	case **conn:
		*into = c
		return true
	case *interface {
		SendDatagram(data []byte) error
		ReceiveDatagram(ctx context.Context) ([]byte, error)
	}:
		if c.grams.open() != nil {
			return false
		}
		*into = &c.grams
		return true
	}
	return false
}

func (c *conn) ConnState() network.ConnectionState {
	return network.ConnectionState{Transport: "webtransport"}
}

// handshakeConn is the first stream as the net.Conn that Noise takes.
type handshakeConn struct{ *stream }

func (h handshakeConn) LocalAddr() net.Addr  { return netAddr("") }
func (h handshakeConn) RemoteAddr() net.Addr { return netAddr(h.conn.target.url) }

// netAddr is the URL of a session as a net.Addr.
type netAddr string

func (netAddr) Network() string  { return "webtransport" }
func (a netAddr) String() string { return string(a) }
