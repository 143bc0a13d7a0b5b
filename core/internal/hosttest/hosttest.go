// Package hosttest makes libp2p hosts for tests of core that run both natively and under
// GOOS=js. They are real hosts (swarm, Noise, yamux, identify, circuits) over loopback
// TCP; on js, Go's net package keeps that within the process.
package hosttest

import (
	"crypto/rand"
	"log/slog"
	"testing"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/gologshim"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tombolo-net/tombolo/core/circuits"
)

// Options configure a host. The zero value makes one that listens.
type Options struct {
	Key          crypto.PrivKey // if nil, a new one
	Listen       string         // if empty, a free loopback port; "none" for a host that only dials
	AddrsFactory basichost.AddrsFactory
	Gater        connmgr.ConnectionGater
	Resources    network.ResourceManager // if nil, one without limits
}

// New makes a host that is closed at the end of the test.
func New(t testing.TB, opts Options) host.Host {
	t.Helper()
	h := Unmanaged(t, opts)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// Unmanaged makes a host that the test closes.
func Unmanaged(t testing.TB, opts Options) host.Host {
	t.Helper()
	key := opts.Key
	if key == nil {
		var err error
		key, _, err = crypto.GenerateEd25519Key(rand.Reader)
		require.NoError(t, err)
	}
	id, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	ps, err := pstoremem.NewPeerstore()
	require.NoError(t, err)
	require.NoError(t, ps.AddPrivKey(id, key))
	require.NoError(t, ps.AddPubKey(id, key.GetPublic()))
	bus := eventbus.NewBus()
	if opts.Resources == nil {
		opts.Resources = &network.NullResourceManager{}
	}
	sw, err := swarm.NewSwarm(id, ps, bus, swarm.WithConnectionGater(opts.Gater), swarm.WithResourceManager(opts.Resources))
	require.NoError(t, err)
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}}
	n, err := noise.New(noise.ID, key, muxers)
	require.NoError(t, err)
	up, err := upgrader.New([]sec.SecureTransport{n}, muxers, nil, opts.Resources, nil)
	require.NoError(t, err)
	tr, err := tcp.NewTCPTransport(up, opts.Resources, nil, tcp.DisableReuseport())
	require.NoError(t, err)
	require.NoError(t, sw.AddTransport(tr))
	h, err := basichost.NewHost(sw, &basichost.HostOpts{EventBus: bus, UserAgent: "hosttest", AddrsFactory: opts.AddrsFactory})
	require.NoError(t, err)
	require.NoError(t, circuits.AddTransport(h, up))
	if opts.Listen == "" {
		opts.Listen = "/ip4/127.0.0.1/tcp/0"
	}
	if opts.Listen != "none" {
		require.NoError(t, sw.Listen(ma.StringCast(opts.Listen)))
	}
	h.Start()
	return h
}

// Relay makes h a circuit relay without limits until the end of the test.
func Relay(t testing.TB, h host.Host, resources relay.Resources) {
	t.Helper()
	r, err := relay.New(h, relay.WithResources(resources),
		relay.WithReservationAddressFilter(func(ma.Multiaddr) bool { return true }))
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
}

// Info returns the ID and the addresses of a host.
func Info(h host.Host) peer.AddrInfo { return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()} }

// Main runs the tests of a package, then looks for goroutines left behind.
func Main(m *testing.M) {
	// On js, go-libp2p's TCP logs for each connection that it cannot set keep-alives.
	gologshim.SetDefaultHandler(slog.DiscardHandler)
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("runtime.handleEvent")) // on js, it calls our code
}
