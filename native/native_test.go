package native_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/datadir"
	"github.com/tombolo-net/tombolo/native/stack"
	"github.com/tombolo-net/tombolo/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// local returns an address of every transport on 127.0.0.1.
func local() []ma.Multiaddr { return stack.ListenOn(netip.MustParseAddr("127.0.0.1"), 0, 0) }

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newNode(t *testing.T, o native.Options) *core.Node {
	t.Helper()
	if o.Listen == nil {
		o.Listen = local()
	}
	o.NoMDNS = true // so that tests on one machine do not find each other
	n, err := native.New(testContext(t), o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	return n
}

func newKey(t *testing.T) crypto.PrivKey {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	return key
}

// newRelay starts a relay that the test may close earlier.
func newRelay(t *testing.T, o relay.Options) *relay.Relay {
	t.Helper()
	if o.Listen == nil {
		o.Listen = local()
	}
	r, err := relay.New(testContext(t), o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r
}

// await reads events until one of the wanted type comes.
func await(t *testing.T, news *core.Events, want core.EventType) core.Event {
	t.Helper()
	ctx := testContext(t)
	for {
		ev, err := news.Next(ctx)
		require.NoError(t, err, "waiting for %q", want)
		if ev.Type == want {
			return ev
		}
	}
}

func TestANodeKeepsItsIdentityAndItsDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	n := newNode(t, native.Options{DataDir: dir})
	_, err := native.New(testContext(t), native.Options{DataDir: dir, Listen: local()})
	require.ErrorIs(t, err, datadir.ErrInUse)
	require.ErrorContains(t, err, dir)
	id := n.ID()
	require.NoError(t, n.Close())

	assert.Equal(t, id, newNode(t, native.Options{DataDir: dir}).ID())
	assert.NotEqual(t, id, newNode(t, native.Options{}).ID(), "without a directory the identity is fresh")

	key := newKey(t)
	given, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	assert.Equal(t, given, newNode(t, native.Options{Identity: key}).ID())
}

func TestAStartThatFailsLeavesNothingBehind(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	id := newNode(t, native.Options{}).ID()
	dir := t.TempDir()
	for name, c := range map[string]struct {
		ctx  context.Context
		opts native.Options
		want string
	}{
		"port in use":             {t.Context(), native.Options{Listen: stack.ListenOn(netip.MustParseAddr("127.0.0.1"), taken.Addr().(*net.TCPAddr).Port, 0)}, "in use"},
		"cancelled":               {cancelled, native.Options{Listen: local()}, context.Canceled.Error()},
		"relay without addresses": {t.Context(), native.Options{Listen: local(), Relays: []peer.AddrInfo{{ID: id}}}, "no address"},
	} {
		t.Run(name, func(t *testing.T) {
			c.opts.DataDir = dir
			_, err := native.New(c.ctx, c.opts)
			require.ErrorContains(t, err, c.want)
			d, err := datadir.Open(dir)
			require.NoError(t, err, "the directory is free again")
			require.NoError(t, d.Close())
			// TestMain checks at the end that no goroutine is left.
		})
	}
}

// cancelOnCall is a context that is cancelled once Err has been called so many times, so
// that a start fails in the middle.
type cancelOnCall struct {
	context.Context
	calls int
}

func (c *cancelOnCall) Err() error {
	if c.calls--; c.calls < 0 {
		return context.Canceled
	}
	return nil
}

func TestAPartThatFailsTakesTheHostWithIt(t *testing.T) {
	dir := t.TempDir()
	for calls := range 5 { // core.New calls Err before each of its parts
		_, err := native.New(&cancelOnCall{t.Context(), calls}, native.Options{DataDir: dir, Listen: local()})
		require.ErrorIs(t, err, context.Canceled, "%d", calls)
	}
	d, err := datadir.Open(dir)
	require.NoError(t, err)
	require.NoError(t, d.Close())
}

func TestPrivateAddressesAreTold(t *testing.T) {
	n := newNode(t, native.Options{})
	require.Len(t, n.Addrs(), 5)
	for _, a := range n.Addrs() {
		assert.True(t, manet.IsIPLoopback(a), "%s", a)
	}
	other := newNode(t, native.Options{})
	ctx := testContext(t)
	_, err := other.Connect(ctx, n.Addrs()[0].String())
	require.NoError(t, err)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		for _, p := range other.Peers() {
			assert.Len(c, p.Addrs, 5)
		}
	}, 10*time.Second, 10*time.Millisecond, "identify told them")
}

func TestAnnouncedAddressesAreToldToo(t *testing.T) {
	proxy := ma.StringCast("/dns4/tombolo.example/tcp/443/tls/ws")
	forwarded := ma.StringCast("/ip4/203.0.113.7/udp/4001/quic-v1/webtransport")
	n := newNode(t, native.Options{Announce: []ma.Multiaddr{proxy, forwarded}})
	var told []string
	for _, a := range n.Host().Addrs() {
		told = append(told, a.String())
	}
	assert.Contains(t, told, proxy.String())
	assert.True(t, slices.ContainsFunc(told, func(s string) bool {
		return strings.HasPrefix(s, forwarded.String()+"/certhash/")
	}), "with the hash of our certificate: %s", told)
	assert.Len(t, told, 7)
}

func TestANodeNeedNotListen(t *testing.T) {
	quiet := newNode(t, native.Options{Listen: []ma.Multiaddr{}})
	assert.Empty(t, quiet.Addrs())
	n := newNode(t, native.Options{UserAgent: "someone/1"})
	id, err := quiet.Connect(testContext(t), n.Addrs()[0].String())
	require.NoError(t, err)
	data := []byte("hello")
	echoed, err := quiet.Echo(testContext(t), id, data)
	require.NoError(t, err)
	assert.Equal(t, data, echoed)
	echoed, err = n.Echo(testContext(t), quiet.ID(), data)
	require.NoError(t, err, "and back over the same connection")
	assert.Equal(t, data, echoed)
	assert.EventuallyWithT(t, func(c *assert.CollectT) {
		if ours, theirs := n.Peers(), quiet.Peers(); assert.Len(c, ours, 1) && assert.Len(c, theirs, 1) {
			assert.Equal(c, "tombolo/"+core.Version(), ours[0].Agent)
			assert.Equal(c, "someone/1", theirs[0].Agent)
		}
	}, 10*time.Second, 10*time.Millisecond)
}

func TestTwoNodesMeetThroughARelayThatCameLater(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	r := newRelay(t, relay.Options{Identity: key})
	info := peer.AddrInfo{ID: r.Node().ID(), Addrs: r.Node().Host().Addrs()}
	listen := r.Node().Host().Network().ListenAddresses()
	require.NoError(t, r.Close())

	// Neither the node nor its caller listens, so that only the relay connects them.
	called := newNode(t, native.Options{Listen: []ma.Multiaddr{}, Relays: []peer.AddrInfo{info}})
	assert.Empty(t, called.Addrs())
	news := called.Events()
	defer news.Close()

	newRelay(t, relay.Options{Identity: key, Listen: withoutHashes(listen)})
	called.Wake()
	made := await(t, news, core.ReservationMade)
	assert.Equal(t, info.ID, made.Peer)
	require.NotEmpty(t, made.Addrs)
	for _, a := range made.Addrs {
		assert.True(t, manet.IsIPLoopback(a), "private addresses are in the reservation: %s", a)
	}
	require.Len(t, called.Addrs(), len(made.Addrs))

	caller := newNode(t, native.Options{Listen: []ma.Multiaddr{}})
	ctx := testContext(t)
	id, err := caller.Connect(ctx, called.Addrs()[0].String())
	require.NoError(t, err)
	require.Equal(t, called.ID(), id)

	// More than the 128 KiB that other relays allow a circuit, both ways.
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	echoed, err := caller.Echo(ctx, called.ID(), data)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(data, echoed))
	echoed, err = called.Echo(ctx, caller.ID(), data)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(data, echoed))

	assert.EventuallyWithT(t, func(c *assert.CollectT) {
		i := slices.IndexFunc(called.Peers(), func(p core.Peer) bool { return p.ID == caller.ID() })
		if assert.GreaterOrEqual(c, i, 0) {
			p := called.Peers()[i]
			assert.True(c, p.Relayed)
			assert.Equal(c, info.ID, p.Relay)
			assert.Positive(c, p.RTT, "it is measured without being asked")
		}
	}, 10*time.Second, 10*time.Millisecond)
}

// withoutHashes returns the addresses without their certificate hashes, so that a host can
// listen on them.
func withoutHashes(addrs []ma.Multiaddr) (out []ma.Multiaddr) {
	for _, a := range addrs {
		plain, _ := ma.SplitFunc(a, func(c ma.Component) bool { return c.Protocol().Code == ma.P_CERTHASH })
		out = append(out, plain)
	}
	return out
}

func TestMetricsGoWhereTheyAreAskedTo(t *testing.T) {
	before, err := prometheus.DefaultGatherer.Gather()
	require.NoError(t, err)
	a, b := prometheus.NewRegistry(), prometheus.NewRegistry()
	newNode(t, native.Options{Registerer: a})
	newNode(t, native.Options{Registerer: a}) // a registry may have the metrics of several nodes
	newNode(t, native.Options{Registerer: b})
	newNode(t, native.Options{})
	for _, r := range []*prometheus.Registry{a, b} {
		families, err := r.Gather()
		require.NoError(t, err)
		var names []string
		for _, f := range families {
			names = append(names, f.GetName())
		}
		assert.Contains(t, strings.Join(names, " "), "libp2p_swarm_")
	}
	after, err := prometheus.DefaultGatherer.Gather()
	require.NoError(t, err)
	assert.Len(t, after, len(before), "and nowhere else")
}

func TestOptionsThatAreRefusedLeaveNothingBehind(t *testing.T) {
	for _, o := range []native.Options{{Network: "a/b"}, {Peers: -1}, {Relays: []peer.AddrInfo{{ID: "nowhere"}}}} {
		o.DataDir = filepath.Join(t.TempDir(), "data")
		_, err := native.New(testContext(t), o)
		require.Error(t, err)
		assert.NoDirExists(t, o.DataDir)
	}
}
