package main

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	libp2pwebrtc "github.com/libp2p/go-libp2p/p2p/transport/webrtc"
	"github.com/libp2p/go-libp2p/p2p/transport/websocket"
	"github.com/libp2p/go-libp2p/p2p/transport/webtransport"
	ma "github.com/multiformats/go-multiaddr"
)

// testPeer is a libp2p host in this process.
type testPeer struct {
	host  host.Host
	relay *relay.Relay // nil unless relay=1
	mux   *http.ServeMux

	handlers sync.WaitGroup // running protocol handlers
	done     chan struct{}  // closed at the start of close
	gate     gate
	observed records
	idents   identities
	held     heldStreams
}

var _ backend = (*testPeer)(nil)

func newPeer(q url.Values) (backend, error) {
	opts, err := hostOptions(q)
	if err != nil {
		return nil, err
	}
	p := &testPeer{done: make(chan struct{})}
	if p.host, err = libp2p.New(opts...); err != nil {
		return nil, fmt.Errorf("start the host: %w", err)
	}
	if flag(q, "relay") {
		if p.relay, err = newRelay(p.host, q); err != nil {
			p.host.Close()
			return nil, err
		}
	}
	if err := p.idents.follow(p.host); err != nil {
		p.close()
		return nil, err
	}
	p.serveProtocols()
	p.mux = p.routes()
	return p, nil
}

func hostOptions(q url.Values) ([]libp2p.Option, error) {
	key, err := identity(q.Get("identity"))
	if err != nil {
		return nil, err
	}
	addrs, err := listenAddrs(q)
	if err != nil {
		return nil, err
	}
	var ws []any
	if flag(q, "wss") {
		conf, _, err := selfSigned()
		if err != nil {
			return nil, err
		}
		ws = append(ws, websocket.WithTLSConfig(conf))
	}
	listen := libp2p.ListenAddrStrings(addrs...)
	if len(addrs) == 0 {
		listen = libp2p.NoListenAddrs // also keeps libp2p from using default addresses
	}
	return []libp2p.Option{
		libp2p.Identity(key),
		libp2p.UserAgent("testpeer/1"),
		listen,
		libp2p.EnableRelay(), // the circuit client, which NoListenAddrs turns off
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(quic.NewTransport),
		libp2p.Transport(websocket.New, ws...),
		libp2p.Transport(libp2pwebtransport.New),
		libp2p.Transport(libp2pwebrtc.New),
		libp2p.ResourceManager(&network.NullResourceManager{}), // the default resets the 65th stream of one protocol and peer
		libp2p.DisableMetrics(),
	}, nil
}

// identity returns the key derived from word, or a new one if word is empty.
func identity(word string) (crypto.PrivKey, error) {
	src := rand.Reader
	if word != "" {
		sum := sha256.Sum256([]byte("testpeer " + word))
		src = strings.NewReader(string(sum[:]))
	}
	key, _, err := crypto.GenerateEd25519Key(src)
	return key, err
}

// listenAddrs turns listen=ws,quic:4001 into multiaddrs.
func listenAddrs(q url.Values) ([]string, error) {
	kinds := strings.FieldsFunc(q.Get("listen"), func(r rune) bool { return r == ',' })
	if flag(q, "wss") {
		kinds = append(kinds, "wss")
	}
	shapes := map[string]string{
		"tcp":           "tcp/%d",
		"ws":            "tcp/%d/ws",
		"wss":           "tcp/%d/tls/ws",
		"quic":          "udp/%d/quic-v1",
		"webtransport":  "udp/%d/quic-v1/webtransport",
		"webrtc-direct": "udp/%d/webrtc-direct",
	}
	var addrs []string
	for _, k := range kinds {
		kind, port, _ := strings.Cut(k, ":")
		shape := shapes[kind]
		if shape == "" {
			return nil, fmt.Errorf("listen=%q: want ws, wss, webtransport, webrtc-direct, tcp or quic, each with :port if it matters", k)
		}
		var n uint64
		if port != "" {
			var err error
			if n, err = strconv.ParseUint(port, 10, 16); err != nil {
				return nil, fmt.Errorf("listen=%q: not a port: %w", k, err)
			}
		}
		addrs = append(addrs, "/ip4/127.0.0.1/"+fmt.Sprintf(shape, n))
		if flag(q, "ip6") {
			addrs = append(addrs, "/ip6/::1/"+fmt.Sprintf(shape, n))
		}
	}
	return addrs, nil
}

// newRelay runs the relay service on h directly, so that it serves whether or not libp2p thinks that h is reachable.
func newRelay(h host.Host, q url.Values) (*relay.Relay, error) {
	ttl, err := duration(q, "relayTTL", time.Hour)
	if err != nil {
		return nil, err
	}
	data, err := number(q, "relayData", 0)
	if err != nil {
		return nil, err
	}
	const plenty = 1 << 20
	rc := relay.Resources{
		ReservationTTL:        ttl,
		MaxReservations:       plenty,
		MaxCircuits:           plenty,
		BufferSize:            64 << 10,
		MaxReservationsPerIP:  plenty,
		MaxReservationsPerASN: plenty,
	}
	if data > 0 {
		rc.Limit = &relay.RelayLimit{Duration: 24 * time.Hour, Data: data}
	}
	r, err := relay.New(h, relay.WithResources(rc), relay.WithReservationAddressFilter(func(ma.Multiaddr) bool { return true }))
	if err != nil {
		return nil, fmt.Errorf("start the relay: %w", err)
	}
	return r, nil
}

func (p *testPeer) routes() *http.ServeMux {
	m := http.NewServeMux()
	m.HandleFunc("GET /stats", p.serveStats)
	m.HandleFunc("POST /release", p.serveRelease)
	m.HandleFunc("GET /observed", p.serveObserved)
	m.HandleFunc("POST /connect", p.act(p.doConnect))
	m.HandleFunc("POST /disconnect", p.serveDisconnect)
	m.HandleFunc("POST /echo", p.act(p.doEcho))
	m.HandleFunc("POST /ping", p.act(p.doPing))
	m.HandleFunc("POST /identify", p.act(p.doIdentify))
	m.HandleFunc("POST /reserve", p.act(p.doReserve))
	m.HandleFunc("POST /open", p.act(p.doOpen))
	m.HandleFunc("POST /stream/{id}", p.serveStream)
	return m
}

func (p *testPeer) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

func (p *testPeer) info() info {
	i := info{PeerID: p.host.ID().String(), Addrs: []string{}}
	for _, a := range p.host.Addrs() {
		i.Addrs = append(i.Addrs, a.String()+"/p2p/"+i.PeerID)
	}
	return i
}

// close closes the relay and the host, and waits for every protocol handler.
func (p *testPeer) close() error {
	select {
	case <-p.done:
		return nil
	default:
	}
	close(p.done)
	if p.relay != nil {
		p.relay.Close()
	}
	err := p.host.Close()
	p.idents.stop()
	p.handlers.Wait()
	return err
}
