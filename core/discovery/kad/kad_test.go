package kad_test

import (
	"context"
	"testing"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/discovery"
	"github.com/tombolo-net/tombolo/core/discovery/kad"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

const limit = 30 * time.Second

func TestServersLearnOfEachOther(t *testing.T) {
	a, b := hosttest.New(t, hosttest.Options{}), hosttest.New(t, hosttest.Options{})
	proto := discovery.Protocol("test")
	ta, err := kad.Serve(a, proto)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, ta.Close()) })
	tb, err := kad.Serve(b, proto)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, tb.Close()) })
	require.NoError(t, a.Connect(t.Context(), hosttest.Info(b)))
	require.Eventually(t, func() bool { return ta.Size() == 1 && tb.Size() == 1 }, limit, 5*time.Millisecond)
	assert.Equal(t, []peer.ID{b.ID()}, ta.Nearest(a.ID(), 20))
	assert.Equal(t, []peer.ID{a.ID()}, tb.Nearest(a.ID(), 20))
	assert.Empty(t, tb.Nearest(a.ID(), 0))
	ta.Refresh()
}

// The protocol is libp2p's own: any peer that speaks it finds our peers, and gets their
// addresses of every kind.
func TestAStockDHTFindsAPeerThroughTheServer(t *testing.T) {
	server, wanted, stock := hosttest.New(t, hosttest.Options{}), hosttest.New(t, hosttest.Options{}), hosttest.New(t, hosttest.Options{})
	table, err := kad.Serve(server, discovery.Protocol("test"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, table.Close()) })
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	require.NoError(t, wanted.Connect(ctx, hosttest.Info(server)))
	require.Eventually(t, func() bool { return len(server.Peerstore().Addrs(wanted.ID())) > 0 }, limit, 5*time.Millisecond)

	d, err := dht.New(ctx, stock, dht.ProtocolPrefix("/test"), dht.Mode(dht.ModeClient), dht.BootstrapPeers(hosttest.Info(server)))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.Close()) })
	require.NoError(t, stock.Connect(ctx, hosttest.Info(server)))
	require.Eventually(t, func() bool { return d.RoutingTable().Size() == 1 }, limit, 5*time.Millisecond)
	found, err := d.FindPeer(ctx, wanted.ID())
	require.NoError(t, err)
	assert.Equal(t, wanted.Addrs(), found.Addrs)
}

func TestAClosedServerNoLongerAnswers(t *testing.T) {
	h := hosttest.New(t, hosttest.Options{})
	proto := discovery.Protocol("test")
	table, err := kad.Serve(h, proto)
	require.NoError(t, err)
	assert.Contains(t, h.Mux().Protocols(), proto)
	require.NoError(t, table.Close())
	assert.NotContains(t, h.Mux().Protocols(), proto)
}

func TestAProtocolOfAnotherKindIsRefused(t *testing.T) {
	_, err := kad.Serve(hosttest.New(t, hosttest.Options{}), "/test/other/1.0.0")
	require.ErrorContains(t, err, "/test/other/1.0.0")
}
