package mdns

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const limit = 30 * time.Second

// newHost makes a host that listens on the given address.
func newHost(t *testing.T, listen string) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings(listen), libp2p.DisableMetrics(), libp2p.DisableRelay())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, h.Close()) })
	return h
}

// find runs a finder until the end of the test.
func find(t *testing.T, h host.Host, o Options) *Finder {
	t.Helper()
	f := New(h, o)
	f.Start()
	t.Cleanup(func() { assert.NoError(t, f.Close()) })
	return f
}

// multicasting skips the test if no interface has multicast and an address.
func multicasting(t *testing.T) {
	t.Helper()
	all, err := net.Interfaces()
	require.NoError(t, err)
	for _, i := range all {
		addrs, err := i.Addrs()
		if err == nil && len(addrs) > 0 && i.Flags&net.FlagUp != 0 && i.Flags&net.FlagMulticast != 0 {
			return
		}
	}
	t.Skip("needs a network interface with multicast and an address")
}

const everywhere = "/ip4/0.0.0.0/tcp/0"

// connected returns a condition that holds when both hosts know of their connection: the
// one that dials knows first.
func connected(a, b host.Host) func() bool {
	return func() bool {
		return a.Network().Connectedness(b.ID()) == network.Connected && b.Network().Connectedness(a.ID()) == network.Connected
	}
}

func TestPeersOfOneNetworkOnOneLinkAreConnected(t *testing.T) {
	multicasting(t)
	ours, theirs := strings.ToLower(rand.Text()), "Another "+rand.Text()
	a, b, stranger, stranger2 := newHost(t, everywhere), newHost(t, everywhere), newHost(t, everywhere), newHost(t, everywhere)
	find(t, a, Options{Network: ours})
	find(t, b, Options{Network: ours})
	find(t, stranger, Options{Network: theirs})
	find(t, stranger2, Options{Network: theirs})
	require.Eventually(t, connected(a, b), limit, 10*time.Millisecond)
	require.Eventually(t, connected(stranger, stranger2), limit, 10*time.Millisecond)
	assert.Equal(t, []peer.ID{b.ID()}, a.Network().Peers())
	assert.Equal(t, []peer.ID{stranger2.ID()}, stranger.Network().Peers())
}

func TestWhoListensNowhereFindsOthers(t *testing.T) {
	multicasting(t)
	name := strings.ToLower(rand.Text())
	a, b := newHost(t, "/ip4/127.0.0.1/tcp/0"), newHost(t, everywhere)
	find(t, a, Options{Network: name})
	find(t, b, Options{Network: name})
	require.Eventually(t, connected(a, b), limit, 10*time.Millisecond)
}

func TestALostNeighbourIsConnectedAgain(t *testing.T) {
	multicasting(t)
	name := strings.ToLower(rand.Text())
	a, b := newHost(t, everywhere), newHost(t, everywhere)
	find(t, a, Options{Network: name})
	find(t, b, Options{Network: name})
	require.Eventually(t, connected(a, b), limit, 10*time.Millisecond)
	first := a.Network().ConnsToPeer(b.ID())
	require.NoError(t, a.Network().ClosePeer(b.ID()))
	for _, c := range first {
		assert.True(t, c.IsClosed())
	}
	require.Eventually(t, connected(a, b), limit, 10*time.Millisecond)
}

func TestWhatIsAnnouncedIsForNativePeersOfTheLink(t *testing.T) {
	h, err := libp2p.New(libp2p.DisableMetrics(), libp2p.ListenAddrStrings("/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/tcp/0/ws",
		"/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/udp/0/quic-v1/webtransport"))
	require.NoError(t, err)
	defer h.Close()
	for _, a := range New(h, Options{Network: "x"}).addrs() {
		assert.NotContains(t, a, "127.0.0.1")
		assert.NotContains(t, a, "webtransport")
		assert.NotContains(t, a, "/ws")
		assert.True(t, strings.HasSuffix(a, "/p2p/"+h.ID().String()), a)
	}
}

func TestEachNetworkHasAServiceOfItsOwn(t *testing.T) {
	assert.Equal(t, "_tombolo-tombolo._udp", service("tombolo"))
	seen := make(map[string]string)
	for _, name := range []string{"tombolo", "Tombolo", "a.b", "b", "", strings.Repeat("x", 40), strings.Repeat("x", 41), "日本"} {
		s := strings.ToLower(service(name)) // DNS ignores the case
		label, _, _ := strings.Cut(s, ".")
		assert.LessOrEqual(t, len(label), 63)
		assert.Equal(t, 1, strings.Count(s, "."), s)
		assert.NotContains(t, seen, s)
		seen[s] = name
	}
}

func TestGarbageOnTheLinkIsPassedOver(t *testing.T) {
	h := newHost(t, "/ip4/127.0.0.1/tcp/0")
	f := New(h, Options{Network: "x"})
	other := newHost(t, "/ip4/127.0.0.1/tcp/0")
	good := fmt.Sprintf("dnsaddr=%s/p2p/%s", other.Addrs()[0], other.ID())
	heard := make(chan peer.AddrInfo, 1)
	go func() { heard <- <-f.heard }()
	f.hear(t.Context(), nil)
	f.hear(t.Context(), []string{"", "dnsaddr=", "dnsaddr=/nonsense", "x=y"})
	f.hear(t.Context(), []string{"dnsaddr=/ip4/127.0.0.1/tcp/1"})
	f.hear(t.Context(), []string{"dnsaddr=/ip4/127.0.0.1/tcp/1/p2p/" + h.ID().String()})
	f.hear(t.Context(), []string{"dnsaddr=/p2p/" + other.ID().String()})
	f.hear(t.Context(), []string{"nonsense", good})
	assert.Equal(t, peer.AddrInfo{ID: other.ID(), Addrs: other.Addrs()}, <-heard)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.hear(ctx, []string{good}) // it returns, though nobody receives any more
}

func TestACrowdIsBounded(t *testing.T) {
	known := make(map[peer.ID]*neighbour)
	for i := range maxNeighbours {
		require.True(t, makeRoom(known))
		id := peer.ID(fmt.Sprint(i))
		known[id] = &neighbour{}
	}
	assert.False(t, makeRoom(known), "all of them may be there")
	known["7"].failures = maxDoubled + 1
	assert.True(t, makeRoom(known))
	assert.NotContains(t, known, peer.ID("7"))
}

func TestCloseMayComeFirstAndTwice(t *testing.T) {
	h := newHost(t, "/ip4/127.0.0.1/tcp/0")
	f := New(h, Options{Network: "x"})
	require.NoError(t, f.Close())
	f.Start()
	require.NoError(t, f.Close())
}

// logged is a log that tests read.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
