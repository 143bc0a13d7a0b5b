// Package webrtc implements libp2p's /webrtc, private to private: two peers that have a
// circuit through a relay get a connection without it. It also dials libp2p's
// /webrtc-direct, see [Dialler]. It contains no platform code: package native/webrtc uses
// pion, and package wasm/webrtc the browser.
//
//	t, err := webrtc.AddTransport(h, platform, webrtc.Options{})
//
// The dialling end opens a stream of [Protocol] on the circuit, over which both ends
// exchange their addresses and certificates. The circuit is authenticated and encrypted
// from end to end, so the peer's identity is the circuit's, and the new connection
// accepts only the certificates that were exchanged there: there is no second handshake.
// Each stream is a separate data channel.
//
// Between two peers that both use this package, a slow reader holds the writer back, per
// stream, and messages are larger than other implementations accept. With other peers, a
// stream is reset when too much of it is unread: WebRTC in a browser has nothing to hold
// a sender back with.
//
// Spec: https://github.com/libp2p/specs/blob/master/webrtc/webrtc.md and README.md
// beside it.
package webrtc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
	"golang.org/x/time/rate"

	"github.com/tombolo-net/tombolo/core/supervise"
)

// Protocol is the protocol of the streams on which two peers arrange a connection.
const Protocol protocol.ID = "/webrtc-signaling/0.0.1"

// Addr is the address that the transport listens on and dials: peers exchange their real
// addresses over a circuit. Addr is useless to other peers; see [Hide].
var Addr = ma.StringCast("/webrtc")

// DefaultTimeout bounds a dial, and the answer to one. ICE gives up after fifteen seconds
// if the platform has an address to try; otherwise it never does.
const DefaultTimeout = 20 * time.Second

const (
	// maxAttempts bounds the connections that are being answered at once.
	maxAttempts = 16
	// attemptsBurst and attemptsRate bound the answers over time: a browser allows about
	// 500 connections per tab, and closed ones count until they are garbage collected.
	attemptsBurst = 32
	attemptsRate  = 2 // a second
)

// Errors that the error of Dial wraps, by cause.
var (
	// ErrNoCircuit means that there is no circuit to the peer.
	ErrNoCircuit = errors.New("no connection through a relay to arrange it on")
	// ErrRefused means that the peer did not answer on the circuit as the specification
	// requires.
	ErrRefused = errors.New("the peer does not arrange a connection")
	// ErrPlatform means that the platform could not make a connection.
	ErrPlatform = errors.New("the platform makes no WebRTC connection")
	// ErrUnanswered means that none of the peer's addresses answers, or that they no
	// longer do.
	ErrUnanswered = errors.New("no address of the peer answers")
	// ErrCertificate means that the other end has another certificate than the peer sent,
	// or than the address contains. Platforms cannot tell this from an end that gives up
	// at that moment.
	ErrCertificate = errors.New("what answers has another certificate than the one that was told, or gave up")
)

var errTimeout = errors.New("it took too long")

// Lost reports whether c, a connection of this transport that has ended, ended because
// the peer no longer answered, and not because either end closed it.
func Lost(c network.Conn) bool {
	var mine *conn
	return c.As(&mine) && errors.Is(mine.endErr(), ErrUnanswered)
}

// Options configure a Transport. The zero value is usable.
type Options struct {
	// Gater is asked about each connection. If nil, all are allowed.
	Gater connmgr.ConnectionGater
	// Timeout bounds a dial and the answer to one. If zero, DefaultTimeout.
	Timeout time.Duration
}

// Transport makes connections between peers that have a circuit. All methods may be
// called concurrently.
type Transport struct {
	host      host.Host
	platform  Platform
	gater     connmgr.ConnectionGater
	timeout   time.Duration
	inbound   chan *conn
	closed    chan struct{}
	closeOnce sync.Once
	closing   supervise.Calls // of connections that are ending, and of answers

	mu        sync.Mutex
	answering map[peer.ID]struct{}
	answers   *rate.Limiter
	listening bool
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ io.Closer           = (*Transport)(nil)
)

// AddTransport makes a transport, adds it to the host and makes the host listen on Addr.
// The host closes it. The host's AddrsFactory must use [Hide].
func AddTransport(h host.Host, p Platform, o Options) (*Transport, error) {
	nw, ok := h.Network().(transport.TransportNetwork)
	if !ok {
		return nil, fmt.Errorf("add the transport /webrtc: %T takes no transports", h.Network())
	}
	t := &Transport{
		host:      h,
		platform:  p,
		gater:     o.Gater,
		timeout:   o.Timeout,
		inbound:   make(chan *conn),
		closed:    make(chan struct{}),
		answering: make(map[peer.ID]struct{}),
		answers:   rate.NewLimiter(attemptsRate, attemptsBurst),
	}
	if t.timeout == 0 {
		t.timeout = DefaultTimeout
	}
	if err := nw.AddTransport(t); err != nil {
		return nil, fmt.Errorf("add the transport /webrtc: %w", err)
	}
	if err := nw.Listen(Addr); err != nil {
		return nil, fmt.Errorf("listen on /webrtc: %w", err)
	}
	h.SetStreamHandler(Protocol, t.answer)
	return t, nil
}

// Hide returns addrs without Addr, because other peers cannot dial it. An AddrsFactory
// may call it.
func Hide(addrs []ma.Multiaddr) []ma.Multiaddr {
	return slices.DeleteFunc(slices.Clone(addrs), Addr.Equal)
}

// CanDial reports whether addr is Addr.
func (t *Transport) CanDial(addr ma.Multiaddr) bool { return addr.Equal(Addr) }

// Protocols returns the protocols of the addresses that the transport handles.
func (t *Transport) Protocols() []int { return []int{ma.P_WEBRTC} }

// Proxy returns false: the connection does not pass through another peer.
func (t *Transport) Proxy() bool { return false }

// Dial makes a connection to p. There must be a circuit to p: see ErrNoCircuit. Dial
// returns an error when ctx ends, or after Options.Timeout.
func (t *Transport) Dial(ctx context.Context, addr ma.Multiaddr, p peer.ID) (transport.CapableConn, error) {
	c, err := t.dial(ctx, addr, p)
	if err != nil {
		return nil, fmt.Errorf("dial %s by WebRTC: %w", p, err)
	}
	return c, nil
}

func (t *Transport) dial(ctx context.Context, addr ma.Multiaddr, p peer.ID) (*conn, error) {
	if !t.CanDial(addr) {
		return nil, fmt.Errorf("%s is not %s", addr, Addr)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.timeout, errTimeout)
	defer cancel()
	s, err := t.openSignalling(ctx, p)
	if err != nil {
		return nil, err
	}
	c, err := t.open(s, network.DirOutbound)
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
		defer stop()
		err = c.offer(ctx, t.newExchange(s))
		if err != nil {
			c.end(err)
		}
	}
	if err != nil {
		_ = s.Reset()
		return nil, err
	}
	_ = s.Close()
	return c, nil
}

// openSignalling opens a stream on the newest circuit to p.
func (t *Transport) openSignalling(ctx context.Context, p peer.ID) (network.Stream, error) {
	var circuit network.Conn
	for _, c := range t.host.Network().ConnsToPeer(p) {
		if isCircuit(c) && (circuit == nil || c.Stat().Opened.After(circuit.Stat().Opened)) {
			circuit = c
		}
	}
	if circuit == nil {
		return nil, ErrNoCircuit
	}
	s, err := circuit.NewStream(network.WithAllowLimitedConn(ctx, string(Protocol)))
	if err != nil {
		return nil, fmt.Errorf("open a stream on the circuit: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	_, err = multistream.SelectOneOf([]protocol.ID{Protocol}, s)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = s.SetProtocol(Protocol)
	}
	if err != nil {
		_ = s.ResetWithError(network.StreamProtocolNegotiationFailed)
		return nil, fmt.Errorf("%w: agree on %s: %w", ErrRefused, Protocol, err)
	}
	return s, nil
}

func isCircuit(c network.Conn) bool {
	_, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT)
	return err == nil && !c.IsClosed()
}

// open makes a connection to the peer at the other end of s, which the platform has not
// started yet.
func (t *Transport) open(s network.Stream, dir network.Direction) (*conn, error) {
	scope, err := t.host.Network().ResourceManager().OpenConnection(dir, false, Addr)
	if err != nil {
		return nil, err
	}
	p := s.Conn().RemotePeer()
	c := newConn(ends{
		transport: t,
		closing:   &t.closing,
		name:      "webrtc",
		local:     t.host.ID(),
		remote:    p,
		remoteKey: s.Conn().RemotePublicKey(),
		addr:      Addr,
		scope:     scope,
	})
	err = scope.SetPeer(p)
	if err == nil && t.gater != nil && !t.gater.InterceptSecured(dir, p, c) {
		err = errors.New("connection gated")
	}
	if err != nil {
		scope.Done()
		return nil, err
	}
	return c, nil
}

// answer answers a peer that wants a connection.
func (t *Transport) answer(s network.Stream) {
	p := s.Conn().RemotePeer()
	if !t.beginAnswer(p) {
		_ = s.ResetWithError(network.StreamRateLimited)
		return
	}
	defer t.closing.Leave()
	ctx, cancel := context.WithTimeoutCause(context.Background(), t.timeout, errTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	c, err := t.open(s, network.DirInbound)
	if err != nil {
		t.endAnswer(p)
		_ = s.ResetWithError(network.StreamGated)
		return
	}
	x := t.newExchange(s)
	err = c.answer(ctx, x)
	t.endAnswer(p) // the peer may have lost the connection already, and may ask for another
	if err == nil {
		select {
		case t.inbound <- c:
			x.drain()
			_ = s.Close()
			return
		case <-t.closed:
			err = errConnClosed
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	_ = s.Reset()
	c.end(err)
	<-c.released // Close may not count the connection any more, but it waits for this answer
}

// beginAnswer reports whether one more peer may be answered. If so, the caller must call
// endAnswer, and closing.Leave when nothing more is to be done for the peer.
func (t *Transport) beginAnswer(p peer.ID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, is := t.answering[p]; is || len(t.answering) >= maxAttempts || !t.answers.Allow() || !t.closing.Begin() {
		return false
	}
	t.answering[p] = struct{}{}
	return true
}

func (t *Transport) endAnswer(p peer.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.answering, p)
}

// Close refuses further connections. Open connections stay open: the host closes them.
// Close waits for those that are being answered, and for those that are closing.
func (t *Transport) Close() error {
	t.closeOnce.Do(func() { close(t.closed) })
	t.host.RemoveStreamHandler(Protocol)
	t.closing.End()
	t.closing.Wait()
	return nil
}

// Listen listens on Addr. There can be only one listener at a time.
func (t *Transport) Listen(addr ma.Multiaddr) (transport.Listener, error) {
	if !t.CanDial(addr) {
		return nil, fmt.Errorf("listen on %s: only %s can be listened on", addr, Addr)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listening {
		return nil, fmt.Errorf("listen on %s: it is listened on already", addr)
	}
	t.listening = true
	return &listener{transport: t, closed: make(chan struct{})}, nil
}

// newExchange returns an exchange on s.
func (t *Transport) newExchange(s network.Stream) *exchange {
	return &exchange{platform: t.platform, stream: s, r: bufio.NewReader(s), candidates: make(chan string, maxSignals)}
}
