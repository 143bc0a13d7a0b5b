// Package relay joins browser tabs to the mesh: it listens on every transport
// a tab or a native peer can dial, relays circuits between peers that cannot
// reach each other, and serves the page that a tab loads.
//
// A relay is one [Relay] around one core.Node: it answers echo and ping like any
// other peer. One TCP port carries the page, WebSocket and plain TCP; one UDP
// port carries QUIC, WebTransport and WebRTC-direct.
package relay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/discovery"
	"github.com/tombolo-net/tombolo/core/discovery/kad"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/native/datadir"
	"github.com/tombolo-net/tombolo/native/stack"
	"github.com/tombolo-net/tombolo/native/store"
)

// Options configure a relay. The zero value is a relay with a new identity, on ports that
// the system picks, without a page.
type Options struct {
	// DataDir is the directory of the identity and the message histories. New locks it for
	// this process (see datadir.Open) and Close unlocks it. If empty, nothing is stored and
	// the identity ends with the relay.
	DataDir string

	// Identity is used instead of the one in DataDir.
	Identity crypto.PrivKey

	// Listen are the addresses to listen on (see stack.ParseListen and
	// stack.DefaultListen). If empty, every transport on every interface, on
	// one TCP and one UDP port that the system picks.
	Listen []ma.Multiaddr

	// Announce are addresses to announce in addition to the relay's own, such as those of a
	// proxy or a forwarded port. The certificate hashes of WebTransport and WebRTC-direct
	// addresses are added automatically.
	Announce []ma.Multiaddr

	// NoPortMapping keeps the relay from asking the router to forward its ports. By default
	// it does so by UPnP and NAT-PMP.
	NoPortMapping bool

	// Network is the mesh to belong to. If empty, core.DefaultNetwork.
	Network string

	// Peers are other relays to stay connected to, each with at least one address, so that
	// all form one mesh. The relay itself may be among them. It starts whether or not they
	// answer, and keeps trying.
	Peers []peer.AddrInfo

	// Site is the page, with index.html at its root; web.Site returns ours. New and Reload
	// read it; a file that has changed since then is answered with 503. Files and
	// directories whose names begin with a dot are left out. If nil, a request for the page
	// gets a 404.
	Site fs.FS

	// Docs is a site like Site, under /docs/. If nil, there is none.
	Docs fs.FS

	// Embedders are the origins whose pages may show the Site in a frame, such as
	// https://example.com and https://*.example.com. If empty, no page may.
	Embedders []string

	// Closed makes the relay take only peers that are allowed or have a token: see Token,
	// and the file of rules in DataDir, which Reload reads. The Peers are allowed. If false,
	// the relay takes every peer that the file does not ban.
	Closed bool

	// Admission is the URL of a service that decides about each peer that asks for a
	// reservation and that no rule and no token admits. The relay sends it a Question by
	// POST: 200 is a yes; 403 is a no, and the first line of its body is the reason that is
	// sent to the peer. A peer that the service does not admit within five seconds is
	// refused. The answer is cached for the max-age of its Cache-Control, for at least a
	// second and at most an hour; without one, for a minute. A relay with an Admission is
	// Closed. If empty, no service is asked.
	Admission string

	// DrainTime bounds a drain: see Drain. If zero, DefaultDrain; if negative, a drain is
	// over at once.
	DrainTime time.Duration

	// Reread is called by Reload. It calls apply with the complete new options, and returns
	// the error of apply or one of its own; see Reload for the options that may change. If
	// nil, Reload does not change the options.
	Reread func(apply func(Options) error) error

	// TrustedProxies are the addresses of proxies in front of the TCP ports. The relay
	// believes the client addresses that they report by X-Forwarded-For or the PROXY
	// protocol, and applies limits and rules to those.
	TrustedProxies []netip.Prefix

	// TLS configures certificates for the TCP ports. If zero, they speak no TLS.
	TLS TLS

	// RedirectListen is the host:port of a listener that redirects HTTP to https at the same
	// host name. If empty, there is none.
	RedirectListen string

	// Limits bound what the relay does for its peers. Fields that are zero
	// have defaults.
	Limits Limits

	// MetricsListen is the host:port of a separate listener for /metrics. If empty, there is
	// none.
	MetricsListen string

	// Registry registers the metrics and is served at /metrics. If nil, there are no
	// metrics, unless MetricsListen is set.
	Registry *prometheus.Registry

	// Logger receives the relay's log. If nil, nothing is logged.
	Logger *slog.Logger
}

// Relay is a running relay. All methods may be called concurrently.
type Relay struct {
	node    *core.Node
	circuit *circuit
	access  *access
	said    *refusals
	admin   *admin // nil without a data directory
	peers   *peers
	drain   *drain
	site    *site
	metrics *httpServer  // nil if not wanted
	toHTTPS *httpServer  // nil if not wanted
	certs   certificates // nil if not wanted

	reread    func(func(Options) error) error
	reloading sync.Mutex
	broadcast atomic.Int64                    // bytes per second that one peer may broadcast
	began     Limits                          // those it was started with
	others    atomic.Pointer[[]peer.AddrInfo] // other relays
	announce  atomic.Pointer[[]ma.Multiaddr]

	closeOnce sync.Once
	closeErr  error
}

// New starts a relay and returns when it serves. ctx bounds the start only. On error
// nothing is left behind. If another program uses a port, the error is a
// *stack.InUseError; if another process uses the data directory, it is datadir.ErrInUse.
func New(ctx context.Context, o Options) (_ *Relay, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MetricsListen != "" && o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if len(o.Listen) == 0 {
		o.Listen = stack.DefaultListen(0, 0)
	}
	r := &Relay{reread: o.Reread, began: o.Limits.withDefaults()}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start relay: %w", err), r.Close())
		}
	}()
	if o.Network == "" {
		o.Network = core.DefaultNetwork
	}
	if err = errors.Join(o.Limits.check(), checkPeers(o.Peers), checkAdmission(o.Admission), discovery.CheckNetwork(o.Network)); err != nil {
		return nil, err
	}
	if peers, sockets := o.Limits.withDefaults().Peers, stack.MaxSockets(); sockets < peers {
		o.Logger.Warn("the system lets this process open too few files for all peers to come over TCP or WebSocket; see ulimit -n",
			"peers", peers, "sockets", sockets)
	}
	if r.site, err = newSite(o); err != nil {
		return nil, err
	}
	r.site.proxied = len(o.TrustedProxies) > 0
	if err = r.start(ctx, o); err != nil {
		return nil, err
	}
	if o.Registry != nil {
		r.register(o.Registry)
	}
	if o.RedirectListen != "" {
		if r.toHTTPS, err = r.serveRedirect(o.RedirectListen); err != nil {
			return nil, err
		}
	}
	if o.MetricsListen != "" {
		if r.metrics, err = serveMetrics(o.MetricsListen, o.Registry); err != nil {
			return nil, err
		}
	}
	if o.DataDir != "" {
		if r.admin, err = serveAdmin(r, o.DataDir, o.Logger); err != nil {
			// Most often the path is longer than that of a socket may be.
			o.Logger.Warn("the relay runs without the operator's socket", "error", err)
			err = nil
		}
	}
	r.site.open(r)
	return r, nil
}

// start makes the node and the circuit service, and joins other relays.
func (r *Relay) start(ctx context.Context, o Options) error {
	key, dataDir, err := datadir.Identity(o.DataDir, o.Identity)
	if err != nil {
		return err
	}
	histories, err := store.OpenIn(o.DataDir)
	if err != nil {
		return errors.Join(err, dataDir.Close())
	}
	self, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return errors.Join(err, histories.Close(), dataDir.Close())
	}
	r.said = newRefusals(o.Logger, o.Registry)
	if r.access, err = openAccess(self, o, r.said); err != nil {
		return errors.Join(err, histories.Close(), dataDir.Close())
	}
	if r.certs, err = newCertificates(o.TLS, key, o.DataDir, o.Logger); err != nil {
		return errors.Join(err, histories.Close(), dataDir.Close())
	}
	h, err := r.newHost(o, key)
	if err != nil {
		return errors.Join(err, histories.Close(), dataDir.Close())
	}
	others := without(h.ID(), o.Peers)
	r.others.Store(&others)
	limits := o.Limits.withDefaults()
	r.broadcast.Store(int64(limits.BroadcastRate))
	options := core.Options{
		Network:       o.Network,
		Serve:         kad.Serve,
		Bootstrap:     func() []peer.AddrInfo { return *r.others.Load() },
		RelayTopics:   limits.Topics,
		Pace:          r.pace(),
		KeepHistories: &replay.Limits{Bytes: max(limits.HistoryBytes/limits.Topics, 1)},
		Store:         histories,
		PingInterval:  -1, // its peers measure; pings to thousands of them would be wasted
		Logger:        o.Logger,
		Parts:         []core.Part{{Name: "data directory", Close: dataDir.Close}, {Name: "histories", Close: histories.Close}},
	}
	if o.Registry != nil { // a nil one in the interface would not be nil
		options.Registerer = o.Registry
	}
	r.node, err = core.New(ctx, h, options)
	if err != nil {
		return err
	}
	if r.circuit, err = startCircuit(h, o.Limits, r.access, r.said, o.Registry); err != nil {
		return err
	}
	r.access.start(h, r.circuit.places.holds)
	if r.certs != nil {
		r.certs.start(h.Network().ListenAddresses())
	}
	r.drain = newDrain(h, r.circuit.places, o.Logger)
	r.drain.set(others, o.DrainTime)
	r.peers, err = keepPeers(h, others, o.Logger)
	return err
}

// pace limits what peers broadcast, except other relays, which forward what their own
// peers do.
func (r *Relay) pace() *mesh.Pace {
	return &mesh.Pace{
		Rate: func(p peer.ID) int {
			if slices.ContainsFunc(*r.others.Load(), func(other peer.AddrInfo) bool { return other.ID == p }) {
				return 0
			}
			return int(max(r.broadcast.Load(), 0))
		},
		Burst: broadcastBurst,
		Slowed: func(p peer.ID) {
			r.said.note(refusal{limit: "broadcast-rate", value: r.broadcast.Load(), flag: "--broadcast-rate"}, "peer", p)
		},
	}
}

func (r *Relay) newHost(o Options, key crypto.PrivKey) (host.Host, error) {
	so := stack.Options{
		Key:            key,
		Listen:         o.Listen,
		UserAgent:      "tombolo-relay/" + core.Version(),
		Peers:          o.Limits.withDefaults().Peers,
		MapPorts:       !o.NoPortMapping,
		HTTP:           r.site,
		STUN:           true,
		StreamRate:     streamRate,
		MaySpeak:       r.access.maySpeak,
		TrustedProxies: o.TrustedProxies,
		Refused:        func(limit string) { r.said.note(refusal{limit: limit}) },
		Libp2p: []libp2p.Option{
			libp2p.DisableRelay(), // of the circuit client: no peer dials a relay through another
			libp2p.ConnectionGater(r.access),
			libp2p.ForceReachabilityPublic(), // otherwise it would ask its peers to dial it back
		},
	}
	if o.Registry != nil {
		so.Registerer = o.Registry
	}
	r.announce.Store(&o.Announce)
	so.AddrsFactory = func(own []ma.Multiaddr) []ma.Multiaddr {
		if r.certs != nil {
			return r.certs.announced(*r.announce.Load(), own)
		}
		return slices.Concat(*r.announce.Load(), own)
	}
	if r.certs != nil {
		so.TLS = r.certs.config()
		var err error
		if so.Listen, err = secured(o.Listen); err != nil {
			return nil, err
		}
	}
	return stack.New(so)
}

// Node returns the relay's node. The caller must not close it.
func (r *Relay) Node() *core.Node { return r.node }

// PageURL returns the URL of the page: with TLS, at the first name of the certificates;
// without TLS, and before AutoTLS has a certificate, on this machine. It is empty if the
// relay listens on no WebSocket address.
func (r *Relay) PageURL() string {
	if r.certs != nil {
		for _, name := range r.certs.names() {
			for _, a := range r.node.Host().Addrs() {
				if isSecure(a) && isAt(a, name) {
					return "https://" + hostPort(name, portOf(a)) + "/"
				}
			}
		}
	}
	addrs := r.node.Host().Network().ListenAddresses() // in no order
	slices.SortFunc(addrs, ma.Multiaddr.Compare)
	var page string
	for _, a := range addrs {
		if _, err := a.ValueForProtocol(ma.P_WS); err != nil || isSecure(a) {
			continue
		}
		_, hostport, err := manet.DialArgs(a)
		if err != nil {
			continue
		}
		at, err := netip.ParseAddrPort(hostport)
		if err != nil {
			continue
		}
		if at.Addr().IsUnspecified() || at.Addr().IsLoopback() {
			return fmt.Sprintf("http://localhost:%d/", at.Port())
		}
		page = "http://" + hostport + "/"
	}
	return page
}

// MetricsURL returns the URL of the metrics, with the port that the system picked; empty
// if MetricsListen is.
func (r *Relay) MetricsURL() string {
	if r.metrics == nil {
		return ""
	}
	return "http://" + r.metrics.addr.String() + "/metrics"
}

// RedirectAddr returns the address of the listener that redirects HTTP, with the port
// that the system picked; empty if there is none.
func (r *Relay) RedirectAddr() string {
	if r.toHTTPS == nil {
		return ""
	}
	return r.toHTTPS.addr.String()
}

// Close stops the relay: it accepts no more connections, ends its circuits and
// connections, and waits for all its goroutines. Later and concurrent calls wait for the
// first and return its result.
func (r *Relay) Close() error {
	r.closeOnce.Do(func() {
		var errs []error
		if r.site != nil {
			r.site.close()
		}
		if r.admin != nil {
			errs = append(errs, r.admin.close())
		}
		for _, s := range []*httpServer{r.metrics, r.toHTTPS} {
			if s != nil {
				errs = append(errs, s.close())
			}
		}
		if r.certs != nil {
			r.certs.close()
		}
		if r.drain != nil {
			r.drain.close()
		}
		if r.peers != nil {
			errs = append(errs, r.peers.close())
		}
		if r.circuit != nil {
			errs = append(errs, r.circuit.close())
			r.access.close()
		}
		if r.node != nil {
			errs = append(errs, r.node.Close())
		}
		r.closeErr = errors.Join(errs...)
	})
	return r.closeErr
}
