//go:build js

package wasm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/circuits"
	"github.com/tombolo-net/tombolo/core/liveness"
	"github.com/tombolo-net/tombolo/core/muxer"
	"github.com/tombolo-net/tombolo/core/reservation"
	corewebrtc "github.com/tombolo-net/tombolo/core/webrtc"
	"github.com/tombolo-net/tombolo/wasm/webrtc"
	"github.com/tombolo-net/tombolo/wasm/websocket"
	"github.com/tombolo-net/tombolo/wasm/webtransport"
)

func newKey() (crypto.PrivKey, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	return key, err
}

// newHost assembles the host. If it fails, it closes everything that it made.
func newHost(key crypto.PrivKey, transports []string, keeper *reservation.Keeper, gate *liveness.Gate) (_ host.Host, err error) {
	transports, err = usable(transports)
	if err != nil {
		return nil, err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	ps, err := pstoremem.NewPeerstore()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(ps.AddPrivKey(id, key), ps.AddPubKey(id, key.GetPublic())); err != nil {
		return nil, errors.Join(err, ps.Close())
	}
	bus := eventbus.NewBus()
	sw, err := swarm.NewSwarm(id, ps, bus,
		swarm.WithDialRanker(rank),
		swarm.WithConnectionGater(gate),
		// They would stop dialling WebTransport after failures that say nothing about UDP: a
		// tab is offline more often than its UDP is filtered.
		swarm.WithUDPBlackHoleSuccessCounter(nil),
		swarm.WithIPv6BlackHoleSuccessCounter(nil),
	)
	if err != nil {
		return nil, errors.Join(err, ps.Close())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, sw.Close())
		}
	}()
	up, err := newUpgrader(key)
	if err != nil {
		return nil, err
	}
	if err := addTransports(sw, up, key, transports); err != nil {
		return nil, err
	}
	h, err := basichost.NewHost(sw, &basichost.HostOpts{
		EventBus:     bus,
		AddrsFactory: func(own []ma.Multiaddr) []ma.Multiaddr { return keeper.AddrsFactory(corewebrtc.Hide(own)) },
		UserAgent:    "tombolo/" + core.Version() + " (js)",
	})
	if err != nil {
		return nil, err
	}
	if err := circuits.AddTransport(h, up); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	h.Start()
	return h, nil
}

func newUpgrader(key crypto.PrivKey) (transport.Upgrader, error) {
	muxers := []upgrader.StreamMuxer{{ID: muxer.ID, Muxer: muxer.Muxer{}}}
	n, err := noise.New(noise.ID, key, muxers)
	if err != nil {
		return nil, err
	}
	return upgrader.New([]sec.SecureTransport{n}, muxers, nil, nil, nil)
}

func addTransports(sw *swarm.Swarm, up transport.Upgrader, key crypto.PrivKey, names []string) error {
	for _, name := range names {
		var t transport.Transport
		switch name {
		case WebTransport:
			wt, err := webtransport.New(key, nil, nil)
			if err != nil {
				return err
			}
			t = wt
		case WebSocket:
			t = websocket.New(up, nil)
		case WebRTCDirect:
			dialler, err := corewebrtc.NewDialler(key, webrtc.New(webrtc.Options{}), corewebrtc.DiallerOptions{})
			if err != nil {
				return err
			}
			t = dialler
		}
		if err := sw.AddTransport(t); err != nil {
			return err
		}
	}
	return nil
}

// CheckTransports returns an error if a list of transports for Options contains an
// unknown name, or a transport that the platform does not offer here.
func CheckTransports(names []string) error {
	for _, n := range names {
		switch {
		case n != WebTransport && n != WebSocket && n != WebRTCDirect:
			return fmt.Errorf("unknown transport %q: use %q, %q or %q", n, WebTransport, WebSocket, WebRTCDirect)
		case n == WebTransport && !webtransport.Available():
			return errors.New("the platform does not offer WebTransport here: it needs a secure context (https, or localhost)")
		case n == WebSocket && !websocket.Available():
			return errors.New("the platform does not offer WebSocket: Node.js before 22 needs --experimental-websocket")
		case n == WebRTCDirect && !webrtc.Available():
			return errors.New("the platform does not offer WebRTC here, which webrtc-direct needs: browsers have it, Node.js has not")
		}
	}
	return nil
}

// usable returns the list or, if it is empty, all transports that the platform has.
func usable(names []string) ([]string, error) {
	if len(names) > 0 {
		return names, CheckTransports(names)
	}
	if webtransport.Available() {
		names = append(names, WebTransport)
	}
	if websocket.Available() {
		names = append(names, WebSocket)
	}
	if webrtc.Available() {
		names = append(names, WebRTCDirect)
	}
	if len(names) == 0 {
		return nil, errors.New("the platform has neither WebTransport nor WebSocket nor WebRTC (Node.js before 22 needs --experimental-websocket)")
	}
	return names, nil
}

const (
	// webSocketDelay is the head start of WebTransport over WebSocket, within the bounds of
	// RFC 8305, section 5. If UDP is filtered, there is no answer, and each connection
	// begins later by this time.
	webSocketDelay = 200 * time.Millisecond
	// circuitDelay is the head start of direct addresses over circuits.
	circuitDelay = 500 * time.Millisecond
	// webRTCDelay is the head start of all others over WebRTC-direct, unless they fail
	// sooner: a platform may ask its user before it makes a WebRTC connection, and allows
	// few of them.
	webRTCDelay = 5 * time.Second
)

// rank orders the addresses of a peer: WebTransport, which needs neither a muxer nor
// encryption in wasm, then WebSocket, then circuits, then WebRTC-direct. The first group
// with an address starts at once. If a peer has only WebRTC-direct and circuits,
// WebRTC-direct comes first.
func rank(addrs []ma.Multiaddr) []network.AddrDelay {
	var fast, slow, relayed, webRTC []ma.Multiaddr
	for _, a := range addrs {
		switch {
		case has(a, ma.P_CIRCUIT):
			relayed = append(relayed, a)
		case has(a, ma.P_WEBTRANSPORT):
			fast = append(fast, a)
		case has(a, ma.P_WEBRTC_DIRECT):
			webRTC = append(webRTC, a)
		default:
			slow = append(slow, a)
		}
	}
	ranked := make([]network.AddrDelay, 0, len(addrs))
	var delay time.Duration
	if len(fast)+len(slow) == 0 {
		slow, webRTC = webRTC, nil
	}
	for _, group := range []struct {
		addrs []ma.Multiaddr
		lead  time.Duration // over the next group
	}{{fast, webSocketDelay}, {slow, circuitDelay}, {relayed, 0}} {
		for _, a := range group.addrs {
			ranked = append(ranked, network.AddrDelay{Addr: a, Delay: delay})
		}
		if len(group.addrs) > 0 {
			delay += group.lead
		}
	}
	for _, a := range webRTC {
		ranked = append(ranked, network.AddrDelay{Addr: a, Delay: webRTCDelay})
	}
	return ranked
}

func has(a ma.Multiaddr, code int) bool {
	_, err := a.ValueForProtocol(code)
	return err == nil
}
