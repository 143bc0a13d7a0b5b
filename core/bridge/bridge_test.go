package bridge_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

// patience is how long an expected event may take.
const patience = 30 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// newNode makes a node that is closed at the end of the test.
func newNode(t testing.TB, timeouts bridge.Timeouts) *core.Node {
	t.Helper()
	n, err := core.New(testContext(t), hosttest.Unmanaged(t, hosttest.Options{}), core.Options{Streams: timeouts, PingInterval: -1})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	return n
}

// pair makes two nodes, connected.
func pair(t testing.TB, timeouts bridge.Timeouts) (here, there *core.Node) {
	t.Helper()
	here, there = newNode(t, timeouts), newNode(t, timeouts)
	require.NoError(t, here.ConnectPeer(testContext(t), hosttest.Info(there.Host())))
	return here, there
}

// local is a TCP connection that is used as a local end.
type local struct{ *net.TCPConn }

func (l local) String() string { return l.RemoteAddr().String() }

func (l local) Socket() string {
	from, to := l.LocalAddr().String(), l.RemoteAddr().String()
	return min(from, to) + " " + max(from, to)
}

func (l local) Reset() error {
	_ = l.SetLinger(0)
	return l.Close()
}

// acceptor is a TCP listener that is used as the acceptor of a forward.
type acceptor struct{ *net.TCPListener }

func (a acceptor) String() string { return a.Addr().String() }

func (a acceptor) Accept() (bridge.Local, error) {
	c, err := a.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return local{c}, nil
}

func listenTCP(t testing.TB) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// nobody returns an address that nobody listens on before the test ends, because it is the
// local address of a connection.
func nobody(t testing.TB) string {
	t.Helper()
	c, err := net.Dial("tcp4", listenTCP(t).Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
}

// service runs f for each connection to a socket and returns a target that connects to it.
// At the end of the test, it waits for f.
func service(t testing.TB, f func(c *net.TCPConn)) bridge.Target {
	t.Helper()
	l := listenTCP(t)
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	t.Cleanup(func() { l.Close() })
	running.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	return dialTo(l.Addr().String())
}

func dialTo(addr string) bridge.Target {
	return bridge.DialTarget(addr, func(ctx context.Context) (bridge.Local, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp4", addr)
		if err != nil {
			return nil, err
		}
		return local{c.(*net.TCPConn)}, nil
	})
}

func listen(t testing.TB, n *core.Node, proto protocol.ID, target bridge.Target, opts ...bridge.ListenOption) *bridge.Listener {
	t.Helper()
	l, err := n.Listen(t.Context(), proto, target, opts...)
	require.NoError(t, err)
	return l
}

// forward forwards a free port and returns a function that connects to it.
func forward(t testing.TB, n *core.Node, proto protocol.ID, to peer.ID) (f *bridge.Forward, dial func() *net.TCPConn) {
	t.Helper()
	f, err := n.Forward(t.Context(), proto, acceptor{listenTCP(t)}, to)
	require.NoError(t, err)
	return f, func() *net.TCPConn {
		t.Helper()
		c, err := net.Dial("tcp4", f.Addr())
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		return c.(*net.TCPConn)
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b)
	return b
}

// answerAfterEOF reads everything, then sends it back with a trailer of 8 bytes.
func answerAfterEOF(c *net.TCPConn) {
	b, err := io.ReadAll(c)
	if err != nil {
		return
	}
	_, _ = c.Write(append(b, "the end."...))
}

func TestAReplyComesWholeAfterAHalfClose(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	listen(t, there, "/x/half", service(t, answerAfterEOF))
	_, dial := forward(t, here, "/x/half", there.ID())
	sent := randomBytes(1 << 20)
	for range 3 {
		c := dial()
		_, err := c.Write(sent)
		require.NoError(t, err)
		require.NoError(t, c.CloseWrite())
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, len(sent)+8, len(got))
		assert.Equal(t, sha256.Sum256(sent), sha256.Sum256(got[:len(sent)]))
		assert.Equal(t, "the end.", string(got[len(sent):]))
	}
	eventually(t, func() bool { return len(here.Bridge().Streams()) == 0 && len(there.Bridge().Streams()) == 0 })
	for _, n := range []*core.Node{here, there} {
		for _, s := range n.Bridge().Ended() {
			assert.Empty(t, s.Reason)
		}
	}
	last := here.Bridge().Ended()[2]
	assert.EqualValues(t, len(sent), last.Sent)
	assert.EqualValues(t, len(sent)+8, last.Received)
}

// eventually waits until ok returns true.
func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, 5*time.Millisecond)
}

// refused opens a stream and returns the error of opening it or of its first read.
func refused(t testing.TB, n *core.Node, p peer.ID, proto protocol.ID) error {
	t.Helper()
	c, err := n.Dial(testContext(t), p, proto)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
	return err
}

func TestARefusalSaysWhy(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{Target: 100 * time.Millisecond})
	listen(t, there, "/x/closed", dialTo(nobody(t)))
	listen(t, there, "/x/slow", bridge.DialTarget("slow", func(ctx context.Context) (bridge.Local, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	dialled := false
	never := bridge.DialTarget("never", func(context.Context) (bridge.Local, error) {
		dialled = true
		return nil, errors.New("dialled all the same")
	})
	listen(t, there, "/x/others", never, bridge.Allow(there.ID()))
	listen(t, there, "/x/denied", never, bridge.Deny(here.ID()), bridge.Allow(here.ID()))
	for proto, want := range map[protocol.ID]bridge.Reason{
		"/x/closed": bridge.TargetRefused,
		"/x/slow":   bridge.TargetTimedOut,
		"/x/others": bridge.NotAllowed,
		"/x/denied": bridge.NotAllowed,
		"/x/none":   bridge.NoSuchProtocol,
	} {
		err := refused(t, here, there.ID(), proto)
		assert.ErrorIs(t, err, want, "%s", proto)
		assert.ErrorContains(t, err, string(proto))
	}
	assert.False(t, dialled, "access is checked before the target is dialled")
	eventually(t, func() bool { return len(there.Bridge().Ended()) == 4 })
	var reasons []bridge.Reason
	for _, s := range there.Bridge().Ended() {
		reasons = append(reasons, s.Reason)
	}
	assert.ElementsMatch(t, []bridge.Reason{bridge.TargetRefused, bridge.TargetTimedOut, bridge.NotAllowed, bridge.NotAllowed}, reasons)
}

func TestAFuncIsATarget(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	listen(t, there, "/x/greet", bridge.Func(func(_ context.Context, c net.Conn) {
		fmt.Fprintf(c, "hello %s", c.RemoteAddr())
	}))
	c, err := here.Dial(testContext(t), there.ID(), "/x/greet")
	require.NoError(t, err)
	defer c.Close()
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, "hello /p2p/"+here.ID().String(), string(got))
}

func TestNamesLiveUnderX(t *testing.T) {
	n := newNode(t, bridge.Timeouts{})
	echo := bridge.Func(func(_ context.Context, c net.Conn) { _, _ = io.Copy(c, c) })
	for _, bad := range []protocol.ID{"", "/x/", "/x", "/x//", "ssh", "/ssh", "/x/a b", "/x/a\n", "/x/\xff", "/x/\u3164", "/x/a\u202eb", "/x/a\u200bb", protocol.ID("/x/" + strings.Repeat("a", 300))} {
		_, err := n.Listen(t.Context(), bad, echo)
		assert.ErrorIs(t, err, bridge.ErrName, "%q", bad)
		_, err = n.Forward(t.Context(), bad, acceptor{listenTCP(t)}, newID(t))
		assert.ErrorIs(t, err, bridge.ErrName, "%q", bad)
	}
	_, err := n.Listen(t.Context(), "/ssh", echo)
	assert.ErrorContains(t, err, "within the /x/ namespace")
	listen(t, n, "/ssh", echo, bridge.CustomProtocol)
	listen(t, n, "/x/ssh", echo)
	_, err = n.Listen(t.Context(), "/x/ssh", echo)
	assert.ErrorIs(t, err, bridge.ErrRegistered)
	assert.ErrorContains(t, err, "listener already registered")
}

func newID(t testing.TB) peer.ID {
	h := hosttest.Unmanaged(t, hosttest.Options{Listen: "none"})
	defer h.Close()
	return h.ID()
}

func TestServicesAreThoseAnnouncedToWhoAsks(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	echo := bridge.Func(func(_ context.Context, c net.Conn) { _, _ = io.Copy(c, c) })
	listen(t, there, "/x/open", echo, bridge.Announce("echoes"))
	listen(t, there, "/x/quiet", echo)
	l := listen(t, there, "/x/some", echo, bridge.Announce("for some"), bridge.Allow(there.ID()))
	got, err := here.Services(testContext(t), there.ID())
	require.NoError(t, err)
	assert.Equal(t, []bridge.Service{{Protocol: "/x/open", Description: "echoes"}}, got)
	require.NoError(t, l.Update(func(a *bridge.Access, _ *bridge.Limits) { a.Allow = append(a.Allow, here.ID()) }))
	got, err = here.Services(testContext(t), there.ID())
	require.NoError(t, err)
	assert.Len(t, got, 2)
}
