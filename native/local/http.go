package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tombolo-net/tombolo/core/bridge"
)

const (
	headerTimeout = 10 * time.Second // of a request, once it has begun
	idleTimeout   = 2 * time.Minute  // between two requests

	// stallTimeout is how long a peer may read nothing of a response. It cannot be as short
	// as for a TCP connection: with yamux, the sender is told only when half a window has
	// been read, which is up to 8 MiB, and a player of videos reads slowly.
	stallTimeout = 2 * time.Minute
)

// HTTP returns a target that serves HTTP/1.1 with a handler of this program, directly on
// the peer's stream. RemoteAddr of a request is /p2p/<peer>. name is how the registry
// lists the target. A stream whose peer reads nothing of a response for two minutes is
// reset, unless the handler hijacked the connection or set its own write deadline.
func HTTP(name string, h http.Handler) bridge.Target { return &httpTarget{name, h, stallTimeout} }

type httpTarget struct {
	name    string
	handler http.Handler
	stall   time.Duration // see stallTimeout
}

func (t *httpTarget) String() string { return t.name }

// Serve implements bridge.Target. It returns when the handler has returned, including one
// that hijacked the connection.
func (t *httpTarget) Serve(ctx context.Context, c *bridge.Conn) error {
	var handling sync.WaitGroup
	left := make(chan struct{}) // the server is done with the connection
	one := &oneConn{closed: make(chan struct{})}
	one.conn = &servedConn{Conn: c, listener: one, stall: t.stall}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handling.Add(1)
			defer handling.Done()
			t.handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateHijacked {
				one.conn.hijacked.Store(true)
			}
			if s == http.StateClosed || s == http.StateHijacked {
				close(left) // one of them, once
			}
		},
	}
	stop := context.AfterFunc(ctx, func() {
		_ = c.Close() // otherwise a handler that reads would not return
		_ = one.Close()
	})
	defer stop()
	err := server.Serve(one)
	<-left
	handling.Wait()
	if one.conn.stalled.Load() {
		return fmt.Errorf("%w: the peer read nothing of a response for %s", bridge.TimedOut, t.stall)
	}
	if err != net.ErrClosed {
		return err
	}
	return nil
}

// oneConn is a listener that accepts one connection, and closes with it.
type oneConn struct {
	conn     *servedConn
	accepted bool
	once     sync.Once
	closed   chan struct{}
}

// Accept is called by one goroutine.
func (l *oneConn) Accept() (net.Conn, error) {
	if !l.accepted {
		l.accepted = true
		return l.conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }

// servedConn is the connection as the server uses it. It closes its listener when it is
// closed, and a Write fails if the peer reads nothing for as long as stall.
type servedConn struct {
	*bridge.Conn
	listener *oneConn
	stall    time.Duration
	hijacked atomic.Bool // the handler owns the connection, and its deadlines
	own      atomic.Bool // the handler set a write deadline
	stalled  atomic.Bool
}

// Write moves the deadline whenever something was sent.
func (c *servedConn) Write(p []byte) (done int, err error) {
	if c.hijacked.Load() || c.own.Load() {
		return c.Conn.Write(p)
	}
	defer c.Conn.SetWriteDeadline(time.Time{})
	for {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
			return done, err
		}
		n, err := c.Conn.Write(p[done:])
		done += n
		timeout, ok := errors.AsType[net.Error](err)
		if !ok || !timeout.Timeout() || c.Failure() != nil {
			return done, err
		}
		if n == 0 {
			c.stalled.Store(true)
			return done, err
		}
	}
}

// SetWriteDeadline is called by the server with the zero time, and by handlers.
func (c *servedConn) SetWriteDeadline(t time.Time) error {
	c.own.Store(!t.IsZero())
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline sets both deadlines.
func (c *servedConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Close leaves a stalled stream open: Serve's caller resets it, because its peer must not
// take what was sent for all.
func (c *servedConn) Close() error {
	defer c.listener.Close()
	if c.stalled.Load() {
		return nil
	}
	return c.Conn.Close()
}
