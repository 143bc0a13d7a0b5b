package local_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/local"
	"github.com/tombolo-net/tombolo/native/socket/sockettest"
	"github.com/tombolo-net/tombolo/native/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that must happen.
const patience = 30 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newNode(t testing.TB, listen []ma.Multiaddr) *core.Node {
	t.Helper()
	n, err := native.New(testContext(t), native.Options{Listen: listen, NoMDNS: true, NoPortMapping: true, PingInterval: -1})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	return n
}

// pair makes two nodes, connected over TCP.
func pair(t testing.TB) (here, there *core.Node) {
	t.Helper()
	here, there = newNode(t, []ma.Multiaddr{}), newNode(t, []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0")})
	require.NoError(t, here.ConnectPeer(testContext(t), peer.AddrInfo{ID: there.ID(), Addrs: there.Host().Addrs()}))
	return here, there
}

func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, 5*time.Millisecond)
}

// serve answers at an address with f and returns the address.
func serve(t testing.TB, network, address string, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	var running sync.WaitGroup
	t.Cleanup(func() { l.Close(); running.Wait() })
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	if network == "unix" {
		return "unix:" + address
	}
	return l.Addr().String()
}

// offer makes the service at an address available to peers under a protocol.
func offer(t testing.TB, n *core.Node, proto protocol.ID, address string, opts ...bridge.ListenOption) *bridge.Listener {
	t.Helper()
	target, err := local.Target(address)
	require.NoError(t, err)
	l, err := n.Listen(t.Context(), proto, target, opts...)
	require.NoError(t, err)
	return l
}

// forward forwards an address to a peer, and returns a function that connects to the
// address.
func forward(t testing.TB, n *core.Node, proto protocol.ID, address string, p peer.ID) (*bridge.Forward, func() net.Conn) {
	t.Helper()
	from, err := local.Listen(t.Context(), address)
	require.NoError(t, err)
	f, err := n.Forward(t.Context(), proto, from, p)
	require.NoError(t, err)
	addr, err := manet.ToNetAddr(ma.StringCast(f.Addr()))
	require.NoError(t, err)
	return f, func() net.Conn {
		t.Helper()
		c, err := net.Dial(addr.Network(), addr.String())
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		return c
	}
}

// refusal connects to a forward whose peer refuses, and returns the error that the client
// gets: the reset may come before or after the dial has returned.
func refusal(t testing.TB, f *bridge.Forward) error {
	t.Helper()
	addr, err := manet.ToNetAddr(ma.StringCast(f.Addr()))
	require.NoError(t, err)
	c, err := net.DialTimeout(addr.Network(), addr.String(), patience)
	if err != nil {
		return err
	}
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	_, err = c.Read(make([]byte, 1))
	return err
}

// answerAfterEOF reads all, then sends it back with a trailer of 8 bytes.
func answerAfterEOF(c net.Conn) {
	if b, err := io.ReadAll(c); err == nil {
		_, _ = c.Write(append(b, "the end."...))
	}
}

func assertAnswersAfterEOF(t testing.TB, c net.Conn) {
	t.Helper()
	sent := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(sent)
	_, err := c.Write(sent)
	require.NoError(t, err)
	require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Len(t, got, len(sent)+8)
	assert.Equal(t, sha256.Sum256(sent), sha256.Sum256(got[:len(sent)]))
}

func echo(c net.Conn) { _, _ = io.Copy(c, c) }

func assertEchoes(t testing.TB, c net.Conn) {
	t.Helper()
	_, err := c.Write([]byte("?"))
	require.NoError(t, err)
	_, err = io.ReadFull(c, make([]byte, 1))
	require.NoError(t, err)
}

func TestAReplyComesWholeAfterAHalfCloseOverEveryTransport(t *testing.T) {
	there := newNode(t, stack.ListenOn(netip.MustParseAddr("127.0.0.1"), 0, 0))
	offer(t, there, "/x/half", serve(t, "tcp4", "127.0.0.1:0", answerAfterEOF))
	seen := make(map[string]bool)
	for _, addr := range there.Host().Addrs() {
		if _, err := addr.ValueForProtocol(ma.P_WEBRTC_DIRECT); err == nil {
			continue // native nodes listen on it for browsers, but do not dial it
		}
		here := newNode(t, []ma.Multiaddr{})
		require.NoError(t, here.ConnectPeer(testContext(t), peer.AddrInfo{ID: there.ID(), Addrs: []ma.Multiaddr{addr}}), addr)
		_, dial := forward(t, here, "/x/half", "127.0.0.1:0", there.ID())
		assertAnswersAfterEOF(t, dial())
		eventually(t, func() bool { return len(here.Bridge().Ended()) == 1 })
		ended := here.Bridge().Ended()[0]
		assert.Empty(t, ended.Reason, addr)
		seen[ended.Transport] = true
	}
	for _, transport := range []string{"tcp", "quic", "websocket", "webtransport"} {
		assert.True(t, seen[transport], transport)
	}
}

func TestUnixSocketsAreBothEnds(t *testing.T) {
	here, there := pair(t)
	dir := t.TempDir()
	offer(t, there, "/x/unix", serve(t, "unix", filepath.Join(dir, "service"), answerAfterEOF))
	path := filepath.Join(dir, "forward")
	f, dial := forward(t, here, "/x/unix", "unix:"+path, there.ID())
	assert.Equal(t, "/unix"+path, f.Addr())
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	assertAnswersAfterEOF(t, dial())
	_, err = local.Listen(t.Context(), "unix:"+path)
	assert.ErrorContains(t, err, "another program listens")
	require.NoError(t, f.Close())
	_, err = os.Lstat(path)
	assert.ErrorIs(t, err, os.ErrNotExist, "the file goes with the forward")
}

func TestASocketFileThatWasLeftBehindIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	left.SetUnlinkOnClose(false) // as when the process is killed
	require.NoError(t, left.Close())
	l, err := local.Listen(t.Context(), "unix:"+path)
	require.NoError(t, err)
	require.NoError(t, l.Close())

	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
	_, err = local.Listen(t.Context(), "/unix"+path)
	assert.ErrorContains(t, err, "not a socket")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "mine", string(content))
}

func TestTheTargetIsToldThePeerBeforeAllElse(t *testing.T) {
	here, there := pair(t)
	lines := make(chan string, 2)
	offer(t, there, "/x/report", serve(t, "tcp4", "127.0.0.1:0", func(c net.Conn) {
		r := bufio.NewReader(c)
		for range 2 {
			line, _ := r.ReadString('\n')
			lines <- line
		}
	}), bridge.ReportPeer)
	_, dial := forward(t, here, "/x/report", "127.0.0.1:0", there.ID())
	_, err := fmt.Fprintln(dial(), "data")
	require.NoError(t, err)
	assert.Equal(t, here.ID().String()+"\n", <-lines)
	assert.Equal(t, "data\n", <-lines)
}

func TestADeadTargetIsNamed(t *testing.T) {
	here, there := pair(t)
	for proto, address := range map[protocol.ID]string{"/x/tcp": sockettest.Nobody(t), "/x/unix": "unix:/nowhere/at/all"} {
		offer(t, there, proto, address)
		f, _ := forward(t, here, proto, "127.0.0.1:0", there.ID())
		err := refusal(t, f)
		assert.Error(t, err)
		assert.NotEqual(t, io.EOF, err)
		eventually(t, func() bool { return f.Info().Reason == bridge.TargetRefused })
	}
	last := there.Bridge().Ended()
	for _, s := range last {
		assert.NotEmpty(t, s.Error, "the listener's side knows what was seen")
	}
}

func TestSocketsAreCountedAndWaitedFor(t *testing.T) {
	defer local.LimitFiles(3)()
	here, there := pair(t)
	offer(t, there, "/x/echo", serve(t, "tcp4", "127.0.0.1:0", echo))
	var forwards []func() net.Conn
	var first *bridge.Forward
	for range 5 { // more forwards than there may be sockets
		f, dial := forward(t, here, "/x/echo", "127.0.0.1:0", there.ID())
		forwards = append(forwards, dial)
		if first == nil {
			first = f
		}
	}
	c := forwards[4]()
	assertEchoes(t, c)                    // unused forwards take no socket
	assert.Equal(t, 2, local.FilesOpen()) // the forward's socket and its target's, in one process here
	// The next connection takes the third socket, and leaves none for its target.
	assert.Error(t, refusal(t, first))
	eventually(t, func() bool { return here.Bridge().Forwards()[0].Reason == bridge.TooMany })
	require.NoError(t, c.Close())
	eventually(t, func() bool { return local.FilesOpen() == 0 })
	third := forwards[1]()
	assertEchoes(t, third)
	require.NoError(t, third.Close())
	eventually(t, func() bool { return local.FilesOpen() == 0 })
}

func TestAnAcceptorThatWaitsForFilesCanBeClosed(t *testing.T) {
	defer local.LimitFiles(0)()
	l, err := local.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	addr, err := manet.ToNetAddr(ma.StringCast(l.String()))
	require.NoError(t, err)
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	c, err := net.Dial("tcp4", addr.String())
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, l.Close())
	assert.ErrorIs(t, <-accepted, net.ErrClosed)
	require.NoError(t, l.Close(), "again")
}
