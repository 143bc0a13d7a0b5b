package relay_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/relay"
)

// failure waits until a node's attempt at a relay has failed.
func failure(t *testing.T, n *core.Node, at peer.AddrInfo) error {
	t.Helper()
	news := n.Events()
	defer news.Close()
	require.NoError(t, n.AddRelays([]peer.AddrInfo{at}))
	for {
		ev, err := news.Next(testContext(t))
		require.NoError(t, err)
		if ev.Type == core.ReservationFailed {
			return ev.Err
		}
		require.NotEqual(t, core.ReservationMade, ev.Type)
	}
}

func TestWhoHoldsAReservationKeepsItAndOthersAreToldWhy(t *testing.T) {
	registry := prometheus.NewRegistry()
	r := newRelay(t, relay.Options{Limits: relay.Limits{Peers: 2, PeersPerAddress: 2}, Registry: registry})
	at := peer.AddrInfo{ID: r.Node().ID(), Addrs: r.Node().Host().Addrs()}
	first, second := newReserved(t, r), newReserved(t, r)
	conns := r.Node().Host().ConnManager()
	for _, n := range []*core.Node{first, second} {
		assert.True(t, conns.IsProtected(n.ID(), ""), "it is not closed in favour of later peers")
	}
	ready := func() (int, string) {
		resp, err := client(t).Get(r.PageURL() + "readyz")
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(b)
	}
	code, why := ready()
	assert.Equal(t, 503, code)
	assert.Contains(t, why, "peers: 2 of 2 are used (--peers)")
	late := newNode(t, native.Options{})
	err := failure(t, late, at)
	assert.ErrorContains(t, err, "all 2 reservations are taken")
	assert.ErrorContains(t, err, "--peers")
	assert.False(t, conns.IsProtected(late.ID(), ""))
	assert.GreaterOrEqual(t, refusedBy(t, registry, "peers"), 1.0)

	require.NoError(t, first.Close())
	require.Eventually(t, func() bool { return len(late.Reservations()) == 1 }, 30*time.Second, 10*time.Millisecond, "a reservation that ends is given to the next peer")
	assert.False(t, conns.IsProtected(first.ID(), ""))
	require.NoError(t, late.Close())
	require.Eventually(t, func() bool { code, _ := ready(); return code == 200 }, 30*time.Second, 10*time.Millisecond)
}

func refusedBy(t *testing.T, registry *prometheus.Registry, limit string) float64 {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() != "tombolo_relay_refused_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == limit {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func TestAnAddressHasItsShareOfTheReservations(t *testing.T) {
	r := newRelay(t, relay.Options{Limits: relay.Limits{Peers: 4, PeersPerAddress: 1}})
	newReserved(t, r)
	err := failure(t, newNode(t, native.Options{}), peer.AddrInfo{ID: r.Node().ID(), Addrs: r.Node().Host().Addrs()})
	assert.ErrorContains(t, err, "--peers-per-address")
}

func TestAStockPeerIsRefusedAsTheProtocolHasIt(t *testing.T) {
	r := newRelay(t, relay.Options{Limits: relay.Limits{Peers: 1}})
	newReserved(t, r)
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics())
	require.NoError(t, err)
	defer h.Close()
	_, err = circuit.Reserve(testContext(t), h, peer.AddrInfo{ID: r.Node().ID(), Addrs: r.Node().Host().Addrs()})
	assert.ErrorContains(t, err, "RESERVATION_REFUSED")
}

func TestMalformedRequestsAreRefusedAndHoldNothing(t *testing.T) {
	r := newRelay(t, relay.Options{Limits: relay.Limits{Peers: 1}})
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics())
	require.NoError(t, err)
	defer h.Close()
	info := peer.AddrInfo{ID: r.Node().ID(), Addrs: r.Node().Host().Addrs()}
	require.NoError(t, h.Connect(testContext(t), info))
	for _, said := range []string{"", "\x00", "\x05", "\x02\xff\xff", "\xff\xff\xff\xff\xff\xff", "\x81\x20", "\x02\x08\x00", "\x02\x08\x07"} {
		s, err := h.NewStream(testContext(t), info.ID, proto.ProtoIDv2Hop)
		require.NoError(t, err)
		_, _ = s.Write([]byte(said)) // the relay may refuse before all of it is sent
		_ = s.CloseWrite()
		require.NoError(t, s.SetReadDeadline(time.Now().Add(30*time.Second)))
		buf := make([]byte, 1024)
		for err == nil {
			_, err = s.Read(buf)
		}
		late, ok := errors.AsType[net.Error](err)
		assert.False(t, ok && late.Timeout(), "%q", said)
		_ = s.Reset()
	}
	_, err = circuit.Reserve(testContext(t), h, info)
	require.NoError(t, err, "the only reservation is still free")
}
