//go:build unix

package main

import (
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/reservation"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/command"
	"github.com/tombolo-net/tombolo/native/command/commandtest"
)

func TestARelayOutlivesTheReaderOfItsOutput(t *testing.T) {
	for _, end := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		dir := t.TempDir()
		p := commandtest.Start(t, nil, "/bin/sh", "-c", `exec "$@" 2>&1`, "sh",
			binary, "--data-dir", dir, "--listen", "127.0.0.1:0", "--no-map-ports", "--log-level", "debug")
		addr := p.Line("listening /ip4/127.0.0.1/tcp/")
		page := strings.TrimSuffix(p.Line("page "), "/")
		p.StopReading()
		n, err := native.New(t.Context(), native.Options{Listen: []ma.Multiaddr{}, NoMDNS: true})
		require.NoError(t, err)
		for range 3 { // the relay logs each, although nobody reads the log
			_, err = n.Connect(t.Context(), "/ip4/127.0.0.1/tcp/"+addr)
			require.NoError(t, err)
			resp, err := httpClient(t).Get(page + "/healthz")
			require.NoError(t, err)
			resp.Body.Close()
			assert.Equal(t, 200, resp.StatusCode)
			id, err := core.ParsePeer("/ip4/127.0.0.1/tcp/" + addr)
			require.NoError(t, err)
			require.NoError(t, n.Disconnect(id.ID))
		}
		require.NoError(t, n.Close())
		p.Signal(end)
		code, _ := p.Wait()
		assert.Equal(t, 0, code, "%s", end)
		lock, err := os.ReadFile(filepath.Join(dir, "lock"))
		require.NoError(t, err)
		assert.Empty(t, lock, "everything was closed")
	}
}

func TestRunningOutOfFilesIsNotTheEnd(t *testing.T) {
	t.Parallel()
	// libp2p closes a listener for good when accept fails, which it does if the process
	// has too many open files.
	p := commandtest.Start(t, nil, "/bin/sh", "-c", `ulimit -n 64 && exec "$@"`, "sh",
		binary, "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--no-map-ports")
	page := strings.TrimSuffix(p.Line("page "), "/")
	addr := strings.Replace(strings.TrimPrefix(page, "http://"), "localhost", "127.0.0.1", 1)
	var held []net.Conn
	for range 200 {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		held = append(held, c)
	}
	// The last ones are refused: a read ends although nothing was sent.
	last := held[len(held)-1]
	require.NoError(t, last.SetReadDeadline(time.Now().Add(30*time.Second)))
	_, err := last.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection is left open")
	for _, c := range held {
		c.Close()
	}
	http := httpClient(t)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		resp, err := http.Get(page + "/healthz")
		if assert.NoError(c, err) {
			resp.Body.Close()
			assert.Equal(c, 200, resp.StatusCode)
		}
	}, 30*time.Second, 50*time.Millisecond)
	code := p.Stop()
	assert.Zero(t, code)
}

func TestARelayThatIsToEndLetsItsPeersMoveAndASecondSignalEndsItAtOnce(t *testing.T) {
	dir := t.TempDir()
	next := startLocal(t)
	for _, again := range []bool{true, false} {
		r := start(t, "--data-dir", dir, "--listen", "127.0.0.1:0")
		left := parse(t, r.at(t, "/tcp/"))
		called := newNode(t, native.Options{Relays: []peer.AddrInfo{left}})
		require.Eventually(t, func() bool { return len(called.Reservations()) == 1 }, 30*time.Second, 5*time.Millisecond)
		caller := newNode(t, native.Options{})
		_, err := caller.Connect(testContext(t), called.Addrs()[0].String())
		require.NoError(t, err)
		require.NoError(t, called.AddRelays([]peer.AddrInfo{parse(t, next.at(t, "/tcp/"))}))
		news := called.Events()
		defer news.Close()
		if again {
			r.Signal(syscall.SIGTERM)
		} else {
			code, stderr := commandtest.Start(t, nil, binary, "drain", "--data-dir", dir).Wait()
			require.Zero(t, code, stderr)
		}
		for {
			ev, err := news.Next(testContext(t))
			require.NoError(t, err)
			if ev.Type == core.ReservationLost {
				require.ErrorIs(t, ev.Err, reservation.ErrMoved)
				break
			}
		}
		require.Len(t, called.Reservations(), 1)
		_, err = caller.Echo(testContext(t), called.ID(), []byte("x"))
		require.NoError(t, err, "the circuit stays open")
		if again {
			r.Signal(syscall.SIGTERM)
		} else {
			require.NoError(t, caller.Close())
		}
		code, stderr := r.Wait()
		assert.Zero(t, code, stderr)
	}
}

func TestAConfigurationIsReadAnewOrRefusedWithItsLine(t *testing.T) {
	hup := make(chan os.Signal, 1) // under nohup, SIGHUP is ignored, and the programs started here would ignore it, too
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	dir := t.TempDir()
	configure := func(content string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, command.ConfigName), []byte(content), 0o600))
	}
	configure("\npeers = 100\ncircuits-per-peer = 7\nlog-level = \"info\"\n")
	r := start(t, "--data-dir", dir, "--listen", "127.0.0.1:0")
	run := func(verb string) (code int, said string) {
		p := commandtest.Start(t, nil, binary, verb, "--data-dir", dir)
		code, stderr := p.Wait()
		return code, stderr + strings.Join(p.Lines(), "\n")
	}
	limits := func() string {
		_, said := run("limits")
		return said
	}
	assert.Regexp(t, "(?m)^peers +100 ", limits())
	for content, want := range map[string]string{
		"peers = 50\nnonsense = 1":   `line 2: there is no "nonsense"`,
		"peers = 50\npeers-rate":     "line 2",
		"peers = 50\n\nport = 1":     "line 3: port cannot change while the relay runs",
		"\npeers = 101":              "line 2: peers cannot be more than the 100",
		"peers = 2000000":            "line 1: peers: ",
		"peers = 50\npeer-rate = -1": "line 2: peer-rate: ",
		"admission = \"x.example\"":  "line 1: admission: ",
	} {
		configure(content)
		code, said := run("reload")
		assert.Equal(t, 1, code)
		assert.Contains(t, said, want)
		assert.Contains(t, said, filepath.Join(dir, command.ConfigName))
		assert.Regexp(t, "(?m)^peers +100 ", limits(), "it stays as it was")
	}
	configure("peers = 60")
	code, said := run("reload")
	require.Zero(t, code, said)
	assert.Regexp(t, "(?m)^peers +60 ", limits())
	configure("peers = 50")
	r.Signal(syscall.SIGHUP)
	require.Eventually(t, func() bool { return strings.Contains(limits(), "50") }, 30*time.Second, 5*time.Millisecond)
	code, stderr := commandtest.Start(t, nil, binary, "--data-dir", t.TempDir(), "--config", filepath.Join(dir, "none.toml")).Wait()
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, "none.toml")
	assert.Zero(t, r.Stop())
}
