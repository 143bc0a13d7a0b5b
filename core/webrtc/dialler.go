package webrtc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/time/rate"

	"github.com/tombolo-net/tombolo/core/supervise"
)

// ErrCannotListen is returned by Listen of a Dialler.
var ErrCannotListen = errors.New("this end of /webrtc-direct only dials, and a browser cannot listen; reserve a slot on a relay to be dialled")

// DiallerOptions configure a Dialler. The zero value is usable.
type DiallerOptions struct {
	// Gater is asked about each connection. If nil, all are allowed.
	Gater connmgr.ConnectionGater
	// Limits bound the connections. If nil, there are none.
	Limits network.ResourceManager
	// Timeout bounds a dial. If zero, DefaultTimeout.
	Timeout time.Duration
}

// Dialler dials libp2p's /webrtc-direct: a peer with a public UDP port, whose address
// contains the hash of its certificate. There is no signalling: this end makes up the
// peer's answer, and the peer makes up this end's offer from the first packet. A Noise
// handshake on the first data channel then proves the peer's identity, and that nobody is
// in between.
//
// An address is /ip4 or /ip6, then /udp/PORT/webrtc-direct, then one /certhash. Names are
// refused, because browsers do not resolve names for WebRTC.
//
// A Dialler uses version 2 of the protocol, which does not need the browser to accept a
// password of ours; browsers are about to refuse that. Peers of go-libp2p 0.51 and later
// answer version 2; others do not, and the dial fails with ErrUnanswered.
//
// Nothing holds back a peer that sends faster than it is read: a stream is reset when
// more than 4 MiB of it are unread.
//
// All methods may be called concurrently. Spec:
// https://github.com/libp2p/specs/blob/master/webrtc/webrtc-direct.md
type Dialler struct {
	local    peer.ID
	noise    *noise.Transport
	platform Platform
	gater    connmgr.ConnectionGater
	limits   network.ResourceManager
	timeout  time.Duration
	dials    *rate.Limiter
	closing  supervise.Calls // of connections that are ending
}

var (
	_ transport.Transport    = (*Dialler)(nil)
	_ transport.SkipResolver = (*Dialler)(nil)
	_ io.Closer              = (*Dialler)(nil)
)

// NewDialler makes the transport of the peer to which key belongs.
func NewDialler(key crypto.PrivKey, p Platform, o DiallerOptions) (*Dialler, error) {
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	n, err := noise.New(noise.ID, key, nil)
	if err != nil {
		return nil, err
	}
	d := &Dialler{
		local:    id,
		noise:    n,
		platform: p,
		gater:    o.Gater,
		limits:   o.Limits,
		timeout:  o.Timeout,
		dials:    rate.NewLimiter(attemptsRate, attemptsBurst),
	}
	if d.limits == nil {
		d.limits = &network.NullResourceManager{}
	}
	if d.timeout == 0 {
		d.timeout = DefaultTimeout
	}
	return d, nil
}

// CanDial reports whether Dial understands addr. It also returns true for an address that
// Dial refuses only because of its name, so that Dial can report that.
func (d *Dialler) CanDial(addr ma.Multiaddr) bool {
	_, err := parseServer(addr)
	return err == nil || errors.Is(err, errName)
}

// Protocols returns the protocols of the addresses that the transport handles.
func (d *Dialler) Protocols() []int { return []int{ma.P_WEBRTC_DIRECT} }

// Proxy returns false: the connection does not pass through another peer.
func (d *Dialler) Proxy() bool { return false }

// SkipResolve returns true: Go has no resolver in a browser, either.
func (d *Dialler) SkipResolve(context.Context, ma.Multiaddr) bool { return true }

// Listen returns ErrCannotListen.
func (d *Dialler) Listen(addr ma.Multiaddr) (transport.Listener, error) {
	return nil, fmt.Errorf("listen on %s: %w", addr, ErrCannotListen)
}

// Close waits for the connections that are closing. The host closes the others.
func (d *Dialler) Close() error {
	d.closing.End()
	d.closing.Wait()
	return nil
}

// Dial connects to the peer p at addr. It returns an error when ctx ends, or after
// DiallerOptions.Timeout. The error wraps ErrUnanswered if nothing answers at addr,
// ErrCertificate if the other end has another certificate than addr says, and
// sec.ErrPeerIDMismatch if it is another peer. If there are more than about two dials a
// second, Dial waits.
func (d *Dialler) Dial(ctx context.Context, addr ma.Multiaddr, p peer.ID) (transport.CapableConn, error) {
	to, err := parseServer(addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout, errTimeout)
	defer cancel()
	if err := d.dials.Wait(ctx); err != nil {
		return nil, fmt.Errorf("dial %s: too many WebRTC connections at once: %w", addr, err)
	}
	scope, err := d.limits.OpenConnection(network.DirOutbound, false, addr)
	if err != nil {
		return nil, err
	}
	if err := scope.SetPeer(p); err != nil {
		scope.Done()
		return nil, err
	}
	c := newConn(ends{
		transport:   d,
		closing:     &d.closing,
		name:        "webrtc-direct",
		local:       d.local,
		remote:      p,
		addr:        to.addr,
		scope:       scope,
		lengthApart: true,
	})
	if err := d.connect(ctx, c, to); err != nil {
		c.end(err)
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return c, nil
}

// connect makes the connection, and verifies the peer's identity.
func (d *Dialler) connect(ctx context.Context, c *conn, to server) error {
	if err := c.begin(d.platform, func(string) {}); err != nil { // the peer learns this end's address from its packets
		return err
	}
	ch, err := c.pc.FirstChannel(ctx)
	if err != nil {
		return fmt.Errorf("open the first channel: %w", err)
	}
	first, err := c.newStream(ch, false)
	if err != nil {
		return err
	}
	ch.Handle(first)
	sdp, err := c.pc.Offer(ctx)
	if err != nil {
		return fmt.Errorf("make an offer: %w", err)
	}
	own, err := parseOffer(sdp)
	if err != nil {
		return err
	}
	if err := c.pc.Accept(ctx, to.answer(own.password)); err != nil {
		return fmt.Errorf("take the answer that was made up: %w", err)
	}
	select {
	case <-c.connected:
	case <-c.ended:
		if err := c.endErr(); errors.Is(err, ErrUnanswered) || errors.Is(err, ErrCertificate) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrCertificate, c.endErr()) // most platforms report only that the connection is closed
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnanswered, context.Cause(ctx))
	}
	if c.remoteKey, err = d.prove(ctx, first, prologue(own.fingerprint, to.fingerprint), c.remote); err != nil {
		return fmt.Errorf("prove who the peer is: %w", orCause(ctx, err))
	}
	if d.gater != nil && !d.gater.InterceptSecured(network.DirOutbound, c.remote, c) {
		return errors.New("connection gated")
	}
	return nil
}

// prove runs the Noise handshake on the first stream, which the peer starts, and returns
// the peer's key. It leaves the channel open: if it were closed, its ID could be reused
// before the peer notices.
func (d *Dialler) prove(ctx context.Context, first *stream, prologue []byte, p peer.ID) (crypto.PubKey, error) {
	n, err := d.noise.WithSessionOptions(noise.Prologue(prologue))
	if err != nil {
		return nil, err
	}
	secured, err := n.SecureInbound(ctx, handshakeConn{first}, p)
	if err != nil {
		return nil, err
	}
	first.mu.Lock()
	defer first.mu.Unlock()
	first.endRead(io.EOF) // nothing more is read from it
	return secured.RemotePublicKey(), nil
}

// prologue returns the prologue that binds the Noise handshake to the certificates of
// both ends.
func prologue(dialler, server fingerprint) []byte {
	return slices.Concat([]byte("libp2p-webrtc-noise:"), dialler.multihash(), server.multihash())
}

// handshakeConn makes a stream a net.Conn, for the Noise handshake.
type handshakeConn struct{ *stream }

var _ net.Conn = handshakeConn{}

// Close is called if the handshake has failed.
func (c handshakeConn) Close() error       { return c.Reset() }
func (handshakeConn) LocalAddr() net.Addr  { return nil }
func (handshakeConn) RemoteAddr() net.Addr { return nil }
