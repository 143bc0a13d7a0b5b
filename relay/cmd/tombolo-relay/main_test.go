package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/command/commandtest"
	"github.com/tombolo-net/tombolo/native/socket/sockettest"
)

var binary string

func TestMain(m *testing.M) {
	path, remove, err := commandtest.Build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = path
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		remove()
		os.Exit(code)
	}))
}

// running is a relay program that is ready.
type running struct {
	*commandtest.Process
	listening []string
	page      string
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	p := commandtest.Start(t, nil, binary, append(args, "--no-map-ports")...)
	r := &running{Process: p, page: strings.TrimSuffix(p.Line("page "), "/")}
	for _, l := range p.Lines() {
		if a, ok := strings.CutPrefix(l, "listening "); ok {
			r.listening = append(r.listening, a)
		}
	}
	return r
}

// startLocal starts a relay on any port of 127.0.0.1, which is enough for most tests.
func startLocal(t *testing.T, args ...string) *running {
	t.Helper()
	return start(t, append(args, "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0")...)
}

// at returns the loopback address that contains the given text.
func (r *running) at(t *testing.T, with string) string {
	t.Helper()
	for _, a := range r.listening {
		if strings.HasPrefix(a, "/ip4/127.0.0.1/") && strings.Contains(a, with) {
			return a
		}
	}
	t.Fatalf("no address with %q", with)
	return ""
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newNode(t *testing.T, o native.Options) *core.Node {
	t.Helper()
	o.Listen, o.NoMDNS = []ma.Multiaddr{}, true
	n, err := native.New(testContext(t), o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	return n
}

func parse(t *testing.T, addr string) peer.AddrInfo {
	t.Helper()
	info, err := core.ParsePeer(addr)
	require.NoError(t, err)
	return info
}

func httpClient(t *testing.T) *http.Client {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestOnePortIsEverything(t *testing.T) {
	r := start(t, "--data-dir", t.TempDir(), "--port", "0")
	port, ok := strings.CutPrefix(r.page, "http://localhost:")
	require.True(t, ok, r.page)
	for _, a := range r.listening {
		m := ma.StringCast(a)
		tcp, _ := m.ValueForProtocol(ma.P_TCP)
		udp, _ := m.ValueForProtocol(ma.P_UDP)
		assert.Equal(t, port, tcp+udp, a)
		assert.False(t, manet.IsIPUnspecified(m), "%s is no address to dial", a)
	}
	for _, ending := range []string{"/tcp/" + port, "/tcp/" + port + "/ws", "/udp/" + port + "/quic-v1"} {
		assert.True(t, slices.ContainsFunc(r.listening, func(a string) bool {
			return strings.HasPrefix(a, "/ip4/127.0.0.1"+ending+"/p2p/")
		}), ending)
	}
	assert.Contains(t, r.at(t, "/webtransport"), "/certhash/")
	assert.Contains(t, r.at(t, "/webrtc-direct"), "/certhash/")
}

func TestAStockPeerGetsThroughOnEveryTransport(t *testing.T) {
	r := startLocal(t)
	for with, transport := range map[string]string{
		"/tcp/": "tcp", "/ws/": "websocket", "/quic-v1/p2p": "quic-v1", "/webtransport/": "webtransport", "/webrtc-direct/": "webrtc-direct",
	} {
		t.Run(transport, func(t *testing.T) {
			info := parse(t, r.at(t, with))
			h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.EnableRelay(), libp2p.DisableMetrics())
			require.NoError(t, err)
			defer h.Close()
			ctx := testContext(t)
			require.NoError(t, h.Connect(ctx, info))
			conns := h.Network().ConnsToPeer(info.ID)
			require.Len(t, conns, 1)
			assert.Equal(t, transport, conns[0].ConnState().Transport)
			pinging, stop := context.WithCancel(ctx)
			defer stop()
			require.NoError(t, (<-ping.Ping(pinging, h, info.ID)).Error)

			reserved, err := client.Reserve(ctx, h, info)
			require.NoError(t, err)
			assert.Len(t, reserved.Addrs, 5)
			for _, a := range reserved.Addrs {
				assert.True(t, manet.IsIPLoopback(a), "private addresses are in the reservation: %s", a)
			}
			assert.Zero(t, reserved.LimitData)
			assert.Zero(t, reserved.LimitDuration)
			assert.Greater(t, time.Until(reserved.Expiration), 50*time.Minute)
		})
	}
}

func TestThePageAndThePeersShareThePortAtOnce(t *testing.T) {
	r := startLocal(t, "--network", "mesh")
	// Hold a connection of each kind open, then use them all.
	tcp, ws := newNode(t, native.Options{}), newNode(t, native.Options{})
	ctx := testContext(t)
	id, err := tcp.Connect(ctx, r.at(t, "/tcp/"))
	require.NoError(t, err)
	_, err = ws.Connect(ctx, r.at(t, "/ws/"))
	require.NoError(t, err)
	http := httpClient(t)
	for path, want := range map[string]string{"/healthz": "ok\n", "/.well-known/tombolo": `"network":"mesh"`} {
		resp, err := http.Get(r.page + path)
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		require.NoError(t, err)
		assert.Equal(t, 200, resp.StatusCode)
		assert.Contains(t, string(b), want)
	}
	resp, err := http.Get(r.page + "/")
	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	require.NoError(t, err)
	if resp.StatusCode == 404 { // a program that was built with go build alone has no page
		assert.Contains(t, string(b), "no page")
	} else {
		assert.Contains(t, resp.Header.Get("Content-Type"), "text/html")
	}
	for _, n := range []*core.Node{tcp, ws} {
		_, err := n.Echo(ctx, id, []byte("hello"))
		require.NoError(t, err)
	}
}

func TestWhereTheRelayIsDependsOnWhoAsks(t *testing.T) {
	r := startLocal(t)
	ask := func(host, proto string) []string {
		req, err := http.NewRequest(http.MethodGet, r.page+"/.well-known/tombolo", nil)
		require.NoError(t, err)
		req.Host = host
		if proto != "" {
			req.Header.Set("X-Forwarded-Proto", proto)
		}
		resp, err := httpClient(t).Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
		assert.Equal(t, "*", resp.Header.Get("Access-Control-Allow-Origin"))
		assert.Equal(t, "application/json", resp.Header.Get("Content-Type"))
		var self struct{ Addrs []string }
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&self))
		return self.Addrs
	}
	assert.ElementsMatch(t, r.listening, ask("localhost:1", ""))
	proxied := ask("relay.example", "https")
	assert.Len(t, proxied, 6)
	assert.True(t, strings.HasPrefix(proxied[1], "/dns/relay.example/tcp/443/tls/ws/p2p/"), proxied[1])
}

func TestATakenPortIsSaidInOneLine(t *testing.T) {
	port := strings.TrimPrefix(start(t, "--data-dir", t.TempDir(), "--port", "0").page, "http://localhost:")
	p := commandtest.Start(t, nil, binary, "--data-dir", t.TempDir(), "--port", port)
	code, stderr := p.Wait()
	assert.Equal(t, 1, code)
	assert.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
	assert.Contains(t, stderr, "port "+port+" is in use")
	assert.Contains(t, stderr, "--port")
	assert.Empty(t, p.Lines())

	udp, err := net.ListenPacket("udp4", "0.0.0.0:0")
	require.NoError(t, err)
	defer udp.Close()
	port = strconv.Itoa(udp.LocalAddr().(*net.UDPAddr).Port)
	code, stderr = commandtest.Start(t, nil, binary, "--data-dir", t.TempDir(), "--port", port).Wait()
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "port "+port+" is in use")
}

func TestADataDirectoryIsForOneRelay(t *testing.T) {
	dir := t.TempDir()
	first := start(t, "--data-dir", dir, "--listen", "127.0.0.1:0")
	code, stderr := commandtest.Start(t, nil, binary, "--data-dir", dir, "--port", "0").Wait()
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, dir)
	assert.Contains(t, stderr, "process "+strconv.Itoa(first.PID()))
}

func TestARelayThatComesBackIsTheSame(t *testing.T) {
	dir, at := filepath.Join(t.TempDir(), "data"), sockettest.Nobody(t)
	r := start(t, "--data-dir", dir, "--listen", at)
	first := r.listening
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGINT} {
		r.Signal(end)
		code, _ := r.Wait()
		if end != syscall.SIGKILL {
			assert.Equal(t, 0, code)
		}
		r = start(t, "--data-dir", dir, "--listen", at)
		assert.ElementsMatch(t, first, r.listening, "the ID, the port and the certificates stay the same")
	}
}

func TestItsPeersComeBackToIt(t *testing.T) {
	t.Parallel()
	// Over TCP, because the end of a killed process is noticed at once; with QUIC, it
	// takes up to the idle timeout of 30 s.
	dir, at := t.TempDir(), "/ip4/127.0.0.1/tcp/"+sockettest.Port(t)+"/ws"
	r := start(t, "--data-dir", dir, "--listen", at)
	id := parse(t, r.listening[0]).ID
	n := newNode(t, native.Options{Relays: []peer.AddrInfo{parse(t, r.listening[0])}})
	news := n.Events()
	defer news.Close()
	await := func(want core.EventType) {
		for {
			ev, err := news.Next(testContext(t))
			require.NoError(t, err, "%s", want)
			if ev.Type == want {
				assert.Equal(t, id, ev.Peer)
				return
			}
		}
	}
	await(core.ReservationMade)
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		r.Signal(end)
		await(core.ReservationLost)
		r.Wait()
		r = start(t, "--data-dir", dir, "--listen", at)
		await(core.ReservationMade)
	}
}

func TestItEndsInTimeWhateverIsOpen(t *testing.T) {
	r := startLocal(t)
	info := parse(t, r.at(t, "/ws/"))
	called := newNode(t, native.Options{Relays: []peer.AddrInfo{info}})
	require.Eventually(t, func() bool { return len(called.Reservations()) == 1 }, 30*time.Second, 5*time.Millisecond)
	caller := newNode(t, native.Options{})
	ctx := testContext(t)
	_, err := caller.Connect(ctx, r.at(t, "/webtransport/")+"/p2p-circuit/p2p/"+called.ID().String())
	require.NoError(t, err)

	// A circuit full of bytes that nobody reads, and one that is idle.
	_, err = called.Handle("/stall", func(s network.Stream) { <-called.Closed(); s.Reset() })
	require.NoError(t, err)
	stalled, err := caller.Open(ctx, called.ID(), "/stall")
	require.NoError(t, err)
	full := make(chan error, 1)
	go func() {
		_, err := io.Copy(stalled, endless{})
		full <- err
	}()
	idle, err := caller.Open(ctx, called.ID(), core.EchoProtocol)
	require.NoError(t, err)
	_, err = io.WriteString(idle, "x")
	require.NoError(t, err)
	_, err = io.ReadFull(idle, make([]byte, 1))
	require.NoError(t, err)

	// An HTTP client that keeps its connection, one in the middle of a request, and one
	// that never sent anything.
	resp, err := httpClient(t).Get(r.page + "/healthz")
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	for _, say := range []string{"GET / HTTP/1.1\r\nHost: x\r\n", ""} {
		c, err := net.Dial("tcp", strings.Replace(strings.TrimPrefix(r.page, "http://"), "localhost", "127.0.0.1", 1))
		require.NoError(t, err)
		defer c.Close()
		_, err = io.WriteString(c, say)
		require.NoError(t, err)
	}

	assert.Equal(t, 0, r.Stop())
	require.Error(t, <-full)
	_, err = bufio.NewReader(idle).ReadByte()
	require.Error(t, err, "both ends of a circuit notice the end")
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestTheRateOfAPeerIsAFlag(t *testing.T) {
	t.Parallel()
	const rate = 1 << 20
	r := startLocal(t, "--peer-rate", strconv.Itoa(rate))
	called := newNode(t, native.Options{Relays: []peer.AddrInfo{parse(t, r.at(t, "/tcp/"))}})
	require.Eventually(t, func() bool { return len(called.Reservations()) == 1 }, 30*time.Second, 5*time.Millisecond)
	caller := newNode(t, native.Options{})
	ctx := testContext(t)
	_, err := caller.Connect(ctx, called.Addrs()[0].String())
	require.NoError(t, err)
	began := time.Now()
	_, err = caller.Echo(ctx, called.ID(), make([]byte, 3*rate))
	require.NoError(t, err)
	assert.Greater(t, time.Since(began), 2*time.Second)
}

func TestAnOperatorSeesAndSteersARelayThatRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, "--data-dir", dir, "--listen", "127.0.0.1:0")
	n := newNode(t, native.Options{Relays: []peer.AddrInfo{parse(t, r.at(t, "/tcp/"))}})
	require.Eventually(t, func() bool { return len(n.Reservations()) == 1 }, 30*time.Second, 5*time.Millisecond)
	news := n.Events()
	defer news.Close()
	await := func(want core.EventType) {
		for {
			ev, err := news.Next(testContext(t))
			require.NoError(t, err)
			if ev.Type == want {
				return
			}
		}
	}
	run := func(args ...string) (lines []string) {
		p := commandtest.Start(t, nil, binary, append(args, "--data-dir", dir)...)
		code, stderr := p.Wait()
		require.Zero(t, code, stderr)
		return p.Lines()
	}
	for _, list := range []string{"peers", "top"} {
		assert.Contains(t, strings.Join(run(list), "\n"), n.ID().String())
	}
	assert.Contains(t, strings.Join(run("peers", "--json"), "\n"), `"reserved": true`)
	assert.Regexp(t, `(?m)^peers +8192 +1 +0 +--peers$`, strings.Join(run("limits"), "\n"))
	run("kick", n.ID().String())
	await(core.ReservationLost)
	await(core.ReservationMade)
	run("ban", n.ID().String())
	await(core.ReservationLost)
	assert.Contains(t, run("rules"), "ban "+n.ID().String())
	await(core.ReservationFailed)
	run("unban", n.ID().String())
	await(core.ReservationMade)
	run("reload")

	for _, bad := range [][]string{{"ban", "nobody"}, {"unban", "192.0.2.1"}, {"kick", n.ID().String() + "x"}} {
		code, stderr := commandtest.Start(t, nil, binary, append(bad, "--data-dir", dir)...).Wait()
		assert.Equal(t, 1, code)
		assert.Contains(t, stderr, strings.TrimSuffix(bad[1], "x"))
	}
	info, err := os.Stat(filepath.Join(dir, "admin.sock"))
	require.NoError(t, err)
	assert.Zero(t, info.Mode().Perm()&0o077, "only its owner may use it")
	socket := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "admin.sock"))
	}}
	defer socket.CloseIdleConnections()
	status := func(client *http.Client, at string) int {
		resp, err := client.Get(at)
		require.NoError(t, err)
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		return resp.StatusCode
	}
	assert.Equal(t, 200, status(&http.Client{Transport: socket}, "http://relay/debug/pprof/heap"))
	assert.NotEqual(t, 200, status(httpClient(t), r.page+"/debug/pprof/heap"), "profiles are for the operator alone")
}

func TestAnOperatorBringsAPage(t *testing.T) {
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "index.html"), []byte("<p>ours"), 0o600))
	r := startLocal(t, "--page", dir, "--docs", dir)
	at := func(r *running, path string) (int, string) {
		resp, err := httpClient(t).Get(r.page + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(b)
	}
	for _, path := range []string{"/", "/docs/"} {
		code, body := at(r, path)
		assert.Equal(t, 200, code)
		assert.Equal(t, "<p>ours", body)
	}
	code, _ := at(r, "/healthz")
	assert.Equal(t, 200, code)

	require.NoError(t, os.Symlink(secret, filepath.Join(dir, "key")))
	code, stderr := commandtest.Start(t, nil, binary, "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--page", dir).Wait()
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "key", "a link that leads out of the folder is named")

	p := commandtest.Start(t, nil, binary, "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--no-page", "--metrics", "127.0.0.1:0", "--no-map-ports")
	p.Line("metrics ") // the last line
	lines := strings.Join(p.Lines(), "\n")
	assert.NotContains(t, lines, "page ")
	host, err := ma.NewMultiaddr(regexp.MustCompile(`(?m)^listening (/ip4/127.0.0.1/tcp/\d+)/ws`).FindStringSubmatch(lines)[1])
	require.NoError(t, err)
	_, hostport, err := manet.DialArgs(host)
	require.NoError(t, err)
	code, body := at(&running{page: "http://" + hostport}, "/")
	assert.Equal(t, 404, code)
	assert.Contains(t, body, "no page")
}

func TestARelayThatNobodyReachesAsksForNoCertificate(t *testing.T) {
	args := []string{"--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--no-map-ports", "--auto-tls"}
	p := commandtest.Start(t, nil, binary, args...)
	resp, err := httpClient(t).Get(p.Line("page ") + "readyz")
	require.NoError(t, err)
	defer resp.Body.Close()
	why, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	assert.Contains(t, string(why), "tls: none of the relay's addresses is a public IP address")
	p.Signal(os.Interrupt)
	_, stderr := p.Wait()
	assert.Equal(t, 1, strings.Count(stderr, "no certificate is asked for yet: none"), stderr)

	code, stderr := commandtest.Start(t, nil, binary, append(args, "--domain", "relay.example")...).Wait()
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "give either AutoTLS, or domains, or files of a certificate")
	assert.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
}

func TestFlagsAndVariables(t *testing.T) {
	for _, args := range [][]string{{"--port", "70000"}, {"--port", "http"}, {"--listen", "here"}, {"--announce", "there"}, {"--nonsense"}, {"more"}, {"--peers=-1"}, {"--peer-rate=-1"}, {"--peer", "127.0.0.1:1"}, {"--peer", "/ip4/127.0.0.1/tcp/1"}, {"--metrics", "nowhere"}, {"--admission", "ftp://relay.example"}, {"--admission", "https://"}, {"--page", "/nowhere"}, {"--page", ".", "--no-page"}} {
		dir := filepath.Join(t.TempDir(), "never-made")
		code, stderr := commandtest.Start(t, nil, binary, append(args, "--data-dir", dir)...).Wait()
		assert.Equal(t, 2, code, "%v: %s", args, stderr)
		assert.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
		assert.Contains(t, stderr, "--help")
		assert.NoDirExists(t, dir)
	}
	p := commandtest.Start(t, []string{
		"TOMBOLO_RELAY_DATA_DIR=" + t.TempDir(), "TOMBOLO_RELAY_LISTEN=127.0.0.1:0", "TOMBOLO_RELAY_MAP_PORTS=false",
		"TOMBOLO_RELAY_ANNOUNCE=/dns4/relay.example/tcp/443/tls/ws", "TOMBOLO_RELAY_METRICS=127.0.0.1:0",
	}, binary)
	p.Line("listening /dns4/relay.example/tcp/443/tls/ws/p2p/")
	resp, err := httpClient(t).Get(p.Line("metrics "))
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, 200, resp.StatusCode)

	version := commandtest.Start(t, nil, binary, "--version")
	assert.Contains(t, version.Line("tombolo-relay "), "go1.")
	code, _ := version.Wait()
	assert.Equal(t, 0, code)
}
