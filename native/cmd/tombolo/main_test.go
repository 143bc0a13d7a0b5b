package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/command/commandtest"
	"github.com/tombolo-net/tombolo/native/socket/sockettest"
	"github.com/tombolo-net/tombolo/native/stack"
	"github.com/tombolo-net/tombolo/relay"
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

func start(t *testing.T, args ...string) *commandtest.Process {
	return commandtest.Start(t, nil, binary, args...)
}

func local() []ma.Multiaddr { return stack.ListenOn(netip.MustParseAddr("127.0.0.1"), 0, 0) }

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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

func newNode(t *testing.T) *core.Node {
	t.Helper()
	n, err := native.New(testContext(t), native.Options{Listen: []ma.Multiaddr{}, NoMDNS: true})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	return n
}

// failsWith runs the program to its end and checks its one line of complaint.
func failsWith(t *testing.T, code int, wants []string, args ...string) {
	t.Helper()
	p := start(t, args...)
	got, stderr := p.Wait()
	assert.Equal(t, code, got, "%v", args)
	assert.Equal(t, 1, strings.Count(stderr, "\n"), "one line: %q", stderr)
	assert.True(t, strings.HasPrefix(stderr, "tombolo: "), stderr)
	for _, want := range wants {
		assert.Contains(t, stderr, want, "%v", args)
	}
}

func TestUpIsReachableThroughARelayAndTellsWhatHappens(t *testing.T) {
	r := newRelay(t, relay.Options{})
	dir := t.TempDir()
	p := start(t, "up", "--data-dir", dir, "--listen", "127.0.0.1:0", "--relay", r.PageURL())
	id := p.Line("id ")
	relayID := r.Node().ID().String()
	p.Line("reserved on " + relayID + " until ")
	for _, transport := range []string{"/tcp/", "/ws/", "/quic-v1/", "/webtransport/", "/webrtc-direct/"} {
		assert.Condition(t, func() bool {
			for _, l := range p.Lines() {
				if strings.HasPrefix(l, "listening /ip4/127.0.0.1/") && strings.Contains(l, transport) && strings.HasSuffix(l, "/p2p/"+id) {
					return true
				}
			}
			return false
		}, "%s is listened on", transport)
	}
	circuit := "/p2p/" + relayID + "/p2p-circuit/p2p/" + id

	caller := newNode(t)
	ctx := testContext(t)
	relayAddr := r.Node().Addrs()[0].String()
	called, err := caller.Connect(ctx, relayAddr+"/p2p-circuit/p2p/"+id)
	require.NoError(t, err)
	assert.Equal(t, id, called.String())
	assert.Equal(t, " via circuit (relayed)", p.Line("peer connected "+caller.ID().String()))
	rtt := p.Line("peer measured " + caller.ID().String() + " rtt ")
	assert.True(t, strings.HasSuffix(rtt, " via circuit (relayed)"), rtt)

	data := bytes.Repeat([]byte("x"), 300_000)
	_, err = caller.Echo(ctx, called, data)
	require.NoError(t, err)
	assert.Equal(t, "300000 bytes for "+caller.ID().String(), p.Line("echoed "))
	assert.Condition(t, func() bool {
		for _, l := range p.Lines() {
			if strings.HasPrefix(l, "listening ") && strings.HasSuffix(l, circuit) {
				return true
			}
		}
		return false
	}, "its circuit addresses are told")

	require.NoError(t, caller.Close())
	p.Line("peer disconnected " + caller.ID().String())
	require.NoError(t, r.Close())
	assert.Equal(t, ": connection to the relay ended", p.Line("reservation lost on "+relayID))

	assert.Equal(t, 0, p.Stop())
}

func TestUpWithAConnectedPeerEndsInTime(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := start(t, "up", "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0")
		addr := p.Line("listening ")
		n := newNode(t)
		_, err := n.Connect(testContext(t), addr)
		require.NoError(t, err)
		p.Line("peer connected " + n.ID().String())
		p.Signal(sig)
		code, stderr := p.Wait()
		assert.Equal(t, 0, code)
		assert.Empty(t, stderr)
	}
}

func TestUpStartsBeforeItsRelay(t *testing.T) {
	gone := newRelay(t, relay.Options{})
	addr := gone.Node().Addrs()[0].String()
	require.NoError(t, gone.Close())
	p := start(t, "up", "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--relay", addr)
	p.Line("listening ")
	code := p.Stop()
	assert.Equal(t, 0, code)
}

func TestUpWaitsForThePageOfItsRelay(t *testing.T) {
	// A relay starts on this port while the program is already asking.
	l, err := net.Listen("tcp4", sockettest.Nobody(t))
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	asked := make(chan struct{}, 100)
	early := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		w.WriteHeader(http.StatusServiceUnavailable)
	})}
	go early.Serve(l)
	p := start(t, "up", "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--relay", "http://127.0.0.1:"+strconv.Itoa(port)+"/")
	<-asked
	require.NoError(t, early.Close())
	r := newRelay(t, relay.Options{Listen: stack.ListenOn(netip.MustParseAddr("127.0.0.1"), port, 0)})
	p.Line("reserved on " + r.Node().ID().String())
}

func TestUpTellsOfARelayThatDoesNotAnswerAndGoesOn(t *testing.T) {
	url := "http://" + sockettest.Nobody(t)
	p := start(t, "up", "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--relay", url+"/")
	for range 2 {
		p.Line("no reservation on " + url + ": ask relay " + url + " for its addresses: ")
	}
}

func TestUpComplainsInOneLine(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	failsWith(t, 1, []string{"port " + port + " is in use", "--listen"}, "up", "--data-dir", t.TempDir(), "--listen", "127.0.0.1:"+port)

	dir := t.TempDir()
	p := start(t, "up", "--data-dir", dir, "--listen", "127.0.0.1:0")
	p.Line("listening ")
	failsWith(t, 1, []string{dir, "in use", "process " + strconv.Itoa(p.PID())}, "up", "--data-dir", dir)

	damaged := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(damaged, "identity.key"), []byte("no key"), 0o600))
	failsWith(t, 1, []string{filepath.Join(damaged, "identity.key"), "damaged", "backup"}, "up", "--data-dir", damaged)
}

func TestTheCommandLineIsCheckedBeforeAnythingHappens(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "never-made")
	for _, args := range [][]string{
		{},
		{"nonsense"},
		{"up", "--nonsense"},
		{"up", "--listen", "nonsense"},
		{"up", "--listen", "/ip4/1.2.3/tcp/1"},
		{"up", "--relay", "nonsense"},
		{"up", "--relay", "/ip4/127.0.0.1/tcp/1"},
		{"up", "--relay", "http://"},
		{"up", "--announce", "127.0.0.1:1"},
		{"up", "--log-level", "loud"},
		{"id", "more"},
	} {
		if len(args) > 0 && args[0] == "up" {
			args = append(args, "--data-dir", dir)
		}
		failsWith(t, 2, []string{"--help"}, args...)
	}
	assert.NoDirExists(t, dir)
}

func TestIDIsToldBesideARunningPeer(t *testing.T) {
	dir := t.TempDir()
	failsWith(t, 1, []string{dir, "no identity", "tombolo up --data-dir " + dir}, "id", "--data-dir", dir)

	p := start(t, "up", "--data-dir", dir, "--listen", "127.0.0.1:0")
	id := p.Line("id ")
	assert.Equal(t, id, start(t, "id", "--data-dir", dir).Line(""))
	p.Stop()
	assert.Equal(t, id, start(t, "id", "--data-dir", dir).Line(""))
	assert.Equal(t, id, start(t, "up", "--data-dir", dir, "--listen", "127.0.0.1:0").Line("id "), "it outlives the process")
}

func TestEachFlagHasAVariable(t *testing.T) {
	dir := t.TempDir()
	p := commandtest.Start(t, []string{"TOMBOLO_DATA_DIR=" + dir, "TOMBOLO_LISTEN=/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/udp/0/quic-v1"}, binary, "up")
	id := p.Line("id ")
	p.Line("listening /ip4/127.0.0.1/tcp/")
	p.Line("listening /ip4/127.0.0.1/udp/")
	got := commandtest.Start(t, []string{"TOMBOLO_DATA_DIR=" + dir}, binary, "id")
	assert.Equal(t, id, got.Line(""))
}

func TestPeersOnOneLinkMeetUnlessToldNotTo(t *testing.T) {
	mesh := "mesh-" + strings.ToLower(rand.Text())
	up := func(env string) (*commandtest.Process, string) {
		p := commandtest.Start(t, []string{env}, binary, "up", "--data-dir", t.TempDir(), "--network", mesh, "--no-map-ports", "--listen", "0.0.0.0:0")
		return p, p.Line("id ")
	}
	quiet, _ := up("TOMBOLO_NO_MDNS=true")
	a, idA := up("TOMBOLO_NO_MDNS=false")
	if !slices.ContainsFunc(a.Lines(), func(l string) bool {
		return strings.HasPrefix(l, "listening /ip4/") && !strings.HasPrefix(l, "listening /ip4/127.")
	}) {
		t.Skip("needs a network interface besides loopback")
	}
	b, idB := up("TOMBOLO_NO_MDNS=false")
	a.Line("peer connected " + idB)
	b.Line("peer connected " + idA)
	for _, l := range quiet.Lines() {
		assert.False(t, strings.HasPrefix(l, "peer "), l)
	}
	for _, p := range []*commandtest.Process{a, b} {
		assert.Equal(t, 0, p.Stop())
	}
}

func TestTheVersionIsTold(t *testing.T) {
	p := start(t, "version")
	assert.Contains(t, p.Line("tombolo "), "go1.")
	code, _ := p.Wait()
	assert.Equal(t, 0, code)
}
