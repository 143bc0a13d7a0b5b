package bridge_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	connmgrimpl "github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
)

// echo is a target that sends back everything it gets.
var echo = bridge.Func(func(_ context.Context, c net.Conn) {
	if _, err := io.Copy(c, c); err == nil {
		_ = c.(*bridge.Conn).CloseWrite()
	}
})

// assertEchoes checks that a byte sent to c comes back.
func assertEchoes(t testing.TB, c io.ReadWriter) {
	t.Helper()
	_, err := c.Write([]byte("?"))
	require.NoError(t, err)
	got := make([]byte, 1)
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, "?", string(got))
}

func TestEachStreamDialsTheTargetAfresh(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	var dials atomic.Int32
	listen(t, there, "/x/fresh", bridge.DialTarget("counted", func(context.Context) (bridge.Local, error) {
		if dials.Add(1) == 2 {
			return nil, errors.New("not this time")
		}
		near, far := pipe()
		go func() {
			_, _ = io.Copy(far, far)
			_ = far.Close()
		}()
		return near, nil
	}))
	for i := range 3 {
		c, err := here.Dial(testContext(t), there.ID(), "/x/fresh")
		require.NoError(t, err)
		if i == 1 {
			_, err = io.ReadAll(c)
			require.ErrorIs(t, err, bridge.TargetRefused, "a failed dial resets the stream")
		} else {
			assertEchoes(t, c)
		}
		require.NoError(t, c.Close())
	}
	assert.EqualValues(t, 3, dials.Load())
}

func TestTheTargetIsToldThePeerBeforeAllElse(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	target, dialled := pipeTarget()
	listen(t, there, "/x/report", target, bridge.ReportPeer)
	c, err := here.Dial(testContext(t), there.ID(), "/x/report")
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write([]byte("data\n"))
	require.NoError(t, err)
	end := <-dialled
	defer end.Close()
	r := bufio.NewReader(end)
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, here.ID().String()+"\n", line)
	line, err = r.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "data\n", line)

	_, err = there.Listen(t.Context(), "/x/func", echo, bridge.ReportPeer)
	assert.ErrorContains(t, err, "is not dialled", "a Func knows the peer already")
}

func TestNothingIsDialledBeforeTheFirstConnection(t *testing.T) {
	here, there := newNode(t, bridge.Timeouts{}), newNode(t, bridge.Timeouts{})
	listen(t, there, "/x/echo", echo)
	here.Host().Peerstore().AddAddrs(there.ID(), there.Host().Addrs(), 1<<40)
	from := newPipeAcceptor()
	f, err := here.Forward(t.Context(), "/x/echo", from, there.ID())
	require.NoError(t, err)
	assert.Equal(t, network.NotConnected, here.Host().Network().Connectedness(there.ID()))
	assert.Zero(t, f.Info().Total)
	c := from.dial()
	defer c.Close()
	assertEchoes(t, c)
	assert.EqualValues(t, 1, f.Info().Total)
}

func TestAForwardThatCannotBeIsAnErrorAtOnce(t *testing.T) {
	n := newNode(t, bridge.Timeouts{})
	for what, p := range map[string]peer.ID{"no peer": "", "garbage": "x", "itself": n.ID()} {
		_, err := n.Forward(t.Context(), "/x/a", newPipeAcceptor(), p)
		assert.Error(t, err, what)
	}
	_, err := n.Forward(t.Context(), "/x/a", nil, newID(t))
	assert.ErrorContains(t, err, "nothing to listen on")
	assert.Empty(t, n.Bridge().Forwards(), "a refused forward is not registered")
	_, err = n.Listen(t.Context(), "/x/a", nil)
	assert.ErrorContains(t, err, "no target")
	_, err = n.Listen(t.Context(), "/x/a", echo, bridge.Limit(bridge.Limits{Rate: -1}))
	assert.ErrorContains(t, err, "negative")
	_, err = n.Listen(t.Context(), "/x/a", echo, bridge.Announce("two\nlines"))
	assert.ErrorContains(t, err, "U+000A")
	assert.Empty(t, n.Bridge().Listeners())
	listen(t, n, "/x/a", echo)
}

func TestAForwardNamesWhyItsConnectionsFail(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	listen(t, there, "/x/dead", bridge.DialTarget("dead", func(context.Context) (bridge.Local, error) {
		return nil, errors.New("connection refused")
	}))
	listen(t, there, "/x/others", echo, bridge.Deny(here.ID()))
	unknown := newID(t)
	for _, c := range []struct {
		proto  string
		peer   peer.ID
		reason bridge.Reason
	}{
		{"/x/dead", there.ID(), bridge.TargetRefused},
		{"/x/others", there.ID(), bridge.NotAllowed},
		{"/x/missing", there.ID(), bridge.NoSuchProtocol},
		{"/x/unknown", unknown, bridge.PeerAway},
	} {
		from := newPipeAcceptor()
		f, err := here.Forward(t.Context(), protocol.ID(c.proto), from, c.peer)
		require.NoError(t, err)
		client := from.dial()
		_, err = io.ReadAll(client)
		assert.ErrorIs(t, err, errPipeReset, "%s: the client sees a reset, not a clean end", c.proto)
		eventually(t, func() bool { return f.Info().Error != "" })
		info := f.Info()
		assert.Equal(t, c.reason, info.Reason, c.proto)
		assert.Contains(t, info.Error, c.peer.String())
		assert.EqualValues(t, 1, info.Total)
		assert.Zero(t, info.Live)
		assert.False(t, info.ErrorAt.IsZero())
		ended := here.Bridge().Ended()
		last := ended[len(ended)-1]
		assert.Equal(t, c.reason, last.Reason, "the history has an entry, even if no stream was opened")
		assert.Equal(t, f.Info().Target, last.Target)
		require.NoError(t, f.Close())
	}
}

func TestClosingAnEntryLeavesItsStreamsWorking(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	l := listen(t, there, "/x/echo", echo)
	from := newPipeAcceptor()
	f, err := here.Forward(t.Context(), "/x/echo", from, there.ID())
	require.NoError(t, err)
	c := from.dial()
	assertEchoes(t, c)
	for range 2 {
		require.NoError(t, f.Close())
		require.NoError(t, l.Close())
	}
	assert.Empty(t, here.Bridge().Forwards())
	assert.Empty(t, there.Bridge().Listeners())
	assertEchoes(t, c)
	assert.Len(t, here.Bridge().Streams(), 1)
	assert.ErrorIs(t, refused(t, here, there.ID(), "/x/echo"), bridge.NoSuchProtocol)
	require.NoError(t, c.CloseWrite())
	rest, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Empty(t, rest)
	assert.Empty(t, endedWith(t, here).Reason)
}

func TestCloseStreamResetsBothEnds(t *testing.T) {
	here, there, from, dialled := pipes(t, bridge.Timeouts{})
	for _, by := range []*core.Node{here, there} {
		client, target := joined(t, from, dialled)
		eventually(t, func() bool { return len(by.Bridge().Streams()) == 1 })
		id := by.Bridge().Streams()[0].ID
		require.NoError(t, by.Bridge().CloseStream(id))
		for _, end := range []pipeEnd{client, target} {
			_, err := end.Read(make([]byte, 1))
			assert.ErrorIs(t, err, errPipeReset)
		}
		assert.Equal(t, bridge.ClosedByHand, endedWith(t, by).Reason)
		assert.ErrorIs(t, by.Bridge().CloseStream(id), bridge.ErrNoStream)
		endedWith(t, here)
	}
	assert.Equal(t, bridge.ClosedByHand, endedWith(t, here).Reason, "the caller gets the reason from the listener")
	assert.ErrorIs(t, here.Bridge().CloseStream(1<<40), bridge.ErrNoStream)
}

func TestIDsAreNeverUsedAgain(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	seen := make(map[uint64]bool)
	for range 3 {
		l := listen(t, there, "/x/echo", echo)
		f, err := there.Forward(t.Context(), "/x/echo", newPipeAcceptor(), here.ID())
		require.NoError(t, err)
		for _, id := range []uint64{l.Info().ID, f.ID()} {
			assert.False(t, seen[id], "entry %d", id)
			seen[id] = true
		}
		require.NoError(t, l.Close())
		require.NoError(t, f.Close())
	}
	listen(t, there, "/x/echo", echo)
	for want := range uint64(3) {
		c, err := here.Dial(testContext(t), there.ID(), "/x/echo")
		require.NoError(t, err)
		assert.Equal(t, want, c.Info().ID, "streams count from 0")
		require.NoError(t, c.Close())
	}
}

// managed is a host with a real connection manager.
type managed struct {
	host.Host
	manager connmgr.ConnManager
}

func (m managed) ConnManager() connmgr.ConnManager { return m.manager }

func TestPeersOfLiveStreamsAreProtectedUntilTheLastEnds(t *testing.T) {
	manager, err := connmgrimpl.NewConnManager(100, 200)
	require.NoError(t, err)
	defer manager.Close()
	here, err := core.New(testContext(t), managed{hosttest.Unmanaged(t, hosttest.Options{}), manager}, core.Options{PingInterval: -1})
	require.NoError(t, err)
	defer func() { assert.NoError(t, here.Close()) }()
	there := newNode(t, bridge.Timeouts{})
	require.NoError(t, here.ConnectPeer(testContext(t), hosttest.Info(there.Host())))
	listen(t, there, "/x/echo", echo)
	state := func() (tag int, protected bool) {
		if info := manager.GetTagInfo(there.ID()); info != nil {
			tag = info.Tags["stream-fwd"]
		}
		return tag, manager.IsProtected(there.ID(), "stream-fwd")
	}
	var conns []*bridge.Conn
	for range 2 {
		c, err := here.Dial(testContext(t), there.ID(), "/x/echo")
		require.NoError(t, err)
		conns = append(conns, c)
	}
	// The manager learns of a peer from its notifier or from the first tag: either will do.
	tag, protected := state()
	assert.Equal(t, 20, tag)
	assert.True(t, protected)
	require.NoError(t, conns[0].Close())
	_, protected = state()
	assert.True(t, protected, "one stream is still open")
	require.NoError(t, conns[1].Reset())
	tag, protected = state()
	assert.Zero(t, tag)
	assert.False(t, protected)
}
