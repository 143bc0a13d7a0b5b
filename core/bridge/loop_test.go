package bridge_test

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
)

func TestAForwardThatLeadsToItselfIsSeenAndEnded(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	at := listenTCP(t)
	listen(t, there, "/x/loop", dialTo(at.Addr().String()))
	f, err := here.Forward(t.Context(), "/x/loop", acceptor{at}, there.ID())
	require.NoError(t, err)
	c, err := net.Dial("tcp4", f.Addr())
	require.NoError(t, err)
	defer c.Close()
	_, _ = c.Write([]byte("round and round"))
	_, err = io.ReadAll(c)
	assert.Error(t, err, "it is reset")
	for _, n := range []*core.Node{here, there} {
		endedWith(t, n)
		assert.NotZero(t, n.Bridge().Stats().Ended[bridge.Loop])
		assert.Less(t, n.Bridge().Stats().Opened, uint64(200))
	}
	assert.Equal(t, bridge.Loop, f.Info().Reason)
	for _, s := range here.Bridge().Ended() {
		if s.ID == 0 {
			assert.Equal(t, bridge.Loop, s.Reason, "the stream that began the loop ends with the reason")
		}
	}
}

func TestWhatIsNoLoopIsLeftAlone(t *testing.T) {
	const many = 32
	t.Run("a service that says nothing", func(t *testing.T) {
		here, there := pair(t, bridge.Timeouts{})
		listen(t, there, "/x/quiet", service(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }))
		_, dial := forward(t, here, "/x/quiet", there.ID())
		staysOpen(t, here, many, dial)
	})
	t.Run("a chain there and back", func(t *testing.T) {
		here, there := pair(t, bridge.Timeouts{})
		listen(t, here, "/x/b", service(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }))
		back, _ := forward(t, there, "/x/b", here.ID())
		listen(t, there, "/x/a", dialTo(back.Addr()))
		_, dial := forward(t, here, "/x/a", there.ID())
		staysOpen(t, here, many, dial)
	})
}

// staysOpen opens many streams at a time, then checks that each of them closes cleanly.
func staysOpen(t *testing.T, n *core.Node, many int, dial func() *net.TCPConn) {
	t.Helper()
	clients := make([]*net.TCPConn, many)
	for i := range clients {
		clients[i] = dial()
		_, err := clients[i].Write([]byte("anybody?"))
		require.NoError(t, err)
	}
	eventually(t, func() bool { return len(n.Bridge().Streams()) >= many })
	for _, c := range clients {
		require.NoError(t, c.CloseWrite())
		_, err := io.ReadAll(c)
		require.NoError(t, err)
	}
	endedWith(t, n)
	for _, s := range n.Bridge().Ended() {
		assert.Empty(t, s.Reason)
	}
}
