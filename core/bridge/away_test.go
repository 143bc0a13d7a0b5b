package bridge_test

import (
	"crypto/rand"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/reservation"
)

func TestAForwardWorksAgainWhenItsPeerIsBack(t *testing.T) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	start := func(listenOn string) *core.Node {
		n, err := core.New(testContext(t), hosttest.Unmanaged(t, hosttest.Options{Key: key, Listen: listenOn}), core.Options{PingInterval: -1})
		require.NoError(t, err)
		listen(t, n, "/x/echo", echo)
		return n
	}
	here, there := newNode(t, bridge.Timeouts{}), start("")
	addr := there.Host().Addrs()[0].String()
	require.NoError(t, here.ConnectPeer(testContext(t), hosttest.Info(there.Host())))
	from := newPipeAcceptor()
	f, err := here.Forward(t.Context(), "/x/echo", from, there.ID())
	require.NoError(t, err)
	unused := func() bool { return f.Info().Live == 0 } // and the end of the stream is recorded
	c := from.dial()
	assertEchoes(t, c)
	require.NoError(t, c.Close())
	eventually(t, unused)

	away := func() {
		require.NoError(t, there.Close())
		eventually(t, func() bool { return here.Host().Network().Connectedness(there.ID()) == network.NotConnected })
		for range 3 { // libp2p would back off at the second and third
			_, err := io.ReadAll(from.dial())
			assert.ErrorIs(t, err, errPipeReset)
		}
		info := f.Info()
		assert.Zero(t, info.Failed%3, info.Failed)
		assert.Equal(t, bridge.PeerAway, info.Reason)
		assert.Contains(t, f.Info().Error, "peer away")
		// As long as the forward is in the registry, it only waits for connections.
		assert.Len(t, here.Bridge().Forwards(), 1)
	}
	back := func() {
		c := from.dial()
		back := time.Now()
		assertEchoes(t, c)
		assert.Less(t, time.Since(back), 4*time.Second, "libp2p backs off for 5 s at first")
		eventually(t, func() bool { return f.Info().Error == "" }) // although the stream is still open
		require.NoError(t, c.Close())
		eventually(t, unused)
	}
	t.Run("at its old address", func(t *testing.T) {
		away()
		there = start(addr)
		back()
	})
	t.Run("at another, having come by itself", func(t *testing.T) {
		away()
		there = start("")
		require.NoError(t, there.ConnectPeer(testContext(t), hosttest.Info(here.Host())))
		back()
	})
	require.NoError(t, there.Close())
}

func TestARelayedStreamLivesOnBesideADirectConnection(t *testing.T) {
	relayHost := hosttest.New(t, hosttest.Options{})
	circuits(t, relayHost)
	here, there := relayed(t, relayHost), relayed(t, relayHost)
	listen(t, there, "/x/half", service(t, answerAfterEOF))
	listen(t, there, "/x/echo", echo)

	// Half-close through the circuit.
	_, dial := forward(t, here, "/x/half", there.ID())
	c := dial()
	sent := randomBytes(1 << 20)
	_, err := c.Write(sent)
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, string(sent)+"the end.", string(got))
	last := endedWith(t, here)
	assert.Empty(t, last.Reason)
	assert.Equal(t, "circuit", last.Transport)
	assert.Equal(t, relayHost.ID(), last.Relay)

	old := hold(t, here, there.ID())
	require.Equal(t, relayHost.ID(), old.Info().Relay)
	require.NoError(t, here.ConnectPeer(testContext(t), directly(there)))
	direct := hold(t, here, there.ID())
	assert.Equal(t, "tcp", direct.Info().Transport)
	assert.Empty(t, direct.Info().Relay)
	assertEchoes(t, old)
	assert.Len(t, here.Bridge().Streams(), 2)

	// The relay closes: the stream through it fails, the direct one stays open.
	require.NoError(t, relayHost.Close())
	_, err = old.Read(make([]byte, 1))
	assert.ErrorIs(t, err, bridge.PeerLost)
	assertEchoes(t, direct)
}

// directly returns the addresses at which a node is reachable without a relay.
func directly(n *core.Node) peer.AddrInfo {
	addrs := slices.DeleteFunc(n.Host().Network().ListenAddresses(), isCircuit)
	return peer.AddrInfo{ID: n.ID(), Addrs: addrs}
}

func isCircuit(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

// relayed makes a node with a reservation on a relay. It announces only its circuit
// addresses.
func relayed(t testing.TB, r host.Host) *core.Node {
	t.Helper()
	keeper, err := reservation.New([]peer.AddrInfo{hosttest.Info(r)}, reservation.Options{})
	require.NoError(t, err)
	onlyCircuits := func(addrs []ma.Multiaddr) []ma.Multiaddr {
		return slices.DeleteFunc(keeper.AddrsFactory(addrs), func(a ma.Multiaddr) bool { return !isCircuit(a) })
	}
	n, err := core.New(testContext(t), hosttest.Unmanaged(t, hosttest.Options{AddrsFactory: onlyCircuits}),
		core.Options{Reservations: keeper, PingInterval: -1})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	eventually(t, func() bool { return len(n.Reservations()) > 0 })
	return n
}
