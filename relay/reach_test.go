package relay_test

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/relay"
)

// A peer's report of its addresses can be lost, or be read before an older report.
func TestARelayKnowsHowItsPeersAreReachedWhateverTheyTell(t *testing.T) {
	r := newRelay(t, relay.Options{})
	on := r.Node().Host()
	silent, err := libp2p.New(libp2p.NoListenAddrs, libp2p.EnableRelay(), libp2p.DisableMetrics())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, silent.Close()) })
	info := peer.AddrInfo{ID: on.ID(), Addrs: on.Addrs()}
	require.NoError(t, silent.Connect(testContext(t), info))
	_, err = circuit.Reserve(testContext(t), silent, info)
	require.NoError(t, err)
	require.Empty(t, silent.Addrs(), "it reports no address")

	other := newRelay(t, relay.Options{Peers: []peer.AddrInfo{infoOf(r)}})
	require.Eventually(t, func() bool { return other.Node().Stats().Discovery.Table > 0 }, 30*time.Second, 5*time.Millisecond)
	caller := newReserved(t, other)
	_, err = caller.Connect(testContext(t), silent.ID().String())
	require.NoError(t, err)
	require.NotEmpty(t, silent.Network().ConnsToPeer(caller.ID()))

	known := func() []ma.Multiaddr { return on.Peerstore().Addrs(silent.ID()) }
	before := len(known())
	_, err = circuit.Reserve(testContext(t), silent, info)
	require.NoError(t, err)
	assert.Len(t, known(), before, "each address is noted once")

	require.NoError(t, silent.Network().ClosePeer(on.ID()))
	require.Eventually(t, func() bool { return on.Network().Connectedness(silent.ID()) == network.NotConnected }, 30*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool {
		on.Peerstore().UpdateAddrs(silent.ID(), peerstore.RecentlyConnectedAddrTTL, 0)
		return len(known()) == 0
	}, 30*time.Second, 5*time.Millisecond, "the addresses of a peer that has left are forgotten")
}
