//go:build js

package conformance

import (
	"context"
	"io"
	"net/url"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"
	msmux "github.com/multiformats/go-multistream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/wasm/internal/farside"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

func testIdentity(t *testing.T, s Subject) {
	key := NewKey(t)
	tr := s.New(t, key, waitLimit)
	far := farside.Start(t, "listen="+s.Listen)
	addr := far.Addr(t, s.Part)
	require.True(t, tr.CanDial(addr))
	c := Dial(t, tr, addr, far.ID)
	self, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	assert.Equal(t, self, c.LocalPeer())
	assert.Equal(t, far.ID, c.RemotePeer())
	assert.True(t, far.ID.MatchesPublicKey(c.RemotePublicKey()))
	assert.Equal(t, s.Name, c.ConnState().Transport)
	assert.NotNil(t, c.LocalMultiaddr())
	assert.True(t, addr.Equal(c.RemoteMultiaddr()), "remote is %s, dialled %s", c.RemoteMultiaddr(), addr)
	assert.Equal(t, tr, c.Transport())
	assert.NotNil(t, c.Scope())
	assert.False(t, c.IsClosed())
	assert.False(t, tr.Proxy())
}

func testAccept(t *testing.T, s Subject) {
	key := NewKey(t)
	far := farside.Start(t, "listen="+s.Listen)
	c := Dial(t, s.New(t, key, waitLimit), far.Addr(t, s.Part), far.ID)
	served := make(chan error, 1)
	go func() { served <- serveEcho(c) }()
	r := far.Tell(t, "echo", "/p2p/"+c.LocalPeer().String(), "protocol=/test/echo/1&bytes=1000000")
	require.True(t, r.OK, r.Error)
	require.EqualValues(t, 1_000_000, r.Bytes)
	require.NoError(t, c.Close())
	require.Error(t, receive(t, served), "AcceptStream after Close")
}

// serveEcho answers every stream that negotiates the echo protocol until the
// connection ends. (The far side also opens one for identify.)
func serveEcho(c transport.CapableConn) error {
	mux := msmux.NewMultistreamMuxer[string]()
	mux.AddHandler("/test/echo/1", nil)
	for {
		stream, err := c.AcceptStream()
		if err != nil {
			return err
		}
		go func() {
			if _, _, err := mux.Negotiate(stream); err != nil {
				_ = stream.Reset()
				return
			}
			_, _ = io.Copy(stream, stream)
			_ = stream.Close()
		}()
	}
}

func testWrongPeer(t *testing.T, s Subject) {
	far := farside.Start(t, "listen="+s.Listen)
	other, err := peer.IDFromPrivateKey(NewKey(t))
	require.NoError(t, err)
	_, err = s.transport(t).Dial(context.Background(), far.Addr(t, s.Part), other)
	var mismatch sec.ErrPeerIDMismatch
	require.ErrorAs(t, err, &mismatch)
	assert.Equal(t, other, mismatch.Expected)
	assert.Equal(t, far.ID, mismatch.Actual)
}

func testCancelledDial(t *testing.T, s Subject) {
	for _, kind := range s.Mutes {
		t.Run(kind, func(t *testing.T) {
			far := farside.StartMute(t, kind)
			ctx, cancel := context.WithCancel(context.Background())
			failed := make(chan error, 1)
			go func() {
				_, err := s.transport(t).Dial(ctx, far.Addrs[0], far.ID)
				failed <- err
			}()
			awaitAccepted(t, far)
			cancel()
			require.ErrorIs(t, receive(t, failed), context.Canceled)
		})
	}
}

// awaitAccepted waits until the mute server has been reached.
func awaitAccepted(t *testing.T, far *farside.Peer) {
	t.Helper()
	require.Eventually(t, func() bool {
		var seen struct{ Accepted int }
		far.Get(t, "", &seen)
		return seen.Accepted > 0
	}, waitLimit, 50*time.Millisecond)
}

func testMute(t *testing.T, s Subject) {
	for _, kind := range s.Mutes {
		t.Run(kind, func(t *testing.T) {
			far := farside.StartMute(t, kind)
			tr := s.New(t, NewKey(t), 700*time.Millisecond)
			ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
			defer cancel()
			_, err := tr.Dial(ctx, far.Addrs[0], far.ID)
			require.ErrorContains(t, err, "handshake took too long")
			require.NoError(t, ctx.Err(), "it was the test's limit, not the transport's")
		})
	}
}

func testNobody(t *testing.T, s Subject) {
	far := farside.Start(t, "listen="+s.Listen)
	addr := far.Addr(t, s.Part)
	far.Post(t, "close", nil)
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	_, err := s.New(t, NewKey(t), 5*time.Second).Dial(ctx, addr, far.ID)
	require.ErrorContains(t, err, addr.String())
	require.NoError(t, ctx.Err())
}

func testFarClose(t *testing.T, s Subject) {
	c, far := s.connect(t, "")
	stream := open(t, c, "/test/wait/1")
	_, err := stream.Write([]byte("x"))
	require.NoError(t, err)
	far.Post(t, "disconnect?to="+url.QueryEscape("/p2p/"+c.LocalPeer().String()), nil)
	requireDead(t, c, stream)
}

func testKilled(t *testing.T, s Subject) {
	c, far := s.connect(t, "&process=1")
	var streams []network.MuxedStream
	for range 10 {
		stream := open(t, c, "/test/wait/1")
		_, err := stream.Write([]byte("x"))
		require.NoError(t, err)
		streams = append(streams, stream)
	}
	far.Post(t, "kill", nil)
	requireDead(t, c, streams...)
}

// requireDead checks that every operation on the connection fails at once.
func requireDead(t *testing.T, c transport.CapableConn, streams ...network.MuxedStream) {
	t.Helper()
	for _, stream := range streams {
		reading := make(chan error, 1)
		go func() {
			_, err := stream.Read(make([]byte, 1))
			reading <- err
		}()
		err := receive(t, reading)
		require.Error(t, err)
		require.NotEqual(t, io.EOF, err, "the end of the connection passes for the end of the data")
		_, err = stream.Write([]byte("x"))
		require.Error(t, err)
	}
	accepting := make(chan error, 1)
	go func() {
		for {
			if _, err := c.AcceptStream(); err != nil { // streams that came before
				accepting <- err
				return
			}
		}
	}()
	require.Error(t, receive(t, accepting))
	require.True(t, c.IsClosed())
	_, err := c.OpenStream(context.Background())
	require.Error(t, err)
}

func testCloseConn(t *testing.T, s Subject) {
	c, far := s.connect(t, "")
	stream := open(t, c, "/test/observe/1")
	_, err := stream.Write([]byte("x"))
	require.NoError(t, err)
	reset := open(t, c, "/test/wait/1")
	_, err = reset.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, reset.Reset())
	require.NoError(t, c.Close()) // right behind a reset: this has crashed Chromium
	requireDead(t, c, stream, reset)
	how, _ := far.Observed(t)
	assert.NotEqual(t, "eof", how, "the end of the connection passes for the end of the data")
	require.NoError(t, c.Close(), "Close again")
}

func testListen(t *testing.T, s Subject) {
	_, err := s.transport(t).Listen(ma.StringCast("/ip4/127.0.0.1/tcp/0/ws"))
	require.ErrorContains(t, err, "a browser cannot listen")
}

// requireNoLeak runs f and checks that the numbers of goroutines and callbacks return to
// what they were. Some rounds before that create what is made once and kept.
func requireNoLeak(t *testing.T, f func(rounds int), rounds int) {
	t.Helper()
	f(rounds / 20)
	settled := func(goroutines, funcs int) bool {
		runtime.Gosched()
		return runtime.NumGoroutine() <= goroutines && jsio.LiveFuncs() <= funcs
	}
	// Goroutines of the first round may still be ending: take the lowest count seen.
	goroutines, funcs := runtime.NumGoroutine(), jsio.LiveFuncs()
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		goroutines, funcs = min(goroutines, runtime.NumGoroutine()), min(funcs, jsio.LiveFuncs())
	}
	f(rounds)
	if !assert.Eventually(t, func() bool { return settled(goroutines+1, funcs) }, waitLimit, 20*time.Millisecond) { // Eventually's own goroutine
		stacks := make([]byte, 1<<20)
		t.Fatalf("%d goroutines (%d before), %d callbacks (%d before)\n%s", runtime.NumGoroutine(), goroutines,
			jsio.LiveFuncs(), funcs, stacks[:runtime.Stack(stacks, true)])
	}
}

// long returns how often something is done: more often if LONG is set.
func long(usually, withLong int) int {
	if os.Getenv("LONG") != "" {
		return withLong
	}
	return usually
}

func testDialLeak(t *testing.T, s Subject) {
	far := farside.Start(t, "listen="+s.Listen)
	addr, tr := far.Addr(t, s.Part), s.transport(t)
	requireNoLeak(t, func(rounds int) {
		for range rounds {
			ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
			c, err := tr.Dial(ctx, addr, far.ID)
			cancel()
			require.NoError(t, err)
			require.NoError(t, c.Close())
		}
	}, long(200, 1000))
}

func testStreamLeak(t *testing.T, s Subject) {
	c, _ := s.connect(t, "")
	requireNoLeak(t, func(rounds int) {
		for range rounds {
			stream, err := tryOpen(c, "/test/echo/1")
			require.NoError(t, err)
			require.NoError(t, stream.Close())
		}
	}, long(2000, 10_000))
}
