package relay_test

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/stack"
	"github.com/tombolo-net/tombolo/relay"
)

func infoOf(r *relay.Relay) peer.AddrInfo {
	return peer.AddrInfo{ID: r.Node().ID(), Addrs: r.Node().Host().Addrs()}
}

func connectedness(r *relay.Relay, other peer.ID) network.Connectedness {
	return r.Node().Host().Network().Connectedness(other)
}

func TestARelayStaysConnectedToItsPeers(t *testing.T) {
	// Over TCP, where the end of a connection is seen at once.
	dir := t.TempDir()
	at, err := stack.ParseListen("/ip4/127.0.0.1/tcp/0")
	require.NoError(t, err)
	other, err := relay.New(testContext(t), relay.Options{DataDir: dir, Listen: at})
	require.NoError(t, err)
	info := infoOf(other)
	require.NoError(t, other.Close())

	// The relay is there before the other, which comes, goes and comes back.
	r := newRelay(t, relay.Options{Listen: at, Peers: []peer.AddrInfo{info, info}})
	for range 2 {
		other, err = relay.New(testContext(t), relay.Options{DataDir: dir, Listen: info.Addrs, Peers: []peer.AddrInfo{infoOf(r), info}})
		require.NoError(t, err)
		require.Eventually(t, func() bool { return connectedness(r, info.ID) == network.Connected }, 30*time.Second, 5*time.Millisecond)
		require.NoError(t, other.Close())
		require.Eventually(t, func() bool { return connectedness(r, info.ID) == network.NotConnected }, 30*time.Second, 5*time.Millisecond)
	}
}

func TestARelayThatLostAnotherDialsItAgain(t *testing.T) {
	one := newRelay(t, relay.Options{})
	two := newRelay(t, relay.Options{Peers: []peer.AddrInfo{infoOf(one)}})
	id := one.Node().ID()
	require.Eventually(t, func() bool { return connectedness(two, id) == network.Connected }, 30*time.Second, 5*time.Millisecond)
	require.NoError(t, two.Node().Disconnect(id))
	require.Eventually(t, func() bool { return connectedness(two, id) == network.Connected }, 30*time.Second, 5*time.Millisecond)
}

func TestAPeerOfARelayNeedsAnAddress(t *testing.T) {
	id := newRelay(t, relay.Options{}).Node().ID()
	_, err := relay.New(testContext(t), relay.Options{Listen: local(), Peers: []peer.AddrInfo{{ID: id}}})
	require.ErrorContains(t, err, id.String()+" to keep connected to has no address")
}

func TestPeersOfTwoRelaysOfOneMeshConnectByID(t *testing.T) {
	one := newRelay(t, relay.Options{})
	two := newRelay(t, relay.Options{Peers: []peer.AddrInfo{infoOf(one)}})
	a := newNode(t, native.Options{Relays: []peer.AddrInfo{infoOf(one)}})
	b := newNode(t, native.Options{Relays: []peer.AddrInfo{infoOf(two)}})
	require.Eventually(t, func() bool { return len(b.Reservations()) == 1 }, 30*time.Second, 5*time.Millisecond)
	ctx := testContext(t)
	require.Eventually(t, func() bool { // once the relays know of each other
		_, err := a.Connect(ctx, b.ID().String())
		return err == nil
	}, 30*time.Second, 5*time.Millisecond)
	_, err := a.Echo(ctx, b.ID(), []byte("hello"))
	require.NoError(t, err)
	assert.Len(t, a.Host().Network().ConnsToPeer(b.ID()), 1)
}
