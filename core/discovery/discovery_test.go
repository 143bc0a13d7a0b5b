package discovery_test

import (
	"context"
	"crypto/rand"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/discovery"
	"github.com/tombolo-net/tombolo/core/discovery/kad"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/reservation"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

const (
	limit = 30 * time.Second
	named = "test"
)

// node is a host with its discovery.
type node struct {
	host.Host
	mesh *discovery.Discovery
}

// discover runs discovery on a host until the end of the test.
func discover(t *testing.T, h host.Host, o discovery.Options) node {
	t.Helper()
	if o.Network == "" {
		o.Network = named
	}
	d, err := discovery.New(t.Context(), h, o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.Close()) })
	return node{h, d}
}

// contacts returns a Bootstrap function that lists the hosts.
func contacts(hosts ...host.Host) func() []peer.AddrInfo {
	var infos []peer.AddrInfo
	for _, h := range hosts {
		infos = append(infos, hosttest.Info(h))
	}
	return func() []peer.AddrInfo { return infos }
}

// newRelay makes a relay that is also a discovery server.
func newRelay(t *testing.T, contact ...host.Host) node {
	t.Helper()
	h := hosttest.New(t, hosttest.Options{})
	hosttest.Relay(t, h, relay.Resources{ReservationTTL: time.Hour, MaxReservations: 100, MaxCircuits: 100, MaxReservationsPerIP: 100, MaxReservationsPerASN: 100, BufferSize: 4096})
	return discover(t, h, discovery.Options{Serve: kad.Serve, Bootstrap: contacts(contact...)})
}

// newPeer makes a peer that does not listen and is reachable only through r.
func newPeer(t *testing.T, r node, serve discovery.Serve) node {
	t.Helper()
	return discover(t, newHost(t, r), discovery.Options{Serve: serve, Bootstrap: contacts(r)})
}

// newHost makes a host that does not listen, with a reservation on r.
func newHost(t *testing.T, r node) host.Host {
	t.Helper()
	k, err := reservation.New([]peer.AddrInfo{hosttest.Info(r)}, reservation.Options{})
	require.NoError(t, err)
	h := hosttest.New(t, hosttest.Options{Listen: "none", AddrsFactory: k.AddrsFactory})
	require.NoError(t, k.Start(h, func(reservation.Reservation, error) {}))
	t.Cleanup(func() { assert.NoError(t, k.Close()) })
	require.Eventually(t, func() bool { return len(k.Held()) == 1 && len(h.Addrs()) > 0 }, limit, 10*time.Millisecond)
	// Our relays record these addresses themselves, because a relay may read a peer's older
	// answer to identify after its later update.
	r.Peerstore().AddAddrs(h.ID(), h.Addrs(), peerstore.PermanentAddrTTL)
	return h
}

// connectRelays waits until two relays are in each other's routing table.
func connectRelays(t *testing.T, a, b node) {
	t.Helper()
	require.Eventually(t, func() bool { return a.mesh.Stats().Table > 0 && b.mesh.Stats().Table > 0 }, limit, 10*time.Millisecond)
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func newID(t *testing.T) peer.ID {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	id, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	return id
}

func TestPeerOnAnotherRelayIsReachedByItsIDAlone(t *testing.T) {
	for name, serve := range map[string]struct{ caller, called discovery.Serve }{
		"tab to native":    {called: kad.Serve},
		"native to tab":    {caller: kad.Serve},
		"tab to tab":       {},
		"native to native": {caller: kad.Serve, called: kad.Serve},
	} {
		t.Run(name, func(t *testing.T) {
			r1 := newRelay(t)
			r2 := newRelay(t, r1)
			connectRelays(t, r1, r2)
			a, b := newPeer(t, r1, serve.caller), newPeer(t, r2, serve.called)
			b.SetStreamHandler("/echo", func(s network.Stream) { _, _ = io.Copy(s, s); _ = s.Close() })
			ctx := testContext(t)

			found, err := a.mesh.FindPeer(ctx, b.ID())
			require.NoError(t, err)
			assert.Equal(t, b.ID(), found.ID)
			require.NotEmpty(t, found.Addrs)
			for _, addr := range found.Addrs {
				assert.Contains(t, addr.String(), "/p2p/"+r2.ID().String()+"/p2p-circuit")
			}

			require.NoError(t, a.mesh.Connect(ctx, b.ID()))
			s, err := a.NewStream(ctx, b.ID(), "/echo")
			require.NoError(t, err)
			_, err = s.Write([]byte("hello"))
			require.NoError(t, err)
			require.NoError(t, s.CloseWrite())
			back, err := io.ReadAll(s)
			require.NoError(t, err)
			assert.Equal(t, "hello", string(back))
			require.NoError(t, a.mesh.Connect(ctx, b.ID()), "and once more")
			assert.LessOrEqual(t, a.mesh.Stats().Found, uint64(2), "a connected peer is not looked for")
		})
	}
}

func TestATabConnectsToNoMoreServersThanItMust(t *testing.T) {
	for name, c := range map[string]struct{ contacts, servers, least, most int }{
		"in a small mesh to its relay":      {contacts: 1, servers: 5, least: 1, most: 1},
		"in one of many relays to a few":    {contacts: 12, servers: 0, least: 1, most: 3}, // three are dialled at once
		"in a big one to the nearest to it": {contacts: 1, servers: 20, least: 7, most: 9}, // three are asked at once
	} {
		t.Run(name, func(t *testing.T) {
			infos := make([]peer.AddrInfo, c.servers)
			for i := range infos {
				infos[i] = hosttest.Info(newDouble(t, func(peer.ID) []byte { return answer() }))
			}
			first := make([]host.Host, c.contacts)
			for i := range first {
				first[i] = newDouble(t, func(peer.ID) []byte { return answer(infos...) })
			}
			a := discover(t, hosttest.New(t, hosttest.Options{Listen: "none"}), discovery.Options{Bootstrap: contacts(first...)})
			require.Eventually(t, func() bool { return a.mesh.Stats().Announcements > 0 }, limit, 10*time.Millisecond)
			a.mesh.Wake()
			// The second round begins when the first is over.
			require.Eventually(t, func() bool { return a.mesh.Stats().Announcements > 1 }, limit, 10*time.Millisecond)
			assert.GreaterOrEqual(t, len(a.Network().Peers()), c.least)
			assert.LessOrEqual(t, len(a.Network().Peers()), c.most)
		})
	}
}

func TestNotFoundTellsWhoWasAsked(t *testing.T) {
	r1 := newRelay(t)
	r2 := newRelay(t, r1)
	connectRelays(t, r1, r2)
	a := newPeer(t, r1, nil)
	nobody := newID(t)
	_, err := a.mesh.FindPeer(testContext(t), nobody)
	require.ErrorIs(t, err, discovery.ErrNotFound)
	var why *discovery.NotFoundError
	require.ErrorAs(t, err, &why)
	assert.Equal(t, nobody, why.Peer)
	assert.ElementsMatch(t, []peer.ID{r1.ID(), r2.ID()}, why.Asked)
	assert.Contains(t, err.Error(), r1.ID().String())
	assert.Equal(t, uint64(1), a.mesh.Stats().Lookups)
	assert.Zero(t, a.mesh.Stats().Found)
}

func TestNobodyToAskIsSaid(t *testing.T) {
	a := discover(t, hosttest.New(t, hosttest.Options{}), discovery.Options{})
	err := a.mesh.Connect(testContext(t), newID(t))
	require.ErrorIs(t, err, discovery.ErrNotFound)
	assert.ErrorContains(t, err, "nobody to ask")
	require.Error(t, a.mesh.Connect(testContext(t), ""))
}

func TestNetworksDoNotFindEachOther(t *testing.T) {
	r := newRelay(t)
	b := newPeer(t, r, nil)
	other := discover(t, hosttest.New(t, hosttest.Options{}), discovery.Options{Network: "other", Bootstrap: contacts(r)})
	_, err := other.mesh.FindPeer(testContext(t), b.ID())
	require.ErrorIs(t, err, discovery.ErrNotFound)
	assert.ErrorContains(t, err, "nobody to ask")

	for _, bad := range []string{"", "a/b", "a b"} {
		_, err := discovery.New(t.Context(), r, discovery.Options{Network: bad})
		require.Error(t, err, bad)
	}
	assert.EqualValues(t, "/tombolo/kad/1.0.0", discovery.Protocol("tombolo"))
}

func TestTheMeshIsContactedUntilSomebodyAnswers(t *testing.T) {
	for name, serve := range map[string]discovery.Serve{"tab": nil, "native": kad.Serve} {
		t.Run(name, func(t *testing.T) {
			key, _, err := crypto.GenerateEd25519Key(rand.Reader)
			require.NoError(t, err)
			first := hosttest.Unmanaged(t, hosttest.Options{Key: key})
			info := hosttest.Info(first)
			require.NoError(t, first.Close())
			a := discover(t, hosttest.New(t, hosttest.Options{}), discovery.Options{Serve: serve, Bootstrap: func() []peer.AddrInfo { return []peer.AddrInfo{info} }})
			require.ErrorIs(t, a.mesh.Connect(testContext(t), newID(t)), discovery.ErrNotFound)

			// The server starts, stops and starts again.
			for range 2 {
				h := hosttest.Unmanaged(t, hosttest.Options{Key: key, Listen: info.Addrs[0].String()})
				d, err := discovery.New(t.Context(), h, discovery.Options{Network: named, Serve: kad.Serve})
				require.NoError(t, err)
				require.Eventually(t, func() bool { return a.Network().Connectedness(h.ID()) == network.Connected }, limit, 10*time.Millisecond)
				_, err = a.mesh.FindPeer(testContext(t), newID(t))
				var why *discovery.NotFoundError
				require.ErrorAs(t, err, &why)
				assert.Equal(t, []peer.ID{h.ID()}, why.Asked, "it answers again")
				require.NoError(t, d.Close())
				require.NoError(t, h.Close())
				require.Eventually(t, func() bool { return a.Network().Connectedness(h.ID()) == network.NotConnected }, limit, 10*time.Millisecond)
			}
		})
	}
}

func TestWakeContactsTheMeshAtOnce(t *testing.T) {
	// Until long back-offs have begun, nobody listens at the relay's address.
	var asked atomic.Int32
	relay := hosttest.New(t, hosttest.Options{Listen: "none"})
	gone := nowhere(t)
	a := discover(t, hosttest.New(t, hosttest.Options{}), discovery.Options{Bootstrap: func() []peer.AddrInfo {
		asked.Add(1)
		return []peer.AddrInfo{{ID: relay.ID(), Addrs: gone.Addrs}}
	}})
	require.Eventually(t, func() bool { return asked.Load() >= 2 }, limit, time.Millisecond)
	d, err := discovery.New(t.Context(), relay, discovery.Options{Network: named, Serve: kad.Serve})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.Close()) })
	require.NoError(t, relay.Network().Listen(gone.Addrs[0]))
	a.mesh.Wake()
	require.Eventually(t, func() bool { return a.mesh.Stats().Announcements > 0 }, limit, 10*time.Millisecond)
}

func TestALookupOfOneWhoLostTheMeshContactsItAgain(t *testing.T) {
	// All servers in the routing table are offline; the relay of Bootstrap is online.
	r := newRelay(t)
	b := newPeer(t, r, nil)
	var list atomic.Pointer[[]peer.AddrInfo]
	list.Store(&[]peer.AddrInfo{})
	a := discover(t, hosttest.New(t, hosttest.Options{}), discovery.Options{Serve: kad.Serve, Bootstrap: func() []peer.AddrInfo { return *list.Load() }})
	old := hosttest.Unmanaged(t, hosttest.Options{})
	d, err := discovery.New(t.Context(), old, discovery.Options{Network: named, Serve: kad.Serve})
	require.NoError(t, err)
	require.NoError(t, a.Connect(testContext(t), hosttest.Info(old)))
	require.Eventually(t, func() bool { return a.mesh.Stats().Table == 1 }, limit, 10*time.Millisecond)
	require.NoError(t, d.Close())
	require.NoError(t, old.Close())
	list.Store(&[]peer.AddrInfo{hosttest.Info(r)})
	require.NoError(t, a.mesh.Connect(testContext(t), b.ID()))
}

func TestAPeerThatMovedToAnotherRelayIsFoundThere(t *testing.T) {
	r := newRelay(t)
	b := newHost(t, r)
	// The first server asked returns an address of the peer where nobody listens.
	gone := nowhere(t)
	stale := peer.AddrInfo{ID: b.ID(), Addrs: []ma.Multiaddr{ma.StringCast(gone.Addrs[0].String() + "/p2p/" + gone.ID.String() + "/p2p-circuit")}}
	first := newDouble(t, func(target peer.ID) []byte {
		if target != b.ID() {
			return answer()
		}
		return answer(stale, hosttest.Info(r))
	})
	a := discover(t, hosttest.New(t, hosttest.Options{}), discovery.Options{Bootstrap: contacts(first)})

	found, err := a.mesh.FindPeer(testContext(t), b.ID())
	require.NoError(t, err)
	require.Equal(t, stale.Addrs, found.Addrs, "the first answer, although nobody has checked it")
	require.NoError(t, a.mesh.Connect(testContext(t), b.ID()))
	assert.Equal(t, network.Connected, a.Network().Connectedness(b.ID()))
}

func TestCloseEndsLookups(t *testing.T) {
	mute := newMute(t)
	a := discover(t, hosttest.New(t, hosttest.Options{}), discovery.Options{Bootstrap: contacts(mute)})
	ended := make(chan error, 1)
	go func() { ended <- a.mesh.Connect(context.Background(), newID(t)) }()
	require.Eventually(t, func() bool { return a.mesh.Stats().Lookups == 1 }, limit, 5*time.Millisecond)
	require.NoError(t, a.mesh.Close())
	require.ErrorIs(t, <-ended, discovery.ErrClosed)
	require.ErrorIs(t, a.mesh.Connect(testContext(t), newID(t)), discovery.ErrClosed)
	require.NoError(t, a.mesh.Close())
	a.mesh.Wake()
}

func TestALookupEndsWithItsContext(t *testing.T) {
	mute := newMute(t)
	a := discover(t, hosttest.New(t, hosttest.Options{}), discovery.Options{Bootstrap: contacts(mute)})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := a.mesh.Connect(ctx, newID(t))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, discovery.ErrNotFound)
}
