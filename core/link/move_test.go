package link_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/message"
)

// openOn returns a function that opens a stream on a wanted connection, or else on any
// other.
func openOn(h host.Host, wanted func(network.Conn) bool) func(context.Context, peer.ID, protocol.ID) (network.Stream, error) {
	return func(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error) {
		for _, c := range h.Network().ConnsToPeer(p) {
			if !wanted(c) {
				continue
			}
			s, err := c.NewStream(ctx)
			if err == nil {
				_, err = multistream.SelectOneOf([]protocol.ID{proto}, s)
			}
			if err == nil {
				err = s.SetProtocol(proto)
			}
			return s, err
		}
		return h.NewStream(network.WithAllowLimitedConn(ctx, "test"), p, proto)
	}
}

func onCircuit(c network.Conn) bool {
	_, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

func isDirect(c network.Conn) bool { return !onCircuit(c) }

// met returns two nodes; the first has a circuit to the second.
func met(t *testing.T, wanted func(network.Conn) bool, b link.Options) (*node, *node) {
	t.Helper()
	r := hosttest.New(t, hosttest.Options{})
	limits := relay.DefaultResources()
	limits.Limit = nil
	hosttest.Relay(t, r, limits)
	ha := hosttest.New(t, hosttest.Options{})
	nb := newNode(t, b)
	require.NoError(t, nb.host.Connect(t.Context(), hosttest.Info(r)))
	_, err := client.Reserve(t.Context(), nb.host, hosttest.Info(r))
	require.NoError(t, err)
	circuit := r.Addrs()[0].Encapsulate(ma.StringCast("/p2p/" + r.ID().String() + "/p2p-circuit"))
	require.NoError(t, ha.Connect(t.Context(), peer.AddrInfo{ID: nb.id(), Addrs: []ma.Multiaddr{circuit}}))
	return withLinks(t, ha, link.Options{Open: openOn(ha, wanted)}), nb
}

// linksOn counts the streams of links on the wanted connections.
func linksOn(h host.Host, wanted func(network.Conn) bool) (n int) {
	for _, c := range h.Network().Conns() {
		for _, s := range c.GetStreams() {
			if s.Protocol() == link.Protocol && wanted(c) {
				n++
			}
		}
	}
	return n
}

func goDirect(t *testing.T, a, b *node) {
	t.Helper()
	require.NoError(t, a.host.Connect(network.WithForceDirectDial(t.Context(), "test"), hosttest.Info(b.host)))
}

func TestLinkOnACircuitMovesToADirectConnectionAndLosesNothing(t *testing.T) {
	const half = 100
	read := make(chan struct{})
	var nb *node
	a, nb := met(t, isDirect, link.Options{Deliver: func(ctx context.Context, m *message.Message) {
		select {
		case <-read:
			nb.keep(ctx, m)
		case <-ctx.Done():
		}
	}})
	answer, asked, cancelled := make(chan struct{}), make(chan struct{}, 2), make(chan struct{})
	_, err := nb.Respond("slow", func(ctx context.Context, m *message.Message) ([]byte, error) {
		asked <- struct{}{}
		select {
		case <-answer:
		case <-ctx.Done():
			close(cancelled)
		}
		return m.Data, nil
	})
	require.NoError(t, err)
	slow := make(chan error, 1)
	go func() {
		m, err := a.Request(t.Context(), nb.id(), "slow", []byte("x"))
		if err == nil {
			assert.Equal(t, "x", string(m.Data))
		}
		slow <- err
	}()
	<-asked
	ctx, takeBack := context.WithCancel(t.Context())
	takenBack := make(chan error, 1)
	go func() {
		_, err := a.Request(ctx, nb.id(), "slow", nil)
		takenBack <- err
	}()
	<-asked
	for i := range half {
		require.NoError(t, a.Send(t.Context(), nb.id(), event("n", fmt.Sprint(i)), link.Normal))
	}
	require.Equal(t, 1, linksOn(a.host, onCircuit))

	goDirect(t, a, nb)
	eventually(t, func() bool { return linksOn(a.host, isDirect) == 1 }, "the link has a stream on the direct connection")
	for i := range half {
		require.NoError(t, a.Post(t.Context(), nb.id(), event("n", fmt.Sprint(half+i)), link.Normal, nil))
	}
	close(read)
	for i, m := range nb.wait(t, 2*half) {
		require.Equal(t, fmt.Sprint(i), string(m.Data))
	}
	// Requests on the circuit are still answered there, and cancelled.
	require.Equal(t, 1, linksOn(a.host, onCircuit))
	takeBack()
	require.ErrorIs(t, <-takenBack, context.Canceled)
	<-cancelled
	close(answer)
	require.NoError(t, <-slow)
	for _, n := range []*node{a, nb} {
		eventually(t, func() bool { return linksOn(n.host, onCircuit) == 0 }, "nothing is left on the circuit")
	}
	assert.Equal(t, 1, a.Stats().Links)
	assert.Zero(t, a.Stats().Unsent)
	assert.Zero(t, a.Stats().Requests.Strays)

	// And back to the circuit, after the direct connection has ended.
	for _, c := range a.host.Network().ConnsToPeer(nb.id()) {
		if isDirect(c) {
			require.NoError(t, c.Close())
		}
	}
	eventually(t, func() bool { return a.Stats().Links == 0 }, "the link ends with its connection")
	require.NoError(t, a.Send(t.Context(), nb.id(), event("n", fmt.Sprint(2*half)), link.Normal))
	nb.wait(t, 2*half+1)
	assert.Equal(t, 1, linksOn(a.host, onCircuit))
}

func TestLinkThatCannotMoveStaysOnItsCircuit(t *testing.T) {
	a, b := met(t, onCircuit, link.Options{})
	require.NoError(t, a.Send(t.Context(), b.id(), event("n", "0"), link.Normal))
	goDirect(t, a, b)
	for i := range 100 {
		require.NoError(t, a.Send(t.Context(), b.id(), event("n", fmt.Sprint(i+1)), link.Normal))
	}
	for i, m := range b.wait(t, 101) {
		require.Equal(t, fmt.Sprint(i), string(m.Data))
	}
	eventually(t, func() bool { return linksOn(a.host, onCircuit) == 1 }, "the stream of the attempt is gone")
	assert.Zero(t, linksOn(a.host, isDirect))
}

func TestCloseEndsALinkThatIsMoving(t *testing.T) {
	a, b := met(t, isDirect, link.Options{Deliver: func(ctx context.Context, _ *message.Message) { <-ctx.Done() }})
	require.NoError(t, a.Send(t.Context(), b.id(), event("n", "0"), link.Normal))
	goDirect(t, a, b)
	eventually(t, func() bool { return linksOn(a.host, isDirect) == 1 }, "the link has a stream on the direct connection")
	told := make(chan error, 1)
	require.NoError(t, a.Post(t.Context(), b.id(), event("n", "1"), link.Normal, func(err error) { told <- err }))
	require.NoError(t, a.Close())
	select {
	case err := <-told:
		require.ErrorIs(t, err, link.ErrClosed)
	case <-time.After(soon):
		require.Fail(t, "the outcome was not reported")
	}
}
