package stack

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// This goroutine of a closed WebRTC stream ends at the deadline that libp2p has set.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/pion/sctp.(*Stream).SetReadDeadline.func1"))
}

var loopback = netip.MustParseAddr("127.0.0.1")

func newHost(t *testing.T, o Options) host.Host {
	t.Helper()
	if o.Key == nil {
		o.Key = newKey(t)
	}
	h, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, h.Close()) })
	return h
}

func newKey(t *testing.T) crypto.PrivKey {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	return key
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// echo is a stream handler that sends back everything it gets.
func echo(s network.Stream) {
	if _, err := io.Copy(s, s); err != nil {
		s.Reset()
		return
	}
	s.Close()
}

func TestAStockHostReachesEveryTransport(t *testing.T) {
	h := newHost(t, Options{
		Listen: ListenOn(loopback, 0, 0),
		HTTP:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") }),
	})
	h.SetStreamHandler("/echo", echo)
	transports := make(map[string]bool)
	for _, addr := range h.Addrs() {
		stock, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics())
		require.NoError(t, err)
		transports[exchange(t, stock, peer.AddrInfo{ID: h.ID(), Addrs: []ma.Multiaddr{addr}})] = true
		require.NoError(t, stock.Close())

		if port, err := addr.ValueForProtocol(ma.P_TCP); err == nil {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			resp, err := client.Get("http://127.0.0.1:" + port)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			require.NoError(t, err)
			assert.Equal(t, "page", string(body), "HTTP lives on the same port")
		}
	}
	assert.Equal(t, map[string]bool{"tcp": true, "websocket": true, "quic-v1": true, "webtransport": true, "webrtc-direct": true}, transports)
}

// exchange echoes some bytes and returns the transport that carried them.
func exchange(t *testing.T, from host.Host, to peer.AddrInfo) string {
	t.Helper()
	ctx := testContext(t)
	require.NoError(t, from.Connect(ctx, to), "%s", to.Addrs)
	s, err := from.NewStream(ctx, to.ID, "/echo")
	require.NoError(t, err)
	sent := bytes.Repeat([]byte("0123456789"), 10_000)
	go func() {
		s.Write(sent)
		s.CloseWrite()
	}()
	got, err := io.ReadAll(s)
	require.NoError(t, err, "%s", to.Addrs)
	assert.True(t, bytes.Equal(sent, got))
	return s.Conn().ConnState().Transport
}

func TestOnePeerMayHaveHundredsOfStreams(t *testing.T) {
	const streams = 1000
	a, b := newHost(t, Options{}), newHost(t, Options{Listen: ListenOn(loopback, 0, -1)})
	b.SetStreamHandler("/echo", echo)
	ctx := testContext(t)
	require.NoError(t, a.Connect(ctx, peer.AddrInfo{ID: b.ID(), Addrs: b.Addrs()}))

	open := make([]network.Stream, streams)
	var all sync.WaitGroup
	for i := range open {
		all.Go(func() {
			s, err := a.NewStream(ctx, b.ID(), "/echo")
			if !assert.NoError(t, err) {
				return
			}
			open[i] = s
			_, err = s.Write([]byte{1})
			assert.NoError(t, err)
			_, err = io.ReadFull(s, make([]byte, 1))
			assert.NoError(t, err, "stream %d", i)
		})
	}
	all.Wait() // all are open at once
	for _, s := range open {
		if s != nil {
			s.Close()
		}
	}
}

func TestEveryPortZeroBecomesOneNumber(t *testing.T) {
	listen := ListenOn(loopback, 0, 0)
	if hasIPv6() {
		listen = append(listen, ListenOn(netip.IPv6Loopback(), 0, 0)...)
	}
	h := newHost(t, Options{Listen: listen})
	ports := make(map[uint16]int)
	for _, a := range h.Network().ListenAddresses() {
		e, ok := endpointOf(a)
		require.True(t, ok || isCircuit(a), "%s", a)
		if ok {
			ports[e.at.Port()]++
		}
	}
	assert.Len(t, ports, 1, "%v", h.Network().ListenAddresses())
	for port, count := range ports {
		assert.NotZero(t, port)
		assert.Equal(t, len(listen), count)
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	taken := newHost(t, Options{Listen: ListenOn(loopback, 0, 0)})
	e, ok := endpointOf(taken.Addrs()[0])
	require.True(t, ok)
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer tcp.Close()
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer udp.Close()

	for name, c := range map[string]struct {
		listen []ma.Multiaddr
		port   int
	}{
		// libp2p's SO_REUSEPORT would let the two share it.
		"by another libp2p program": {ListenOn(loopback, int(e.at.Port()), 0), int(e.at.Port())},
		"TCP":                       {ListenOn(loopback, tcp.Addr().(*net.TCPAddr).Port, 0), tcp.Addr().(*net.TCPAddr).Port},
		"UDP":                       {ListenOn(loopback, 0, udp.LocalAddr().(*net.UDPAddr).Port), udp.LocalAddr().(*net.UDPAddr).Port},
		"all interfaces":            {ListenOn(netip.IPv4Unspecified(), tcp.Addr().(*net.TCPAddr).Port, -1), tcp.Addr().(*net.TCPAddr).Port},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Options{Key: newKey(t), Listen: c.listen})
			var inUse *InUseError
			require.ErrorAs(t, err, &inUse)
			assert.Equal(t, c.port, inUse.Port)
			assert.ErrorContains(t, err, "port "+strconv.Itoa(c.port)+" is in use")
		})
	}
}

func TestOneBadAddressAmongGoodOnesIsAnError(t *testing.T) {
	elsewhere := ma.StringCast("/ip4/203.0.113.1/tcp/0") // TEST-NET-3: no machine has it
	_, err := New(Options{Key: newKey(t), Listen: append(ListenOn(loopback, 0, 0), elsewhere)})
	require.ErrorContains(t, err, "203.0.113.1")

	_, err = New(Options{Key: newKey(t), Listen: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0/tls/ws")}})
	require.ErrorContains(t, err, "/tls/ws")

	_, err = New(Options{Key: newKey(t), Listen: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/sctp/0")}})
	require.ErrorContains(t, err, "/sctp/")

	_, err = New(Options{})
	require.ErrorContains(t, err, "identity")
}

func TestParseListen(t *testing.T) {
	const all = 5 // transports
	for in, want := range map[string]struct {
		first string
		count int
	}{
		"127.0.0.1:4001":             {"/ip4/127.0.0.1/tcp/4001", all},
		"localhost:4001":             {"/ip4/127.0.0.1/tcp/4001", all},
		"[::1]:4001":                 {"/ip6/::1/tcp/4001", all},
		"[::ffff:10.0.0.1]:1":        {"/ip4/10.0.0.1/tcp/1", all},
		"10.0.0.1:0":                 {"/ip4/10.0.0.1/tcp/0", all},
		"/ip4/10.0.0.1/tcp/4001/ws":  {"/ip4/10.0.0.1/tcp/4001/ws", 1},
		"/ip6/::/udp/4001/quic-v1":   {"/ip6/::/udp/4001/quic-v1", 1},
		"/dns4/example.org/tcp/1/ws": {"/dns4/example.org/tcp/1/ws", 1},
	} {
		got, err := ParseListen(in)
		if assert.NoError(t, err, in) {
			assert.Equal(t, want.first, got[0].String(), in)
			assert.Len(t, got, want.count, in)
		}
	}
	everywhere, err := ParseListen(":4001")
	require.NoError(t, err)
	assert.Equal(t, DefaultListen(4001, 4001), everywhere)

	for _, bad := range []string{"", "4001", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1", "example.org:80", "/nonsense", "/ip4/1.2.3/tcp/1", "::1:80"} {
		_, err := ParseListen(bad)
		assert.ErrorContains(t, err, strconv.Quote(bad))
	}
}

func TestOnePortCanBeLeftOut(t *testing.T) {
	for _, a := range ListenOn(loopback, 1, -1) {
		assert.Contains(t, a.String(), "/tcp/1")
	}
	for _, a := range ListenOn(loopback, -1, 1) {
		assert.Contains(t, a.String(), "/udp/1")
	}
}

func TestASchoolBehindOneAddressMayConnect(t *testing.T) {
	const peers = 2000
	m, err := resourceManager(peers, false, nil)
	require.NoError(t, err)
	defer m.Close()
	for _, addr := range []string{"/ip4/198.51.100.7/tcp/1", "/ip6/2001:db8::7/tcp/1"} {
		for i := range peers / 2 {
			c, err := m.OpenConnection(network.DirInbound, true, ma.StringCast(addr))
			require.NoError(t, err, "%s %d", addr, i)
			defer c.Done()
			require.NoError(t, c.SetPeer(peer.ID("peer "+addr+strconv.Itoa(i))))
		}
		for range peers/2 - 1 { // and some that have no peer ID yet
			c, err := m.OpenConnection(network.DirInbound, true, ma.StringCast(addr))
			if err != nil {
				break
			}
			defer c.Done()
		}
		_, err = m.OpenConnection(network.DirInbound, true, ma.StringCast(addr))
		require.Error(t, err, "but it may not take all")
	}
}

func TestNumbersOfPeersThatNoMachineHasRoomForAreRefused(t *testing.T) {
	for _, n := range []int{-1, math.MinInt, MaxPeers + 1, math.MaxInt} {
		_, err := New(Options{Key: newKey(t), Peers: n})
		require.ErrorContains(t, err, "peers")
	}
	newHost(t, Options{Peers: MaxPeers})
}
