package relay_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
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

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// certmagic keeps one goroutine for each authority and account, and one for five seconds after a file was locked.
		goleak.IgnoreTopFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).permit"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),
	)
}

func local() []ma.Multiaddr { return stack.ListenOn(netip.MustParseAddr("127.0.0.1"), 0, 0) }

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

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

// newReserved makes a node that is reachable only through the relay, and waits for its
// reservation.
func newReserved(t *testing.T, r *relay.Relay) *core.Node {
	t.Helper()
	n := newNode(t, native.Options{Relays: []peer.AddrInfo{{ID: r.Node().ID(), Addrs: r.Node().Host().Addrs()}}})
	require.Eventually(t, func() bool { return len(n.Reservations()) == 1 }, 30*time.Second, 5*time.Millisecond)
	return n
}

func newNode(t *testing.T, o native.Options) *core.Node {
	t.Helper()
	o.Listen, o.NoMDNS = []ma.Multiaddr{}, true
	n, err := native.New(testContext(t), o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	return n
}

// newPair makes two nodes connected through the relay.
func newPair(t *testing.T, r *relay.Relay) (caller, called *core.Node) {
	t.Helper()
	called = newReserved(t, r)
	caller = newNode(t, native.Options{})
	_, err := caller.Connect(testContext(t), called.Addrs()[0].String())
	require.NoError(t, err)
	return caller, called
}

// client returns an HTTP client whose idle connections are closed at the end of the test.
func client(t *testing.T) *http.Client {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

const sink = "/test/sink"

// handleSink answers each stream with the SHA-256 of its data.
func handleSink(t *testing.T, n *core.Node) {
	_, err := n.Handle(sink, func(s network.Stream) {
		defer s.Close()
		h := sha256.New()
		if _, err := io.Copy(h, s); err != nil {
			s.Reset()
			return
		}
		s.Write(h.Sum(nil))
	})
	require.NoError(t, err)
}

// push sends n random bytes to the sink of a peer and checks that they arrived.
func push(t *testing.T, from *core.Node, to peer.ID, n int64) time.Duration {
	t.Helper()
	s, err := from.Open(testContext(t), to, sink)
	require.NoError(t, err)
	defer s.Close()
	start := time.Now()
	h := sha256.New()
	_, err = io.CopyN(io.MultiWriter(s, h), rand.Reader, n)
	require.NoError(t, err)
	require.NoError(t, s.CloseWrite())
	got, err := io.ReadAll(s)
	require.NoError(t, err)
	assert.Equal(t, h.Sum(nil), got)
	return time.Since(start)
}

func TestACircuitCarriesMoreThanItIsGivenElsewhere(t *testing.T) {
	t.Parallel()
	const size = 64 << 20 // the usual limit is 128 KiB each way
	caller, called := newPair(t, newRelay(t, relay.Options{}))
	handleSink(t, caller)
	handleSink(t, called)
	push(t, caller, called.ID(), size)
	push(t, called, caller.ID(), size)
	// The test need not wait for the usual deadline of two minutes: a relay that sets one
	// announces it to both sides.
	for _, c := range append(caller.Host().Network().ConnsToPeer(called.ID()), called.Host().Network().ConnsToPeer(caller.ID())...) {
		assert.False(t, c.Stat().Limited)
	}
}

func TestAPeersRateIsKept(t *testing.T) {
	t.Parallel()
	const rate = 1 << 20
	caller, called := newPair(t, newRelay(t, relay.Options{Limits: relay.Limits{PeerRate: rate}}))
	handleSink(t, called)
	assert.Greater(t, push(t, caller, called.ID(), 4*rate), 3*time.Second)

	// Data for a quarter of an hour waits for the rate, but does not delay Close.
	s, err := caller.Open(testContext(t), called.ID(), sink)
	require.NoError(t, err)
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(s, rand.Reader, 1024*rate)
		sent <- err
	}()
	require.NoError(t, caller.Close())
	require.Error(t, <-sent)
}

func TestAHundredStreamsThroughOneCircuitAndToTheRelayItself(t *testing.T) {
	r := newRelay(t, relay.Options{})
	caller, called := newPair(t, r)
	for _, to := range []peer.ID{called.ID(), r.Node().ID()} {
		manyStreams(t, caller, to, 100)
		manyStreams(t, caller, to, 500)
	}
}

// manyStreams opens count echo streams at once.
func manyStreams(t *testing.T, from *core.Node, to peer.ID, count int) {
	t.Helper()
	ctx := testContext(t)
	streams := make([]network.Stream, count)
	var all sync.WaitGroup
	for i := range streams {
		all.Go(func() {
			s, err := from.Open(ctx, to, core.EchoProtocol)
			if !assert.NoError(t, err) {
				return
			}
			streams[i] = s
			said := fmt.Sprintf("stream %06d", i)
			_, err = io.WriteString(s, said)
			assert.NoError(t, err)
			heard := make([]byte, len(said))
			_, err = io.ReadFull(s, heard)
			assert.NoError(t, err)
			assert.Equal(t, said, string(heard))
		})
	}
	all.Wait()
	for _, s := range streams {
		if s != nil {
			s.Close()
		}
	}
}

func TestManyPeersOfOneAddressAreServed(t *testing.T) {
	t.Parallel()
	const peers = 40 // the usual limit is 8 reservations per address
	r := newRelay(t, relay.Options{})
	nodes := make([]*core.Node, peers)
	for i := range nodes {
		nodes[i] = newNode(t, native.Options{Relays: []peer.AddrInfo{{ID: r.Node().ID(), Addrs: r.Node().Host().Addrs()}}})
	}
	require.Eventually(t, func() bool {
		for _, n := range nodes {
			if len(n.Reservations()) == 0 {
				return false
			}
		}
		return true
	}, time.Minute, 10*time.Millisecond)
	// All of them connect to one: the usual limit is 16 circuits per peer.
	var all sync.WaitGroup
	atOnce := make(chan struct{}, 4) // a dial may take five seconds at most, and a busy machine can make only a few in that time
	for _, n := range nodes[1:] {
		all.Go(func() {
			atOnce <- struct{}{}
			_, err := n.Connect(testContext(t), nodes[0].Addrs()[0].String())
			<-atOnce
			assert.NoError(t, err)
			_, err = n.Echo(testContext(t), nodes[0].ID(), []byte("hello"))
			assert.NoError(t, err)
		})
	}
	all.Wait()
}

func TestReservationsTellPrivateAddresses(t *testing.T) {
	n := newReserved(t, newRelay(t, relay.Options{}))
	addrs := n.Reservations()[0].Addrs
	assert.Len(t, addrs, 5, "one for each transport")
	for _, a := range addrs {
		assert.True(t, manet.IsIPLoopback(a), "%s", a)
	}
}

func TestTheLimitsAreKept(t *testing.T) {
	r := newRelay(t, relay.Options{Limits: relay.Limits{Peers: 2, CircuitsPerPeer: 1}}) // one reservation per address
	caller, called := newPair(t, r)
	late := newNode(t, native.Options{Relays: []peer.AddrInfo{{ID: r.Node().ID(), Addrs: r.Node().Host().Addrs()}}})
	ctx := testContext(t)
	_, err := late.Connect(ctx, called.Addrs()[0].String())
	require.ErrorContains(t, err, "RESOURCE_LIMIT_EXCEEDED", "there is one circuit already")
	assert.Empty(t, late.Reservations())
	_, err = caller.Echo(ctx, called.ID(), []byte("still there"))
	require.NoError(t, err)
}

func TestTheRelayIsAPeerToo(t *testing.T) {
	r := newRelay(t, relay.Options{Network: "mesh"})
	n := newNode(t, native.Options{})
	ctx := testContext(t)
	id, err := n.Connect(ctx, r.Node().Addrs()[0].String())
	require.NoError(t, err)
	got, err := n.Echo(ctx, id, []byte("hello"))
	require.NoError(t, err)
	assert.Equal(t, "hello", string(got))
	rtt, err := n.Ping(ctx, id)
	require.NoError(t, err)
	assert.Positive(t, rtt)
	assert.Equal(t, "mesh", r.Node().Network())
}

func TestOnePortServesThePageAndThePeers(t *testing.T) {
	r := newRelay(t, relay.Options{Network: "mesh", Site: fstest.MapFS{"index.html": {Data: []byte("the page")}}})
	http := client(t)
	fetch := func(path string) (*bytes.Buffer, string, int) {
		resp, err := http.Get(r.PageURL() + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		var b bytes.Buffer
		_, err = b.ReadFrom(resp.Body)
		require.NoError(t, err)
		return &b, resp.Header.Get("Access-Control-Allow-Origin"), resp.StatusCode
	}
	body, _, _ := fetch("")
	assert.Equal(t, "the page", body.String())
	body, _, status := fetch("healthz")
	assert.Equal(t, 200, status)
	assert.Equal(t, "ok\n", body.String())

	body, origin, _ := fetch(".well-known/tombolo")
	assert.Equal(t, "*", origin)
	var self struct {
		PeerID  string   `json:"peerId"`
		Network string   `json:"network"`
		Addrs   []string `json:"addrs"`
	}
	require.NoError(t, json.Unmarshal(body.Bytes(), &self))
	assert.Equal(t, r.Node().ID().String(), self.PeerID)
	assert.Equal(t, "mesh", self.Network)
	require.Len(t, self.Addrs, 5)
	assert.Contains(t, self.Addrs[0], "/webtransport/certhash/")
	assert.Contains(t, self.Addrs[1], "/ws/p2p/")
	ctx := testContext(t)
	for _, a := range self.Addrs {
		n := newNode(t, native.Options{})
		_, err := n.Connect(ctx, a)
		require.NoError(t, err, a)
	}
}

func TestHealthIsDeniedOnceItCloses(t *testing.T) {
	r := newRelay(t, relay.Options{})
	url := r.PageURL()
	require.NoError(t, r.Close())
	_, err := client(t).Get(url + "healthz")
	require.Error(t, err, "nobody listens any more")
	require.NoError(t, r.Close(), "closing twice")
}

func TestARelayKeepsItsIdentityAndItsDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := newRelay(t, relay.Options{DataDir: dir})
	id := r.Node().ID()
	_, err := relay.New(testContext(t), relay.Options{DataDir: dir, Listen: local()})
	require.ErrorIs(t, err, datadir.ErrInUse)
	require.NoError(t, r.Close())
	assert.Equal(t, id, newRelay(t, relay.Options{DataDir: dir}).Node().ID())
}

func TestAStartThatFailsLeavesNothingBehind(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	_, err = relay.New(t.Context(), relay.Options{DataDir: dir, Listen: stack.ListenOn(netip.MustParseAddr("127.0.0.1"), port, port)})
	var inUse *stack.InUseError
	require.ErrorAs(t, err, &inUse)
	assert.Equal(t, port, inUse.Port)
	_, err = relay.New(cancelled, relay.Options{DataDir: dir, Listen: local()})
	require.ErrorIs(t, err, context.Canceled)
	_, err = relay.New(t.Context(), relay.Options{DataDir: dir, Listen: local(), MetricsListen: taken.Addr().String()})
	require.ErrorContains(t, err, "metrics: listen on "+taken.Addr().String())
	_, err = relay.New(t.Context(), relay.Options{DataDir: dir, Listen: local(), Limits: relay.Limits{Peers: -1}})
	require.ErrorContains(t, err, "limits: neither peers (-1)")

	d, err := datadir.Open(dir)
	require.NoError(t, err, "the directory is free again")
	require.NoError(t, d.Close())
}

func TestMetricsAreServedApart(t *testing.T) {
	registry := prometheus.NewRegistry()
	r := newRelay(t, relay.Options{MetricsListen: "127.0.0.1:0", Registry: registry})
	caller, called := newPair(t, r)
	_, err := caller.Echo(testContext(t), called.ID(), []byte("hello"))
	require.NoError(t, err)

	http := client(t)
	resp, err := http.Get(r.MetricsURL())
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	for _, name := range []string{"libp2p_relaysvc_data_transferred_bytes_total", "libp2p_relaysvc_reservations_total", "libp2p_swarm_", "libp2p_rcmgr_", "go_goroutines", "process_open_fds"} {
		assert.Contains(t, string(b), "\n"+name)
	}
	resp, err = http.Get(r.PageURL() + "metrics")
	require.NoError(t, err)
	resp.Body.Close()
	assert.NotEqual(t, 200, resp.StatusCode, "metrics are not public")
}

func TestAnIdentityCanBeGiven(t *testing.T) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	id, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	assert.Equal(t, id, newRelay(t, relay.Options{Identity: key}).Node().ID())
}

func TestWhoSendsHeadersTooSlowlyIsCutOff(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	r := newRelay(t, relay.Options{})
	c, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(r.PageURL(), "http://"), "/"))
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err == nil { // net/http answers before it closes the connection
		assert.Equal(t, http.StatusRequestTimeout, resp.StatusCode)
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	var timeout net.Error
	assert.False(t, err != nil && errors.As(err, &timeout) && timeout.Timeout(), "the relay closed the connection, not the test")
}

func TestOptionsThatAreRefusedLeaveNothingBehind(t *testing.T) {
	for _, o := range []relay.Options{{Network: "a/b"}, {Limits: relay.Limits{Peers: math.MaxInt}}, {Limits: relay.Limits{Topics: -1}}, {Peers: []peer.AddrInfo{{ID: "nowhere"}}}} {
		o.DataDir = filepath.Join(t.TempDir(), "data")
		_, err := relay.New(testContext(t), o)
		require.Error(t, err)
		assert.NoDirExists(t, o.DataDir)
	}
}
