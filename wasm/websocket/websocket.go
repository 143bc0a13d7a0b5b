//go:build js

// Package websocket is the libp2p WebSocket transport for programs that run inside a
// browser, a worker or Node.js (GOOS=js). It only dials, because nothing can listen
// there. It works with any go-libp2p host:
//
//	swarm.AddTransport(websocket.New(upgrader, rcmgr))
//
// Writes wait while more than 1 MiB is buffered in the platform. A WebSocket has no
// back-pressure for reading, so a connection whose reader falls more than 16 MiB behind
// is closed. The muxer reads all the time and its windows hold back every peer that
// honours them, so only a hostile peer causes that. A connection whose server sends text
// is closed, too, because libp2p's messages are binary. The platform delivers a message
// once it has all of it, so a single huge one cannot be refused before it costs the tab
// its memory.
//
// WebSocketStream, which has back-pressure, is not used: Chromium 156 crashes the page
// when one is closed while it is being read, and in a direct comparison it is not faster.
//
// Addresses: /ip4, /ip6, /dns, /dns4 or /dns6, then /tcp/PORT, then /ws, /wss, /tls/ws or
// /tls/sni/NAME/ws. The platform resolves names.
//
// Spec: https://github.com/libp2p/specs/blob/master/websockets/README.md
package websocket

import (
	"context"
	"errors"
	"fmt"
	"syscall/js"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"
)

// DefaultHandshakeTimeout bounds a dial: connecting, Noise and the muxer.
const DefaultHandshakeTimeout = 15 * time.Second

// ErrCannotListen is returned by Listen.
var ErrCannotListen = errors.New("a browser cannot listen for WebSocket connections; reserve a slot on a relay to be dialled")

// Option configures a Transport.
type Option func(*Transport)

// WithHandshakeTimeout bounds a dial by d instead of DefaultHandshakeTimeout.
func WithHandshakeTimeout(d time.Duration) Option {
	return func(t *Transport) { t.handshakeTimeout = d }
}

// Transport dials WebSocket addresses. It may be used concurrently.
type Transport struct {
	upgrader         transport.Upgrader
	rcmgr            network.ResourceManager
	handshakeTimeout time.Duration
}

var (
	_ transport.Transport    = (*Transport)(nil)
	_ transport.SkipResolver = (*Transport)(nil)
)

// New returns a transport. A nil rcmgr limits nothing.
func New(upgrader transport.Upgrader, rcmgr network.ResourceManager, opts ...Option) *Transport {
	if rcmgr == nil {
		rcmgr = &network.NullResourceManager{}
	}
	t := &Transport{
		upgrader:         upgrader,
		rcmgr:            rcmgr,
		handshakeTimeout: DefaultHandshakeTimeout,
	}
	for _, o := range opts {
		o(t)
	}
	return t
}

// Available reports whether the platform has WebSockets. (Node.js before 22 has
// them only with --experimental-websocket.)
func Available() bool { return !js.Global().Get("WebSocket").IsUndefined() }

// CanDial reports whether addr is a WebSocket address that Dial understands.
func (t *Transport) CanDial(addr ma.Multiaddr) bool {
	_, err := dialURL(addr)
	return err == nil
}

// Dial connects to the peer p at addr, and secures and multiplexes the connection. It
// fails when ctx ends or the handshake takes too long; the error says which.
func (t *Transport) Dial(ctx context.Context, addr ma.Multiaddr, p peer.ID) (transport.CapableConn, error) {
	url, err := dialURL(addr)
	if err != nil {
		return nil, err
	}
	scope, err := t.rcmgr.OpenConnection(network.DirOutbound, true, addr)
	if err != nil {
		return nil, err
	}
	c, err := t.dial(ctx, addr, url, p, scope)
	if err != nil {
		scope.Done()
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return c, nil
}

var errHandshakeTimeout = errors.New("handshake took too long")

func (t *Transport) dial(ctx context.Context, addr ma.Multiaddr, url string, p peer.ID, scope network.ConnManagementScope) (transport.CapableConn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, t.handshakeTimeout, errHandshakeTimeout)
	defer cancel()
	raw, err := open(ctx, url)
	if err != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	// The upgrader waits for the peer without watching ctx.
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	c, err := t.upgrader.Upgrade(ctx, t, &conn{socket: raw, remote: addr}, network.DirOutbound, p, scope)
	if !stop() && err == nil {
		_ = c.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = raw.Close()
		return nil, errors.Join(context.Cause(ctx), err)
	}
	return capableConn{c}, nil
}

// Listen fails with ErrCannotListen.
func (t *Transport) Listen(addr ma.Multiaddr) (transport.Listener, error) {
	return nil, fmt.Errorf("listen on %s: %w", addr, ErrCannotListen)
}

// Protocols returns the codes of the addresses that the transport dials.
func (t *Transport) Protocols() []int { return []int{ma.P_WS, ma.P_WSS} }

// Proxy returns false: the transport reaches peers by itself.
func (t *Transport) Proxy() bool { return false }

// SkipResolve returns true: Go has no resolver in a browser, and the platform resolves
// the names in URLs.
func (t *Transport) SkipResolve(context.Context, ma.Multiaddr) bool { return true }

// capableConn reports the transport's name in the connection's state.
type capableConn struct{ transport.CapableConn }

func (c capableConn) ConnState() network.ConnectionState {
	s := c.CapableConn.ConnState()
	s.Transport = "websocket"
	return s
}
