package punch_test

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/direct"
	"github.com/tombolo-net/tombolo/native/punch"
)

// names resolves every name to this machine: libp2p takes a name for a public address.
type names struct{}

func (names) LookupIPAddr(context.Context, string) ([]net.IPAddr, error) {
	return []net.IPAddr{{IP: net.IPv4(127, 0, 0, 1)}}, nil
}
func (names) LookupTXT(context.Context, string) ([]string, error) { return nil, nil }

func newHost(t *testing.T, opts ...libp2p.Option) host.Host {
	t.Helper()
	resolver, err := madns.NewResolver(madns.WithDefaultResolver(names{}))
	require.NoError(t, err)
	h, err := libp2p.New(append([]libp2p.Option{
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.MultiaddrResolver(swarm.ResolverFromMaDNS{Resolver: resolver}),
		libp2p.DisableMetrics(),
	}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// behind makes a host that has no address to announce until known is true, and then a public
// one.
func behind(t *testing.T, known *atomic.Bool) (host.Host, *punch.Puncher) {
	t.Helper()
	p := new(punch.Puncher)
	return newHost(t, libp2p.EnableRelay(), p.Option(), libp2p.AddrsFactory(func(own []ma.Multiaddr) []ma.Multiaddr {
		i := slices.IndexFunc(own, func(a ma.Multiaddr) bool { _, err := a.ValueForProtocol(ma.P_TCP); return err == nil })
		if !known.Load() || i < 0 {
			return nil
		}
		port, _ := own[i].ValueForProtocol(ma.P_TCP)
		return []ma.Multiaddr{ma.StringCast("/dns4/router.example.com/tcp/" + port)}
	})), p
}

func TestTwoThatMeetBeforeTheyKnowTheirAddressesBecomeDirect(t *testing.T) {
	r := newHost(t)
	limits := relay.DefaultResources()
	limits.Limit = nil
	service, err := relay.New(r, relay.WithResources(limits))
	require.NoError(t, err)
	t.Cleanup(func() { _ = service.Close() })
	var known atomic.Bool
	a, _ := behind(t, &known)
	b, puncher := behind(t, &known)
	via := *host.InfoFromHost(r)
	require.NoError(t, b.Connect(t.Context(), via))
	_, err = client.Reserve(t.Context(), b, via)
	require.NoError(t, err)
	circuit := via.Addrs[0].Encapsulate(ma.StringCast("/p2p/" + r.ID().String() + "/p2p-circuit"))
	require.NoError(t, a.Connect(t.Context(), peer.AddrInfo{ID: b.ID(), Addrs: []ma.Multiaddr{circuit}}))

	policy := direct.New(b, direct.Options{
		Never:  true,
		Punch:  puncher.Punch,
		Upkeep: func(protocol.ID) bool { return true },
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		policy.Run(ctx)
	}()
	t.Cleanup(func() { stop(); <-done })
	known.Store(true)
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(b.Network().ConnsToPeer(a.ID()), func(c network.Conn) bool {
			_, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT)
			return err != nil
		})
	}, time.Minute, 10*time.Millisecond)
	require.Eventually(t, func() bool { return policy.Stats().Made == 1 }, time.Minute, 10*time.Millisecond)
}
