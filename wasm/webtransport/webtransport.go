//go:build js

// Package webtransport is the libp2p WebTransport transport for programs that run inside
// a browser or a worker (GOOS=js). It only dials, because nothing can listen there. It
// works with any go-libp2p host:
//
//	t, err := webtransport.New(key, gater, rcmgr)
//	swarm.AddTransport(t)
//
// The browser's QUIC carries the streams: there is no muxer and no second encryption. A
// Noise handshake over the first stream proves the peer's identity, and that the peer
// vouches for the certificate that the browser accepted.
//
// Addresses: /ip4, /ip6, /dns, /dns4 or /dns6, then /udp/PORT/quic-v1/webtransport, then
// one or more /certhash (go-libp2p announces two: of the current and of the next
// certificate). The platform resolves names.
//
// Spec: https://github.com/libp2p/specs/blob/master/webtransport/README.md
package webtransport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall/js"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/security/noise/pb"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"

	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// DefaultHandshakeTimeout bounds a dial: QUIC, the session and Noise.
const DefaultHandshakeTimeout = 15 * time.Second

// ErrCannotListen is returned by Listen.
var ErrCannotListen = errors.New("a browser cannot listen for WebTransport sessions; reserve a slot on a relay to be dialled")

// ErrCertHashNotVouched is returned by Dial if the peer does not vouch for a certificate
// hash of the address: an attacker may be in between.
var ErrCertHashNotVouched = errors.New("the peer does not vouch for a certificate hash of the address")

// Option configures a Transport.
type Option func(*Transport)

// WithHandshakeTimeout bounds a dial by d instead of DefaultHandshakeTimeout.
func WithHandshakeTimeout(d time.Duration) Option {
	return func(t *Transport) { t.handshakeTimeout = d }
}

// Transport dials WebTransport addresses. It may be used concurrently.
type Transport struct {
	noise            *noise.Transport
	gater            connmgr.ConnectionGater
	rcmgr            network.ResourceManager
	handshakeTimeout time.Duration
}

var (
	_ transport.Transport    = (*Transport)(nil)
	_ transport.SkipResolver = (*Transport)(nil)
)

// New returns a transport for the peer that key belongs to. gater may be nil; a nil rcmgr
// limits nothing.
func New(key crypto.PrivKey, gater connmgr.ConnectionGater, rcmgr network.ResourceManager, opts ...Option) (*Transport, error) {
	n, err := noise.New(noise.ID, key, nil)
	if err != nil {
		return nil, err
	}
	if rcmgr == nil {
		rcmgr = &network.NullResourceManager{}
	}
	t := &Transport{noise: n, gater: gater, rcmgr: rcmgr, handshakeTimeout: DefaultHandshakeTimeout}
	for _, o := range opts {
		o(t)
	}
	return t, nil
}

// Available reports whether the platform has WebTransport. Browsers offer it only in
// secure contexts (https, or localhost); Node.js does not have it.
func Available() bool { return !js.Global().Get("WebTransport").IsUndefined() }

// CanDial reports whether addr is a WebTransport address that Dial understands.
func (t *Transport) CanDial(addr ma.Multiaddr) bool {
	_, err := parse(addr)
	return err == nil
}

// Dial connects to the peer p at addr. It fails when ctx ends or the handshake
// takes too long; the error says which.
func (t *Transport) Dial(ctx context.Context, addr ma.Multiaddr, p peer.ID) (transport.CapableConn, error) {
	target, err := parse(addr)
	if err != nil {
		return nil, err
	}
	scope, err := t.rcmgr.OpenConnection(network.DirOutbound, false, addr)
	if err != nil {
		return nil, err
	}
	c, err := t.dial(ctx, target, p, scope)
	if err != nil {
		scope.Done()
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return c, nil
}

var errHandshakeTimeout = errors.New("handshake took too long")

func (t *Transport) dial(ctx context.Context, to target, p peer.ID, scope network.ConnManagementScope) (transport.CapableConn, error) {
	if err := scope.SetPeer(p); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.handshakeTimeout, errHandshakeTimeout)
	defer cancel()
	session, err := open(ctx, to)
	if err != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	c := newConn(t, session, to, scope)
	if c.ConnSecurity, err = t.prove(ctx, c, p); err != nil {
		c.end(err)
		return nil, errors.Join(context.Cause(ctx), err)
	}
	if t.gater != nil && !t.gater.InterceptSecured(network.DirOutbound, p, c) {
		err := errors.New("connection gated")
		c.end(err)
		return nil, err
	}
	return c, nil
}

// open makes the browser open the session.
func open(ctx context.Context, to target) (js.Value, error) {
	session, err := jsio.Try(func() js.Value { return js.Global().Get("WebTransport").New(to.url, to.options()) })
	if err != nil {
		return session, err
	}
	session.Get("closed").Call("then", jsio.Ignore, jsio.Ignore)
	if _, err := jsio.Await(ctx, session.Get("ready")); err != nil {
		_, _ = jsio.Call(session, "close") // otherwise a pending one counts against the browser's limit of 64
		return session, err
	}
	return session, nil
}

// prove runs the Noise handshake on the first stream, which also carries the
// certificate hashes the peer vouches for.
func (t *Transport) prove(ctx context.Context, c *conn, p peer.ID) (network.ConnSecurity, error) {
	s, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	certs := &certCheck{dialled: c.target.hashes}
	n, err := t.noise.WithSessionOptions(noise.EarlyData(certs, nil))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	secured, err := n.SecureOutbound(ctx, handshakeConn{s}, p)
	if err != nil {
		return nil, err
	}
	if !certs.vouched {
		return nil, ErrCertHashNotVouched
	}
	return secured, nil
}

// certCheck receives the early data of the Noise handshake and checks that it names every
// hash of the dialled address.
type certCheck struct {
	dialled []multihash.DecodedMultihash
	vouched bool
}

var _ noise.EarlyDataHandler = (*certCheck)(nil)

func (c *certCheck) Send(context.Context, net.Conn, peer.ID) *pb.NoiseExtensions { return nil }

func (c *certCheck) Received(_ context.Context, _ net.Conn, early *pb.NoiseExtensions) error {
	named := make(map[string]bool)
	for _, h := range early.GetWebtransportCerthashes() {
		named[string(h)] = true
	}
	for _, h := range c.dialled {
		encoded, err := multihash.Encode(h.Digest, h.Code)
		if err != nil {
			return err
		}
		if !named[string(encoded)] {
			return fmt.Errorf("%w: %x", ErrCertHashNotVouched, h.Digest)
		}
	}
	c.vouched = true
	return nil
}

// Listen fails with ErrCannotListen.
func (t *Transport) Listen(addr ma.Multiaddr) (transport.Listener, error) {
	return nil, fmt.Errorf("listen on %s: %w", addr, ErrCannotListen)
}

// Protocols returns the codes of the addresses that the transport dials.
func (t *Transport) Protocols() []int { return []int{ma.P_WEBTRANSPORT} }

// Proxy returns false: the transport reaches peers by itself.
func (t *Transport) Proxy() bool { return false }

// SkipResolve returns true: Go has no resolver in a browser, and the platform resolves
// the names in URLs.
func (t *Transport) SkipResolve(context.Context, ma.Multiaddr) bool { return true }
