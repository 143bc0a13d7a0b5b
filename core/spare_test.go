package core

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/reservation"
)

func TestConnectionsThatNobodyNeedsAreLetGo(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	told := hosttest.New(t, hosttest.Options{})
	n, err := New(ctx, hosttest.Unmanaged(t, hosttest.Options{}), Options{Bootstrap: func() []peer.AddrInfo { return []peer.AddrInfo{hosttest.Info(told)} }})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	connect := func(h host.Host) peer.ID { // as discovery does
		require.NoError(t, n.Host().Connect(ctx, hosttest.Info(h)))
		return h.ID()
	}
	here := func() []peer.ID { return n.Host().Network().Peers() }
	var needed []peer.ID
	need := func(p peer.ID) { needed = append(needed, p) }
	need(connect(told))

	asked := hosttest.New(t, hosttest.Options{})
	require.NoError(t, n.ConnectPeer(ctx, hosttest.Info(asked)))
	need(asked.ID())

	used := hosttest.New(t, hosttest.Options{})
	used.SetStreamHandler("/x/used", func(network.Stream) {})
	need(connect(used))
	s, err := n.Host().NewStream(ctx, used.ID(), "/x/used")
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Reset() })

	made := hosttest.New(t, hosttest.Options{})
	require.NoError(t, made.Connect(ctx, hosttest.Info(n.Host())))
	need(made.ID())

	friend, err := New(ctx, hosttest.Unmanaged(t, hosttest.Options{}), Options{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, friend.Close()) })
	need(connect(friend.Host()))
	for _, on := range []*Node{n, friend} {
		_, err := on.Subscribe("chat")
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return n.mesh.Meshed(friend.ID()) }, 30*time.Second, 10*time.Millisecond)

	const others = 3 * spareConns
	for range others {
		connect(hosttest.New(t, hosttest.Options{}))
	}
	n.spares.letGo(time.Now())
	assert.Len(t, here(), len(needed)+others, "none is old enough")

	require.Eventually(t, func() bool { // now and then, the node itself has a stream on one of them
		n.spares.letGo(time.Now().Add(2 * spareAge))
		return len(here()) == len(needed)+spareConns
	}, 30*time.Second, 10*time.Millisecond)
	for _, p := range needed {
		assert.True(t, slices.Contains(here(), p))
	}

	require.NoError(t, n.Disconnect(asked.ID()))
	n.spares.letGo(time.Now())
	assert.NoError(t, n.Host().Connect(context.WithoutCancel(ctx), hosttest.Info(asked)))
	n.spares.mu.Lock()
	assert.NotContains(t, n.spares.wanted, asked.ID(), "after Disconnect, the call of ConnectPeer no longer counts")
	n.spares.mu.Unlock()
}

// A node that stayed connected to each relay it ever asked would be a client of all of them.
func TestRelaysWithoutAReservationAreLetGo(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var relays []peer.AddrInfo
	for range reservation.DefaultMax + 2 {
		h := hosttest.Unmanaged(t, hosttest.Options{})
		hosttest.Relay(t, h, relay.DefaultResources())
		r, err := New(ctx, h, Options{RelayTopics: 4})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, r.Close()) })
		relays = append(relays, hosttest.Info(h))
	}
	keeper, err := reservation.New(relays, reservation.Options{})
	require.NoError(t, err)
	n, err := New(ctx, hosttest.Unmanaged(t, hosttest.Options{Listen: "none", AddrsFactory: keeper.AddrsFactory}), Options{Reservations: keeper})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	_, err = n.Subscribe("chat")
	require.NoError(t, err)
	for _, r := range relays {
		require.NoError(t, n.Host().Connect(ctx, r))
	}
	require.Eventually(t, func() bool {
		all := len(n.Reservations()) == reservation.DefaultMax
		for _, r := range relays {
			all = all && n.mesh.Meshed(r.ID)
		}
		return all
	}, 30*time.Second, 10*time.Millisecond)
	n.spares.letGo(time.Now())
	assert.Len(t, n.Host().Network().Peers(), len(relays), "none is old enough")
	require.Eventually(t, func() bool {
		n.spares.letGo(time.Now().Add(2 * spareAge))
		return len(n.Host().Network().Peers()) == reservation.DefaultMax
	}, 30*time.Second, 10*time.Millisecond)
	for _, r := range n.Reservations() {
		assert.Equal(t, network.Connected, n.Host().Network().Connectedness(r.Relay))
	}
}
