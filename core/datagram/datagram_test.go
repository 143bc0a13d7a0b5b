//go:build !js

package datagram_test

import (
	"context"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	webtransport "github.com/libp2p/go-libp2p/p2p/transport/webtransport"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/datagram"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

// ends returns the two ends of a new connection.
func ends(t *testing.T, transport any, listen string) (a, b network.Conn) {
	newHost := func(opts ...libp2p.Option) host.Host {
		h, err := libp2p.New(append(opts, libp2p.Transport(transport), libp2p.DisableRelay())...)
		require.NoError(t, err)
		t.Cleanup(func() { _ = h.Close() })
		return h
	}
	here, there := newHost(libp2p.NoListenAddrs), newHost(libp2p.ListenAddrStrings(listen))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, here.Connect(ctx, peer.AddrInfo{ID: there.ID(), Addrs: there.Addrs()}))
	require.Eventually(t, func() bool { return len(there.Network().ConnsToPeer(here.ID())) == 1 }, 20*time.Second, time.Millisecond)
	return here.Network().ConnsToPeer(there.ID())[0], there.Network().ConnsToPeer(here.ID())[0]
}

// inbox collects what a lane receives.
type inbox chan string

func (in inbox) put(data []byte) { in <- string(data) }

// open opens a lane on one end of a connection.
func open(t *testing.T, c network.Conn, id uint32, role datagram.Role) (*datagram.Lane, inbox) {
	in := make(inbox, 100)
	l, err := datagram.Open(c, id, role, in.put)
	require.NoError(t, err)
	t.Cleanup(l.Close)
	return l, in
}

// passes sends data until it arrives, because any datagram may get lost.
func passes(t *testing.T, from *datagram.Lane, to inbox, data string) {
	t.Helper()
	for range 200 {
		require.NoError(t, from.Send([]byte(data)))
		select {
		case got := <-to:
			require.Equal(t, data, got)
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
	require.Fail(t, "nothing comes")
}

func TestLanesShareTheDatagramsOfAConnection(t *testing.T) {
	for name, of := range map[string]struct {
		transport any
		listen    string
	}{
		"quic":         {quic.NewTransport, "/ip4/127.0.0.1/udp/0/quic-v1"},
		"webtransport": {webtransport.New, "/ip4/127.0.0.1/udp/0/quic-v1/webtransport"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := ends(t, of.transport, of.listen)
			a1, inA1 := open(t, a, 1, datagram.Opening)
			b1, inB1 := open(t, b, 1, datagram.Opened)
			a2, inA2 := open(t, a, 1, datagram.Opened) // the same lane ID, opened by the other end
			b2, inB2 := open(t, b, 1, datagram.Opening)
			passes(t, a1, inB1, "a1")
			passes(t, b1, inA1, "b1")
			passes(t, a2, inB2, "a2")
			passes(t, b2, inA2, "b2")
			passes(t, a1, inB1, string(make([]byte, datagram.MaxSize)))
			passes(t, b1, inA1, string(make([]byte, datagram.MaxSize)))
			require.ErrorContains(t, a1.Send(make([]byte, datagram.MaxSize+1)), "at most")

			_, err := datagram.Open(a, 1, datagram.Opening, inA1.put)
			require.ErrorContains(t, err, "already")
			a1.Close()
			again, inAgain := open(t, a, 1, datagram.Opening)
			a1.Close()
			passes(t, b1, inAgain, "a lane that was closed before leaves its successor alone")
			again.Close()
			a2.Close()
			a2.Close()
			_, inA3 := open(t, a, 3, datagram.Opening)
			b3, _ := open(t, b, 3, datagram.Opened)
			passes(t, b3, inA3, "after all lanes were closed")

			require.NoError(t, a.Close())
			assert.Eventually(t, func() bool { return b1.Send([]byte("x")) != nil }, 20*time.Second, time.Millisecond)
		})
	}
}

func TestAConnectionOverTCPHasNoDatagrams(t *testing.T) {
	a, _ := ends(t, tcp.NewTCPTransport, "/ip4/127.0.0.1/tcp/0")
	_, err := datagram.Open(a, 1, datagram.Opening, nil)
	require.ErrorIs(t, err, datagram.ErrNone)
}
