package relay_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/reservation"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/socket/sockettest"
	"github.com/tombolo-net/tombolo/relay"
)

// watch fails the test if a node that has had a reservation loses all of its reservations,
// until stop is called.
func watch(t *testing.T, n *core.Node) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	news := n.Events()
	var watching sync.WaitGroup
	watching.Go(func() {
		defer news.Close()
		held := make(map[peer.ID]bool)
		for _, r := range n.Reservations() {
			held[r.Relay] = true
		}
		for {
			ev, err := news.Next(ctx)
			if err != nil {
				return
			}
			switch ev.Type {
			case core.ReservationMade:
				held[ev.Peer] = true
			case core.ReservationLost:
				delete(held, ev.Peer)
				assert.NotEmpty(t, held, "%s is without a reservation after %v", n.ID(), ev.Err)
			}
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

func TestNobodyIsWithoutAReservationWhileThreeRelaysAreRestartedInTurn(t *testing.T) {
	nodes := 24
	if os.Getenv("LONG") != "" {
		nodes = 500
	}
	var options []relay.Options
	var relays []*relay.Relay
	var infos []peer.AddrInfo
	for range 3 {
		o := relay.Options{DataDir: t.TempDir(), Listen: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/" + sockettest.Port(t) + "/ws")}, Peers: infos}
		r := newRelay(t, o)
		options, relays = append(options, o), append(relays, r)
		infos = append(infos, peer.AddrInfo{ID: r.Node().ID(), Addrs: r.Node().Host().Addrs()})
	}
	all := make([]*core.Node, nodes)
	for i := range all {
		all[i] = newNode(t, native.Options{Relays: infos})
	}
	both := func() {
		t.Helper()
		for _, n := range all {
			require.Eventually(t, func() bool { return len(n.Reservations()) == 2 }, time.Minute, 5*time.Millisecond)
		}
	}
	both()
	var stops []func()
	for _, n := range all {
		stops = append(stops, watch(t, n))
	}
	for i, r := range relays {
		r.Drain()
		<-r.Drained()
		assert.False(t, t.Failed(), "drain of relay %d", i)
		for _, p := range r.Peers() {
			assert.False(t, p.Reserved, "%s has moved", p.Peer)
		}
		require.NoError(t, r.Close())
		both() // hold reservations on the other two
		relays[i] = newRelay(t, options[i])
	}
	both()
	for i, n := range all { // close the nodes before the relays
		stops[i]()
		require.NoError(t, n.Close())
	}
}

func TestADrainingRelayTakesNobodyNewAndWaitsForCircuits(t *testing.T) {
	registry := prometheus.NewRegistry()
	next := newRelay(t, relay.Options{})
	at := peer.AddrInfo{ID: next.Node().ID(), Addrs: next.Node().Host().Addrs()}
	r := newRelay(t, relay.Options{Registry: registry, Peers: []peer.AddrInfo{at}, DrainTime: time.Hour})
	called := newReserved(t, r)
	alone := newReserved(t, r)
	caller := newNode(t, native.Options{})
	_, err := caller.Connect(testContext(t), called.Addrs()[0].String())
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return len(r.Node().Host().Network().ConnsToPeer(next.Node().ID())) > 0
	}, 30*time.Second, 5*time.Millisecond)

	r.Drain()
	for _, n := range []*core.Node{called, alone} {
		require.Eventually(t, func() bool {
			held := n.Reservations()
			return len(held) == 1 && held[0].Relay == next.Node().ID()
		}, 30*time.Second, 5*time.Millisecond, "it moves to the relay that r named")
	}
	late := newNode(t, native.Options{})
	err = failure(t, late, peer.AddrInfo{ID: r.Node().ID(), Addrs: r.Node().Host().Addrs()})
	refused, ok := errors.AsType[*reservation.RefusedError](err)
	require.True(t, ok, "%v", err)
	assert.Equal(t, reservation.LimitDraining, refused.Limit)
	assert.ErrorContains(t, err, "draining")
	assert.Contains(t, fmt.Sprint(r.Unready()), "draining")
	assert.GreaterOrEqual(t, refusedBy(t, registry, "draining"), 1.0)

	_, err = caller.Echo(testContext(t), called.ID(), []byte("x"))
	require.NoError(t, err)
	select {
	case <-r.Drained():
		require.Fail(t, "a circuit is open")
	default:
	}
	require.NoError(t, caller.Close())
	select {
	case <-r.Drained():
	case <-time.After(30 * time.Second):
		require.Fail(t, "the last circuit has ended, but the relay still waits")
	}
}
