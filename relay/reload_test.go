package relay_test

import (
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/relay"
)

// reloadable makes a relay and a function that changes its options and reloads it.
func reloadable(t *testing.T, o relay.Options) (r *relay.Relay, reload func(change func(*relay.Options)) error) {
	o.Reread = func(apply func(relay.Options) error) error { return apply(o) }
	r = newRelay(t, o)
	return r, func(change func(*relay.Options)) error {
		before := o
		change(&o)
		err := r.Reload()
		if err != nil {
			o = before
		}
		return err
	}
}

func TestARateThatIsReloadedHoldsForOpenCircuits(t *testing.T) {
	r, reload := reloadable(t, relay.Options{Limits: relay.Limits{PeerRate: 64 << 10}})
	caller, called := newPair(t, r)
	handleSink(t, called)
	s, err := caller.Open(testContext(t), called.ID(), sink)
	require.NoError(t, err)
	sent := make(chan error, 1)
	go func() {
		_, err := s.Write(make([]byte, 16<<20)) // takes minutes
		sent <- err
	}()
	require.Eventually(t, func() bool {
		for _, p := range r.Peers() {
			if p.Bytes > 64<<10 {
				return true
			}
		}
		return false
	}, 30*time.Second, time.Millisecond, "it is under way")
	require.NoError(t, reload(func(o *relay.Options) { o.Limits.PeerRate = -1 }))
	select {
	case err := <-sent:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		require.Fail(t, "the circuit still has the old rate")
	}
	require.NoError(t, s.Close())
}

func TestARelayThatIsClosedByAReloadKeepsOnlyThoseThatMayBeThere(t *testing.T) {
	dir := t.TempDir()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	r, reload := reloadable(t, relay.Options{DataDir: dir, Identity: key})
	stranger, allowed := newReserved(t, r), newReserved(t, r)
	token, err := relay.Token(key, "alice", time.Now().Add(time.Hour))
	require.NoError(t, err)
	alice := newNode(t, native.Options{Token: token, Relays: []peer.AddrInfo{{ID: r.Node().ID(), Addrs: r.Node().Host().Addrs()}}})
	awaitReserved(t, alice)
	write(t, dir, "allow "+allowed.ID().String())
	require.NoError(t, reload(func(o *relay.Options) { o.Closed = true }))
	awaitClosed(t, r, stranger.ID())
	for _, n := range []*core.Node{allowed, alice} {
		assert.Len(t, n.Reservations(), 1)
	}
	require.NoError(t, reload(func(o *relay.Options) { o.Closed = false }))
	awaitReserved(t, stranger)
}

func TestALimitThatIsLoweredHasThoseAboveItMoveAndCutsNobody(t *testing.T) {
	next := newRelay(t, relay.Options{})
	r, reload := reloadable(t, relay.Options{Limits: relay.Limits{Peers: 8, PeersPerAddress: 8}})
	at := []peer.AddrInfo{{ID: next.Node().ID(), Addrs: next.Node().Host().Addrs()}}
	var all []*core.Node
	for range 3 {
		all = append(all, newReserved(t, r))
	}
	reserved := func(at *relay.Relay) (n int) {
		for _, p := range at.Peers() {
			if p.Reserved {
				n++
			}
		}
		return n
	}
	require.NoError(t, reload(func(o *relay.Options) { o.Limits.Peers, o.Limits.PeersPerAddress = 2, 2 }))
	require.ErrorContains(t, failure(t, newNode(t, native.Options{}), peer.AddrInfo{ID: r.Node().ID(), Addrs: r.Node().Host().Addrs()}), "all 2 reservations")
	assert.Equal(t, 3, reserved(r), "a peer that knows no other relay stays")
	require.NoError(t, reload(func(o *relay.Options) { o.Peers = at }))
	require.Eventually(t, func() bool {
		return len(r.Node().Host().Network().ConnsToPeer(next.Node().ID())) > 0
	}, 30*time.Second, 5*time.Millisecond, "it connects to the relay that is new")
	require.NoError(t, reload(func(o *relay.Options) {}))
	require.Eventually(t, func() bool { return reserved(r) == 2 && reserved(next) == 1 }, 30*time.Second, 5*time.Millisecond)
	for _, n := range all {
		assert.Len(t, n.Reservations(), 1)
	}
}

func TestAReloadThatIsRefusedChangesNothing(t *testing.T) {
	dir := t.TempDir()
	r, reload := reloadable(t, relay.Options{DataDir: dir, Limits: relay.Limits{Peers: 8}})
	announced := ma.StringCast("/dns4/relay.example/tcp/443/tls/ws")
	for want, change := range map[string]func(*relay.Options){
		"started with":   func(o *relay.Options) { o.Limits.Peers = 9 },
		"topics":         func(o *relay.Options) { o.Limits.Topics = 7 },
		"negative":       func(o *relay.Options) { o.Limits.CircuitsPerPeer = -1 },
		"has no address": func(o *relay.Options) { o.Peers = []peer.AddrInfo{{ID: r.Node().ID()}} },
	} {
		assert.ErrorContains(t, reload(func(o *relay.Options) { change(o); o.Announce = []ma.Multiaddr{announced} }), want)
	}
	write(t, dir, "nonsense\n")
	assert.ErrorContains(t, reload(func(o *relay.Options) { o.Announce = []ma.Multiaddr{announced} }), "line 1")
	assert.NotContains(t, r.Node().Host().Addrs(), announced)
	write(t, dir, "")
	require.NoError(t, reload(func(o *relay.Options) { o.Announce = []ma.Multiaddr{announced} }))
	require.Eventually(t, func() bool { return slices.ContainsFunc(r.Node().Host().Addrs(), announced.Equal) }, 30*time.Second, 5*time.Millisecond)
}
