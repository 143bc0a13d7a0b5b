package core_test

import (
	"context"
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/discovery"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
)

// twice makes a node to which a peer has connected twice, like a peer that crashed and
// came back: each time from a new host with the same key. The connections whose indexes
// are in proxied pass a proxy. conns are in the order in which they were made.
func twice(t *testing.T, proxied ...int) (here *core.Node, way *proxy, p peer.ID, conns []network.Conn) {
	t.Helper()
	here, way = newNode(t, core.Options{PingInterval: -1}, hosttest.Options{}), newProxy(t)
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	direct := here.Host().Addrs()[0].String()
	for i := range 2 {
		at := direct
		if slices.Contains(proxied, i) {
			at = way.to(direct)
		}
		n := newNode(t, core.Options{PingInterval: -1}, hosttest.Options{Key: key, Listen: "none"})
		require.NoError(t, n.Host().Connect(bounded(t), peer.AddrInfo{ID: here.ID(), Addrs: []ma.Multiaddr{ma.StringCast(at)}}))
		p = n.ID()
		var made network.Conn
		require.Eventually(t, func() bool {
			for _, c := range here.Host().Network().ConnsToPeer(p) {
				if !slices.Contains(conns, c) {
					made = c
				}
			}
			return made != nil && known(here.Host(), p)
		}, limit, time.Millisecond)
		conns = append(conns, made)
		for range 3 * (1 - i) { // libp2p prefers the connection with the most streams
			s, err := made.NewStream(bounded(t))
			require.NoError(t, err)
			t.Cleanup(func() { _ = s.Reset() })
		}
	}
	return here, way, p, conns
}

// known reports whether h knows that the peer supports the echo protocol. If so,
// host.NewStream does not wait for an answer.
func known(h host.Host, p peer.ID) bool {
	protos, err := h.Peerstore().SupportsProtocols(p, core.EchoProtocol)
	return err == nil && len(protos) == 1
}

func TestAPeerThatIsBackIsReachedThoughItsDeadConnectionIsStillThere(t *testing.T) {
	t.Parallel()
	here, way, p, conns := twice(t, 0)
	way.stall()
	require.Equal(t, conns[1].RemoteMultiaddr(), peerOf(t, here, p).Addr)
	s, err := here.Open(bounded(t), p, core.EchoProtocol)
	require.NoError(t, err)
	assert.Same(t, conns[1], s.Conn(), "the connection that Peers reports")
	_ = s.Reset()
	_, err = here.Echo(bounded(t), p, []byte("are you back?"))
	require.NoError(t, err)
	_, err = here.Ping(bounded(t), p)
	require.NoError(t, err)
}

func TestAStreamThatNobodyAnswersIsOpenedOnAnotherConnection(t *testing.T) {
	t.Parallel()
	here, way, p, conns := twice(t, 1)
	way.stall()
	_, err := here.Echo(bounded(t), p, []byte("anybody?"))
	require.NoError(t, err)
	assert.False(t, conns[1].IsClosed(), "the dead connection is not detected yet")
}

func TestAStreamWhoseConnectionEndsIsOpenedOnAnother(t *testing.T) {
	t.Parallel()
	here, way, p, conns := twice(t, 1)
	way.stall()
	began := anotherStream(conns[1])
	opened := make(chan error, 1)
	go func() {
		s, err := here.Open(bounded(t), p, core.EchoProtocol)
		if err == nil {
			_ = s.Reset()
		}
		opened <- err
	}()
	require.Eventually(t, func() bool { return began() || len(opened) > 0 }, limit, time.Millisecond)
	require.NoError(t, conns[1].Close())
	require.NoError(t, <-opened)
}

func TestOpenEndsWithItsContext(t *testing.T) {
	t.Parallel()
	here, way, p, conns := twice(t, 0, 1)
	way.stall()
	ctx, cancel := context.WithCancel(bounded(t))
	began := anotherStream(conns[1])
	opened := make(chan error, 1)
	go func() {
		_, err := here.Open(ctx, p, core.EchoProtocol)
		opened <- err
	}()
	require.Eventually(t, began, limit, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-opened, context.Canceled)
}

// anotherStream returns a function that reports whether c has a stream that it does not
// have now. The number of streams would not show it: identify's stream may end meanwhile.
func anotherStream(c network.Conn) func() bool {
	now := c.GetStreams()
	return func() bool {
		return slices.ContainsFunc(c.GetStreams(), func(s network.Stream) bool { return !slices.Contains(now, s) })
	}
}

func TestAProtocolThatThePeerDoesNotSpeakIsAskedForOnce(t *testing.T) {
	here, _, p, conns := twice(t, 0)
	_, err := here.Open(bounded(t), p, "/x/none")
	require.ErrorContains(t, err, "not supported")
	for _, c := range conns {
		assert.False(t, c.IsClosed())
	}
}

func peerOf(t *testing.T, n *core.Node, p peer.ID) core.Peer {
	t.Helper()
	for _, info := range n.Peers() {
		if info.ID == p {
			return info
		}
	}
	require.Failf(t, "no peer", "%s is not connected", p)
	return core.Peer{}
}

func TestAnErrorSaysAllThatWasTried(t *testing.T) {
	a, b := connected(t)
	known := b.Host().Addrs()[0]
	require.NoError(t, b.Close())
	require.Eventually(t, func() bool { return len(a.Peers()) == 0 }, limit, time.Millisecond)
	_, err := a.Open(bounded(t), b.ID(), "/x/a")
	require.ErrorIs(t, err, discovery.ErrNotFound)
	assert.ErrorContains(t, err, known.String(), "the address that it was at")
	assert.ErrorContains(t, err, "refused")
	assert.ErrorContains(t, err, "nobody to ask")
	assert.NotContains(t, err.Error(), "\n")
}
