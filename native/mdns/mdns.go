// Package mdns finds the peers of a mesh on the local link by multicast DNS, and stays
// connected to them: a house full of peers is a mesh without a relay.
//
// A [Finder] announces its host as a service that carries the mesh's name, and looks for
// other instances of that service. The records are those of libp2p's mDNS. The package
// replaces go-libp2p's implementation, whose Close never returns on a machine without
// IPv6 and which always announces the addresses that the host had at its start.
//
// Spec: https://github.com/libp2p/specs/blob/master/discovery/mdns.md
package mdns

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/zeroconf/v2"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	domain = "local"

	// port is required by DNS-SD and not used: the addresses are in the TXT records.
	port = 4001

	addrPrefix = "dnsaddr="

	// lookInterval is how often the machine's addresses are checked. The host reports
	// changes, but its list of interfaces is up to a minute old.
	lookInterval = 5 * time.Second
)

// Options configure a Finder. Network is required.
type Options struct {
	// Network is the name of the mesh. Peers of different meshes do not find
	// each other.
	Network string

	// Tag, if not empty, protects the connections to the peers found from the host's
	// connection manager.
	Tag string

	// Logger receives a warning if multicast is not available. If nil, nothing is logged.
	Logger *slog.Logger
}

// Finder finds peers on the local link. All methods may be called concurrently.
type Finder struct {
	host    host.Host
	service string
	tag     string
	log     *slog.Logger
	heard   chan peer.AddrInfo

	mu      sync.Mutex // orders Start and Close
	stop    context.CancelFunc
	closed  bool
	running sync.WaitGroup
}

// New returns a finder for h. It does nothing before Start.
func New(h host.Host, o Options) *Finder {
	f := &Finder{host: h, service: service(o.Network), tag: o.Tag, log: o.Logger, heard: make(chan peer.AddrInfo), stop: func() {}}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	return f
}

// Start begins to announce the host and to look for others, and returns at once. If
// multicast is not available, it logs a warning and retries when the machine's addresses
// change. Start is called once; after Close it does nothing.
func (f *Finder) Start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	f.running.Go(func() { f.connect(ctx) })
	f.running.Go(func() { f.run(ctx) })
}

// Close stops the finder, sends a goodbye on the link, and waits for the finder's
// goroutines. Connections stay open. It may be called more than once, and without Start.
func (f *Finder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.stop()
	f.running.Wait()
	return nil
}

// plain matches the names that are valid DNS labels.
var plain = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// service returns the name of a mesh's DNS service. Names that are not valid in a DNS
// label, which ignores case, are replaced by their hash.
func service(network string) string {
	if !plain.MatchString(network) {
		sum := sha256.Sum256([]byte(network))
		network = "_" + hex.EncodeToString(sum[:16])
	}
	return "_tombolo-" + network + "._udp"
}

// run serves until ctx ends, and restarts each time the addresses have changed, because
// sockets are bound to the interfaces that existed.
func (f *Finder) run(ctx context.Context) {
	warned := ""
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	for ctx.Err() == nil {
		addrs := f.addrs()
		failed := make(chan error, 1)
		serving, stop := context.WithCancel(ctx)
		var served sync.WaitGroup
		served.Go(func() { failed <- f.serve(serving, addrs) })
		for changed := false; !changed; {
			select {
			case err := <-failed:
				if err != nil && err.Error() != warned {
					warned = err.Error()
					f.log.Warn("peers on the local link are not looked for", "error", err)
				}
			case <-look.C:
				changed = !slices.Equal(addrs, f.addrs())
			case <-ctx.Done():
				changed = true
			}
		}
		stop()
		served.Wait()
	}
}

// serve announces the addresses and listens for others until ctx ends. It returns an
// error if neither IPv4 nor IPv6 has multicast.
func (f *Finder) serve(ctx context.Context, addrs []string) error {
	if len(addrs) > 0 {
		instance := strings.ToLower(rand.Text()) // peer IDs are only in the records, as the spec requires
		server, err := zeroconf.RegisterProxy(instance, f.service, domain, port, instance, ips(addrs), records(addrs), nil)
		if err != nil {
			return fmt.Errorf("announce by mDNS: %w", err)
		}
		defer server.Shutdown()
	}
	// Separately: a joint call fails if either does, and a machine may have only one.
	errs := make(chan error, 2)
	for _, ip := range []zeroconf.IPType{zeroconf.IPv4, zeroconf.IPv6} {
		go func() { errs <- f.browse(ctx, ip) }()
	}
	err4, err6 := <-errs, <-errs
	if err4 != nil && err6 != nil {
		return fmt.Errorf("look by mDNS: %w", errors.Join(err4, err6))
	}
	<-ctx.Done()
	return nil
}

// browse receives announcements until ctx ends.
func (f *Finder) browse(ctx context.Context, ip zeroconf.IPType) error {
	entries, ended := make(chan *zeroconf.ServiceEntry), make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case e, ok := <-entries:
				if !ok {
					return
				}
				f.hear(ctx, e.Text)
			case <-ended: // entries is not closed if Browse cannot begin
				return
			}
		}
	})
	err := zeroconf.Browse(ctx, f.service, domain, entries, zeroconf.SelectIPTraffic(ip))
	close(ended)
	reader.Wait()
	return err
}

// hear parses the records of one announcement.
func (f *Finder) hear(ctx context.Context, records []string) {
	var addrs []ma.Multiaddr
	for _, r := range records {
		s, ok := strings.CutPrefix(r, addrPrefix)
		if !ok || len(addrs) == maxAddrs {
			continue
		}
		if a, err := ma.NewMultiaddr(s); err == nil {
			addrs = append(addrs, a)
		}
	}
	infos, err := peer.AddrInfosFromP2pAddrs(addrs...)
	if err != nil {
		f.log.Debug("an announcement on the local link is malformed", "error", err)
		return
	}
	for _, info := range infos {
		if info.ID == f.host.ID() || len(info.Addrs) == 0 {
			continue
		}
		select {
		case f.heard <- info:
		case <-ctx.Done():
		}
	}
}

// addrs returns the addresses to announce, sorted: those of the link's interfaces, on the
// transports that native peers dial. A packet should stay below 1500 bytes.
func (f *Finder) addrs() []string {
	interfaces, err := manet.InterfaceMultiaddrs()
	if err != nil {
		return nil
	}
	own, err := manet.ResolveUnspecifiedAddresses(f.host.Network().ListenAddresses(), interfaces)
	if err != nil { // it listens nowhere
		return nil
	}
	var addrs []string
	for _, a := range own {
		if manet.IsIPLoopback(a) || manet.IsIPUnspecified(a) || !dialled(a) {
			continue
		}
		addrs = append(addrs, a.String()+"/p2p/"+f.host.ID().String())
	}
	slices.Sort(addrs)
	return addrs
}

// dialled reports whether an address uses an IP transport for native peers, and not one
// for browsers or through a relay.
func dialled(a ma.Multiaddr) bool {
	if len(a) == 0 || a[0].Code() != ma.P_IP4 && a[0].Code() != ma.P_IP6 {
		return false
	}
	return !slices.ContainsFunc(a, func(c ma.Component) bool {
		switch c.Code() {
		case ma.P_WS, ma.P_WSS, ma.P_WEBTRANSPORT, ma.P_WEBRTC_DIRECT, ma.P_CIRCUIT:
			return true
		}
		return false
	})
}

func records(addrs []string) []string {
	txts := make([]string, len(addrs))
	for i, a := range addrs {
		txts[i] = addrPrefix + a
	}
	return txts
}

// ips returns one address of each family, which DNS-SD requires.
func ips(addrs []string) (ips []string) {
	for _, kind := range []string{"/ip4/", "/ip6/"} {
		for _, a := range addrs {
			if rest, ok := strings.CutPrefix(a, kind); ok {
				ip, _, _ := strings.Cut(rest, "/")
				ips = append(ips, ip)
				break
			}
		}
	}
	return ips
}
