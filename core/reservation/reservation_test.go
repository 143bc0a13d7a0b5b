package reservation_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/reservation"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

const limit = 30 * time.Second

// news is one call of an observer.
type news struct {
	reservation.Reservation
	lost error
}

// keep starts a keeper for a new host that only dials.
func keep(t *testing.T, opts reservation.Options, relays ...peer.AddrInfo) (*reservation.Keeper, host.Host, <-chan news) {
	t.Helper()
	k, err := reservation.New(relays, opts)
	require.NoError(t, err)
	h := hosttest.New(t, hosttest.Options{Listen: "none", AddrsFactory: k.AddrsFactory})
	told := make(chan news, 100)
	require.NoError(t, k.Start(h, func(r reservation.Reservation, lost error) { told <- news{r, lost} }))
	t.Cleanup(func() { assert.NoError(t, k.Close()) })
	return k, h, told
}

func wait(t *testing.T, told <-chan news) news {
	t.Helper()
	select {
	case n := <-told:
		return n
	case <-time.After(limit):
		require.FailNow(t, "nothing was told", "in %s", limit)
		return news{}
	}
}

// regained waits until a reservation is made, whatever fails before.
func regained(t *testing.T, told <-chan news) news {
	t.Helper()
	for {
		if n := wait(t, told); n.lost == nil {
			return n
		}
	}
}

func resources(ttl time.Duration) relay.Resources {
	return relay.Resources{ReservationTTL: ttl, MaxReservations: 100, MaxCircuits: 100, MaxReservationsPerIP: 100, MaxReservationsPerASN: 100, BufferSize: 2048}
}

func newRelay(t *testing.T, opts hosttest.Options) host.Host {
	t.Helper()
	h := hosttest.New(t, opts)
	hosttest.Relay(t, h, resources(time.Hour))
	return h
}

func newKey(t *testing.T) crypto.PrivKey {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	return key
}

func TestReservationGivesCircuitAddressesToTheHost(t *testing.T) {
	r := newRelay(t, hosttest.Options{})
	k, h, told := keep(t, reservation.Options{}, hosttest.Info(r))
	made := wait(t, told)
	require.NoError(t, made.lost)
	assert.Equal(t, r.ID(), made.Relay)
	require.NotEmpty(t, made.Addrs)
	want := made.Addrs[0].String()
	assert.True(t, strings.HasSuffix(want, "/p2p/"+r.ID().String()+"/p2p-circuit"), want)
	require.Eventually(t, func() bool {
		for _, a := range h.Addrs() {
			if a.String() == want {
				return true
			}
		}
		return false
	}, limit, 10*time.Millisecond)
	assert.Len(t, k.Held(), 1)
	assert.Equal(t, []peer.AddrInfo{hosttest.Info(r)}, k.Relays())
}

func TestReservationIsRenewedBeforeItEnds(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	hosttest.Relay(t, h, resources(4*time.Second))
	k, _, told := keep(t, reservation.Options{}, hosttest.Info(h))
	first := wait(t, told)
	require.NoError(t, first.lost)
	require.Eventually(t, func() bool {
		held := k.Held()
		return len(held) == 1 && held[0].Expires.After(first.Expires.Add(5*time.Second)) // renewed twice at least
	}, limit, 50*time.Millisecond)
	select {
	case n := <-told:
		require.Fail(t, "a renewal is no news", "%+v", n)
	default:
	}
}

func TestLostRelayIsToldAndTheReservationComesBack(t *testing.T) {
	key := newKey(t)
	first := hosttest.Unmanaged(t, hosttest.Options{Key: key})
	info := hosttest.Info(first)
	hosttest.Relay(t, first, resources(time.Hour))
	k, h, told := keep(t, reservation.Options{MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond}, info)
	require.NoError(t, wait(t, told).lost)

	require.NoError(t, first.Close())
	gone := wait(t, told)
	require.Error(t, gone.lost)
	assert.Equal(t, info.ID, gone.Relay)
	assert.Empty(t, k.Held())
	for _, a := range h.Addrs() {
		assert.NotContains(t, a.String(), "p2p-circuit/p2p")
		assert.NotContains(t, a.String(), info.ID.String())
	}

	newRelay(t, hosttest.Options{Key: key, Listen: info.Addrs[0].String()})
	assert.Equal(t, info.ID, regained(t, told).Relay)
}

func TestAReservationThatIsNotRenewedIsLostThoughTheConnectionStays(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	serve := func() *relay.Relay {
		r, err := relay.New(h, relay.WithResources(resources(3*time.Second)), relay.WithReservationAddressFilter(func(ma.Multiaddr) bool { return true }))
		require.NoError(t, err)
		t.Cleanup(func() { _ = r.Close() })
		return r
	}
	first := serve()
	k, own, told := keep(t, reservation.Options{MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond}, hosttest.Info(h))
	made := wait(t, told)
	require.NoError(t, made.lost)
	require.NoError(t, first.Close())
	lost := wait(t, told)
	require.ErrorContains(t, lost.lost, "reserve on")
	assert.Equal(t, h.ID(), lost.Relay)
	assert.Equal(t, made.Addrs, lost.Addrs)
	assert.False(t, lost.Expires.IsZero(), "a reservation was lost, not only an attempt failed")
	assert.Empty(t, k.Held())
	assert.NotEmpty(t, own.Network().ConnsToPeer(h.ID()))
	serve()
	assert.Equal(t, made.Addrs, regained(t, told).Addrs, "the new reservation is reported")
}

func TestAnotherRelayTakesThePlaceOfADeadOne(t *testing.T) {
	var relays []host.Host
	var infos []peer.AddrInfo
	for range 3 {
		r := newRelay(t, hosttest.Options{})
		relays, infos = append(relays, r), append(infos, hosttest.Info(r))
	}
	k, _, told := keep(t, reservation.Options{Max: 2, MinBackoff: time.Second}, infos...)
	first, second := wait(t, told), wait(t, told)
	require.NoError(t, first.lost)
	require.NoError(t, second.lost)
	require.Len(t, k.Held(), 2, "no more than Max")
	for _, r := range relays {
		if r.ID() == first.Relay {
			require.NoError(t, r.Close())
		}
	}
	require.Error(t, wait(t, told).lost)
	third := regained(t, told)
	assert.NotEqual(t, first.Relay, third.Relay)
	assert.NotEqual(t, second.Relay, third.Relay)
}

func TestNodesWithOneListGoToAllRelays(t *testing.T) {
	var relays []peer.AddrInfo
	for range 4 {
		relays = append(relays, hosttest.Info(newRelay(t, hosttest.Options{})))
	}
	took := make(map[peer.ID]int)
	for range 24 {
		_, _, told := keep(t, reservation.Options{Max: 1}, relays...)
		took[wait(t, told).Relay]++
	}
	assert.GreaterOrEqual(t, len(took), 3, "%v", took)
}

func TestWakeEndsTheBackoff(t *testing.T) {
	key := newKey(t)
	h := hosttest.Unmanaged(t, hosttest.Options{Key: key})
	info := hosttest.Info(h)
	hosttest.Relay(t, h, resources(time.Hour))
	k, _, told := keep(t, reservation.Options{MinBackoff: time.Hour, MaxBackoff: time.Hour}, info)
	require.NoError(t, wait(t, told).lost)
	require.NoError(t, h.Close())
	require.Error(t, wait(t, told).lost)
	newRelay(t, hosttest.Options{Key: key, Listen: info.Addrs[0].String()})
	k.Wake()
	require.NoError(t, wait(t, told).lost)
}

func TestWakingAKeeperThatHoldsLeavesTheBackoffOfALaterLoss(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	h := hosttest.Unmanaged(t, hosttest.Options{Key: key})
	info := hosttest.Info(h)
	hosttest.Relay(t, h, resources(time.Hour))
	k, _, told := keep(t, reservation.Options{MinBackoff: 4 * time.Second}, info)
	require.NoError(t, wait(t, told).lost)
	k.Wake()
	require.NoError(t, k.Add([]peer.AddrInfo{info})) // as a tab does when it joins others that share a node
	require.NoError(t, h.Close())
	newRelay(t, hosttest.Options{Key: key, Listen: info.Addrs[0].String()})
	began := time.Now()
	require.Error(t, wait(t, told).lost)
	require.NoError(t, wait(t, told).lost)
	assert.Greater(t, time.Since(began), 1500*time.Millisecond, "it waits for at least half of the back-off")
}

func TestAKeeperAtRestNeitherAttemptsNorTells(t *testing.T) {
	key := newKey(t)
	h := hosttest.Unmanaged(t, hosttest.Options{Key: key})
	info := hosttest.Info(h)
	hosttest.Relay(t, h, resources(time.Hour))
	k, own, told := keep(t, reservation.Options{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond}, info)
	require.NoError(t, wait(t, told).lost)
	k.Rest()
	k.Rest() // a second call has no effect
	require.NoError(t, h.Close())
	require.Error(t, wait(t, told).lost)
	newRelay(t, hosttest.Options{Key: key, Listen: info.Addrs[0].String()})
	require.NoError(t, k.Add([]peer.AddrInfo{info}))
	assert.Never(t, func() bool { return len(told) > 0 || len(own.Network().Conns()) > 0 }, 300*time.Millisecond, time.Millisecond)
	k.Wake()
	require.NoError(t, wait(t, told).lost)
}

func TestRelaysAddedLaterAreReservedOn(t *testing.T) {
	first, second := newRelay(t, hosttest.Options{}), newRelay(t, hosttest.Options{})
	k, _, told := keep(t, reservation.Options{}, hosttest.Info(first))
	assert.Equal(t, first.ID(), wait(t, told).Relay)
	require.NoError(t, k.Add([]peer.AddrInfo{hosttest.Info(second)}))
	assert.Equal(t, second.ID(), wait(t, told).Relay)
	assert.Len(t, k.Held(), 2)
	assert.Error(t, k.Add([]peer.AddrInfo{{ID: first.ID()}}), "no address")
}

func TestAddingAnAddressOfAKnownRelayEndsItsBackoff(t *testing.T) {
	relay := newRelay(t, hosttest.Options{})
	elsewhere := peer.AddrInfo{ID: relay.ID(), Addrs: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/1")}}
	k, _, told := keep(t, reservation.Options{MinBackoff: time.Hour, MaxBackoff: time.Hour}, elsewhere)
	require.Error(t, wait(t, told).lost)
	require.NoError(t, k.Add([]peer.AddrInfo{hosttest.Info(relay)}))
	assert.Equal(t, relay.ID(), wait(t, told).Relay)
	assert.Len(t, k.Relays(), 1)
}

func TestPeerThatIsNoRelayIsNotHeldAndThatIsTold(t *testing.T) {
	stranger := hosttest.New(t, hosttest.Options{})
	k, _, told := keep(t, reservation.Options{MinBackoff: 10 * time.Millisecond}, hosttest.Info(stranger))
	for range 2 { // it is tried again
		n := wait(t, told)
		assert.Equal(t, reservation.Reservation{Relay: stranger.ID()}, n.Reservation)
		require.ErrorContains(t, n.lost, "reserve on")
	}
	require.Empty(t, k.Held())
}

func TestBadOptionsAreRefused(t *testing.T) {
	for _, o := range []reservation.Options{{Max: -1}, {MinBackoff: -1}, {MinBackoff: time.Minute, MaxBackoff: time.Second}} {
		_, err := reservation.New(nil, o)
		require.Error(t, err)
	}
	_, err := reservation.New([]peer.AddrInfo{{ID: "x"}}, reservation.Options{})
	require.ErrorContains(t, err, "no address")
}

func TestCloseBeforeStart(t *testing.T) {
	k, err := reservation.New(nil, reservation.Options{})
	require.NoError(t, err)
	require.NoError(t, k.Close())
}
