// Package stack makes the libp2p host of an operating-system process: every transport, on
// one TCP and one UDP port, with suitable limits. A native node and a relay are both
// built on it.
//
// Plain TCP, WebSocket and HTTP share the TCP port; QUIC, WebTransport and WebRTC-direct
// share the UDP port. Security is Noise or TLS, and the multiplexer is yamux, unless the
// transport has its own; browsers support Noise only.
package stack

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	libp2pwebrtc "github.com/libp2p/go-libp2p/p2p/transport/webrtc"
	"github.com/libp2p/go-libp2p/p2p/transport/websocket"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tombolo-net/tombolo/core/muxer"
)

// Bounds of the HTTP server that shares the TCP port. A request may carry all the cookies
// that browsers keep for a domain, 180 of 4 KiB: see relay/cookies.go.
const (
	httpHeaderTimeout = 10 * time.Second
	httpIdleTimeout   = 60 * time.Second
	httpHeaderBytes   = 1 << 20
)

// trimGrace is how long a new connection is safe from the connection manager.
const trimGrace = 20 * time.Second

// Options configure a host.
type Options struct {
	// Key is the identity; required.
	Key crypto.PrivKey
	// Listen are the addresses to listen on; see DefaultListen and ParseListen. All TCP
	// addresses with port 0 get one port, and so do all UDP addresses: the same number if
	// that is free. If empty, the host does not listen.
	Listen []ma.Multiaddr
	// AddrsFactory maps the host's own addresses to those it announces. If nil, it announces
	// its own. AddrsFactory may be called from any goroutine.
	AddrsFactory func([]ma.Multiaddr) []ma.Multiaddr
	// UserAgent is the name that the host reports to peers.
	UserAgent string
	// Peers is the number of connected peers that the limits are sized for; above it the
	// least useful connections are closed. If zero, DefaultPeers.
	Peers int
	// MapPorts asks the router, by UPnP or NAT-PMP, to forward the ports,
	// unless the host listens on loopback addresses only.
	MapPorts bool
	// STUN makes the UDP ports of WebRTC-direct answer STUN requests with the address that
	// they come from. Browsers and peers that a relay has introduced need to know it.
	STUN bool
	// HTTP handles the requests on the TCP ports that are not WebSocket upgrades. If nil,
	// they get a 404.
	HTTP http.Handler
	// TrustedProxies are the addresses of proxies in front of the TCP ports. The host
	// believes the client address that they report by the PROXY protocol, or by
	// X-Forwarded-For in the first request of a connection. All limits, and RemoteMultiaddr,
	// then use that address.
	TrustedProxies []netip.Prefix
	// TLS is the configuration for addresses that end in /tls/ws. If nil, Listen may not
	// have any.
	TLS *tls.Config
	// Registerer registers the metrics of libp2p. If nil, there are none.
	Registerer prometheus.Registerer
	// StreamRate is the number of streams per second that a peer may open, after the first
	// 4096. Further streams are reset, and if a peer does not stop, its connections are
	// closed. If zero, there is no such limit.
	StreamRate int
	// MaySpeak reports whether a peer may have streams of a protocol, in both directions;
	// other streams are reset. It is called for each stream, from any goroutine. If nil,
	// every peer may.
	MaySpeak func(peer.ID, protocol.ID) bool
	// Refused is called for each connection that is closed to make room for others, and for
	// each stream that is refused, with the name of the limit: LimitApplicants or
	// LimitStreams. It must not block. It may be nil.
	Refused func(limit string)
	// Libp2p are further options, for one kind of program only.
	Libp2p []libp2p.Option
}

// LimitApplicants is the limit of connections that are not yet a peer: those that have
// sent nothing, those in the middle of a handshake, and those of HTTP clients.
const LimitApplicants = "applicants"

// New makes the host and listens on every address of o.Listen. If it cannot listen on one
// of them, it returns an error and no host; if another program uses the address, the
// error is an *InUseError.
func New(o Options) (host.Host, error) {
	if o.Key == nil {
		return nil, errors.New("make host: no identity was given")
	}
	if err := CheckPeers(o.Peers); err != nil {
		return nil, fmt.Errorf("make host: %w", err)
	}
	if o.Peers == 0 {
		o.Peers = DefaultPeers
	}
	if o.Refused == nil {
		o.Refused = func(string) {}
	}
	limits, err := resourceManager(o.Peers, o.Registerer != nil, o.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("make resource manager: %w", err)
	}
	var opened *openings
	if o.StreamRate > 0 || o.MaySpeak != nil {
		opened = newOpenings(limits, o.StreamRate, o.Refused)
		opened.maySpeak = o.MaySpeak
		limits = opened
	}
	conns, err := connmgr.NewConnManager(o.Peers-o.Peers/8, o.Peers, connmgr.WithGracePeriod(trimGrace))
	if err != nil {
		limits.Close()
		return nil, fmt.Errorf("make connection manager: %w", err)
	}
	opts := []libp2p.Option{
		libp2p.Identity(o.Key),
		libp2p.UserAgent(o.UserAgent),
		libp2p.ResourceManager(limits),
		libp2p.ConnectionManager(conns),
		// A dialing peer prefers TLS: the processor has instructions for its AES, but not for
		// Noise's ChaCha20.
		libp2p.Security(libp2ptls.ID, newTLS),
		libp2p.Security(noise.ID, newNoise),
		libp2p.Muxer(muxer.ID, muxer.Muxer{}),
		transports(o.HTTP, o.TLS, &front{admission: newAdmission(o.Peers, func() { o.Refused(LimitApplicants) }), proxies: o.TrustedProxies}, o.STUN),
		libp2p.QUICReuse(quicPorts(o.Registerer)),
		metrics(o.Registerer),
		keepListening(),
	}
	if o.MapPorts && slices.ContainsFunc(o.Listen, func(a ma.Multiaddr) bool { return !manet.IsIPLoopback(a) }) {
		opts = append(opts, libp2p.NATPortMap())
	}
	if o.AddrsFactory != nil {
		opts = append(opts, libp2p.AddrsFactory(o.AddrsFactory))
	}
	h, err := libp2p.New(append(opts, o.Libp2p...)...)
	if err != nil {
		conns.Close()
		limits.Close()
		return nil, fmt.Errorf("make host: %w", err)
	}
	// libp2p itself is content if it can listen on one of many addresses.
	sw := h.Network().(*swarm.Swarm)
	if opened != nil {
		opened.end = func(p peer.ID) { _ = sw.ClosePeer(p) }
	}
	if err := listen(sw, o.Listen); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func transports(handler http.Handler, secure *tls.Config, f *front, stun bool) libp2p.Option {
	var ws []websocket.Option
	if secure != nil {
		ws = append(ws, websocket.WithTLSConfig(secure))
	}
	if handler != nil {
		ws = append(ws, websocket.WithHTTPHandler(handler), websocket.WithHTTPServerConfig(func(s *http.Server) {
			s.ReadHeaderTimeout = httpHeaderTimeout
			s.ReadTimeout = httpHeaderTimeout // no request here has a body worth waiting for
			s.IdleTimeout = httpIdleTimeout
			s.MaxHeaderBytes = httpHeaderBytes
		}))
	}
	webRTC := any(libp2pwebrtc.New)
	if stun {
		webRTC = newWebRTC
	}
	return libp2p.ChainOptions(
		libp2p.Transport(func(u transport.Upgrader, limits network.ResourceManager) (*tcp.TcpTransport, error) {
			return tcp.NewTCPTransport(u, limits, f.shared(u))
		}),
		libp2p.Transport(func(u transport.Upgrader, limits network.ResourceManager) (*websocket.WebsocketTransport, error) {
			return websocket.New(u, limits, f.shared(u), ws...)
		}),
		libp2p.Transport(newQUIC),
		libp2p.Transport(newWebTransport),
		libp2p.Transport(webRTC),
	)
}

func metrics(r prometheus.Registerer) libp2p.Option {
	if r == nil {
		// The event bus of libp2p registers its metrics anyway: keep them out of the process's
		// registry.
		return libp2p.ChainOptions(libp2p.PrometheusRegisterer(prometheus.NewRegistry()), libp2p.DisableMetrics())
	}
	return libp2p.PrometheusRegisterer(r)
}
