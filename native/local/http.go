package local

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/tombolo-net/tombolo/core/bridge"
)

const (
	headerTimeout = 10 * time.Second // of a request, once it has begun
	idleTimeout   = 2 * time.Minute  // between two requests
)

// HTTP returns a target that serves HTTP/1.1 with a handler of this program, directly on
// the peer's stream. RemoteAddr of a request is /p2p/<peer>. name is how the registry
// lists the target.
func HTTP(name string, h http.Handler) bridge.Target { return &httpTarget{name, h} }

type httpTarget struct {
	name    string
	handler http.Handler
}

func (t *httpTarget) String() string { return t.name }

// Serve implements bridge.Target. It returns when the handler has returned, including one
// that hijacked the connection.
func (t *httpTarget) Serve(ctx context.Context, c *bridge.Conn) error {
	var handling sync.WaitGroup
	left := make(chan struct{}) // the server is done with the connection
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
			if s == http.StateClosed || s == http.StateHijacked {
				close(left) // one of them, once
			}
		},
	}
	one := &oneConn{conn: c, closed: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() {
		_ = c.Close() // otherwise a handler that reads would not return
		_ = one.Close()
	})
	defer stop()
	err := server.Serve(one)
	<-left
	handling.Wait()
	if err != net.ErrClosed {
		return err
	}
	return nil
}

// oneConn is a listener that accepts one connection, and closes with it.
type oneConn struct {
	conn     net.Conn
	accepted bool
	once     sync.Once
	closed   chan struct{}
}

// Accept is called by one goroutine.
func (l *oneConn) Accept() (net.Conn, error) {
	if !l.accepted {
		l.accepted = true
		return &notedConn{l.conn, l}, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }

// notedConn closes its listener when it is closed.
type notedConn struct {
	net.Conn
	listener *oneConn
}

func (c *notedConn) Close() error {
	defer c.listener.Close()
	return c.Conn.Close()
}

// CloseWrite lets the server end a response that the peer did not wait for.
func (c *notedConn) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}
