package bridge_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
)

// dialled opens a stream and returns both its ends. The far end stays open until the test
// ends.
func dialled(t testing.TB, here, there *core.Node, proto protocol.ID, opts ...bridge.ListenOption) (near *bridge.Conn, far net.Conn, stop func()) {
	t.Helper()
	ends, done := make(chan net.Conn, 1), make(chan struct{})
	l := listen(t, there, proto, bridge.Func(func(_ context.Context, c net.Conn) {
		ends <- c
		<-done
	}), opts...)
	near, err := here.Dial(testContext(t), there.ID(), proto)
	require.NoError(t, err)
	_, err = near.Write(nil) // the name of the protocol goes out with the first write
	require.NoError(t, err)
	far = <-ends
	return near, far, func() {
		_ = near.Close()
		_ = far.Close()
		_ = l.Close()
		close(done)
	}
}

func TestADialledConnIsANetConn(t *testing.T) {
	t.Parallel()
	here, there := pair(t, bridge.Timeouts{})
	for name, opts := range map[string][]bridge.ListenOption{
		"bare":         nil,
		"under a rate": {bridge.Limit(bridge.Limits{Rate: 1 << 30})},
	} {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				near, far, stop := dialled(t, here, there, "/x/net", opts...)
				// A deadline that passes before the protocol is negotiated lasts
				// forever: multistream remembers the error.
				_, err = far.Write([]byte{1})
				if err == nil {
					_, err = near.Read(make([]byte, 1))
				}
				return near, far, stop, err
			})
		})
	}
}

func TestADialledConnHalfCloses(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	near, far, stop := dialled(t, here, there, "/x/half")
	defer stop()
	_, err := near.Write([]byte("question"))
	require.NoError(t, err)
	require.NoError(t, near.CloseWrite())
	got, err := io.ReadAll(far)
	require.NoError(t, err)
	assert.Equal(t, "question", string(got))
	_, err = far.Write([]byte("answer"))
	require.NoError(t, err)
	require.NoError(t, far.Close())
	got, err = io.ReadAll(near)
	require.NoError(t, err)
	assert.Equal(t, "answer", string(got))
}

func TestAConnNamesItsEnds(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	near, far, stop := dialled(t, here, there, "/x/ends")
	defer stop()
	assert.Equal(t, "/p2p/"+there.ID().String(), near.RemoteAddr().String())
	assert.Equal(t, "/p2p/"+here.ID().String(), near.LocalAddr().String())
	assert.Equal(t, "libp2p", far.RemoteAddr().Network())
	assert.Equal(t, bridge.Addr{Peer: here.ID(), Protocol: "/x/ends"}, far.RemoteAddr())
}

func TestAResetConnSaysSoAtBothEnds(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	near, far, stop := dialled(t, here, there, "/x/reset")
	defer stop()
	require.NoError(t, near.ResetWithError(7))
	_, err := far.Read(make([]byte, 1))
	assert.ErrorIs(t, err, bridge.PeerReset)
	_, err = near.Write([]byte{1})
	assert.ErrorIs(t, err, bridge.ClosedByHand)
	assert.Equal(t, bridge.ClosedByHand, endedWith(t, here).Reason)
	assert.NoError(t, near.Close())
}

func TestAClosedConnSaysSo(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	near, _, stop := dialled(t, here, there, "/x/closed")
	defer stop()
	blocked := make(chan error, 1)
	go func() {
		_, err := near.Read(make([]byte, 1))
		blocked <- err
	}()
	require.NoError(t, near.Close())
	assert.ErrorIs(t, <-blocked, net.ErrClosed)
	_, err := near.Write([]byte{1})
	assert.ErrorIs(t, err, net.ErrClosed)
	assert.NoError(t, near.Close(), "again")
	assert.Empty(t, here.Bridge().Ended()[0].Reason, "a stream that its owner closed ends without a reason")
}

func TestADeadlineIsNoEnd(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	near, far, stop := dialled(t, here, there, "/x/deadline")
	defer stop()
	require.NoError(t, near.SetReadDeadline(time.Now().Add(-time.Second)))
	_, err := near.Read(make([]byte, 1))
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	assert.True(t, timeout.Timeout())
	require.NoError(t, near.SetReadDeadline(time.Time{}))
	go far.Write([]byte{1})
	_, err = near.Read(make([]byte, 1))
	assert.NoError(t, err)
}

func TestAFuncThatPanicsResetsItsStreamAndNothingElse(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	listen(t, there, "/x/panic", bridge.Func(func(context.Context, net.Conn) { panic("on purpose") }))
	listen(t, there, "/x/echo", echo)
	c, err := here.Dial(testContext(t), there.ID(), "/x/echo")
	require.NoError(t, err)
	defer c.Close()
	assert.ErrorIs(t, refused(t, here, there.ID(), "/x/panic"), bridge.TargetFailed)
	assertEchoes(t, c)
}
