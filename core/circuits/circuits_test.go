package circuits_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

// silence makes a relay read requests but answer none.
func silence(r host.Host) (asked, ended chan struct{}) {
	asked, ended = make(chan struct{}, 64), make(chan struct{}, 64)
	r.SetStreamHandler(proto.ProtoIDv2Hop, func(s network.Stream) {
		asked <- struct{}{}
		for err := error(nil); err == nil; {
			_, err = s.Read(make([]byte, 1024))
		}
		_ = s.Reset()
		ended <- struct{}{}
	})
	return asked, ended
}

// through returns the address of a circuit. The one at the lowest port is dialled first.
func through(relay host.Host, at ma.Multiaddr) ma.Multiaddr {
	return ma.StringCast(at.String() + "/p2p/" + relay.ID().String() + "/p2p-circuit")
}

func testContext(t *testing.T) context.Context {
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second) // libp2p waits a minute for a silent relay
	t.Cleanup(stop)
	return ctx
}

// called makes a peer with a reservation on a relay.
func called(t *testing.T, on host.Host) host.Host {
	p := hosttest.New(t, hosttest.Options{Listen: "none"})
	require.NoError(t, p.Connect(t.Context(), hosttest.Info(on)))
	_, err := client.Reserve(t.Context(), p, hosttest.Info(on))
	require.NoError(t, err)
	return p
}

func TestAPeerIsReachedThroughTheRelayThatAnswers(t *testing.T) {
	one, two := hosttest.New(t, hosttest.Options{}), hosttest.New(t, hosttest.Options{})
	asked, ended := silence(one)
	hosttest.Relay(t, two, relay.DefaultResources())
	p := called(t, two)
	caller := hosttest.New(t, hosttest.Options{Listen: "none"})
	for _, r := range []host.Host{one, two} {
		require.NoError(t, caller.Connect(t.Context(), hosttest.Info(r)))
	}
	// The silent relay is asked first. If each of its addresses were dialled, there would be
	// no room for the other relay.
	addrs := []ma.Multiaddr{through(two, two.Addrs()[0])}
	for port := range 12 {
		addrs = append(addrs, through(one, ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port+1))))
	}
	ctx := network.WithAllowLimitedConn(testContext(t), "test")
	require.NoError(t, caller.Connect(ctx, peer.AddrInfo{ID: p.ID(), Addrs: addrs}))
	assert.Equal(t, network.Limited, caller.Network().Connectedness(p.ID()))
	<-asked
	<-ended // the caller has given up the request to the silent relay
	assert.Empty(t, asked, "it was asked once")
}

func TestADialThatNobodyWaitsForEnds(t *testing.T) {
	one := hosttest.New(t, hosttest.Options{})
	asked, ended := silence(one)
	p := hosttest.New(t, hosttest.Options{Listen: "none"})
	caller := hosttest.New(t, hosttest.Options{Listen: "none"})
	ctx, stop := context.WithCancel(testContext(t))
	dialled := make(chan error, 1)
	go func() {
		dialled <- caller.Connect(network.WithAllowLimitedConn(ctx, "test"), peer.AddrInfo{ID: p.ID(), Addrs: []ma.Multiaddr{through(one, one.Addrs()[0])}})
	}()
	<-asked
	stop()
	require.Error(t, <-dialled)
	select {
	case <-ended:
	case <-testContext(t).Done():
		require.Fail(t, "the request is still open")
	}
}

func TestAPeerOnSeveralRelaysIsReachedOnce(t *testing.T) {
	one, two := hosttest.New(t, hosttest.Options{}), hosttest.New(t, hosttest.Options{})
	for _, r := range []host.Host{one, two} {
		hosttest.Relay(t, r, relay.DefaultResources())
	}
	p := called(t, one)
	_, err := client.Reserve(t.Context(), p, hosttest.Info(two))
	require.NoError(t, err)
	caller := hosttest.New(t, hosttest.Options{Listen: "none"})
	ctx := network.WithAllowLimitedConn(testContext(t), "test")
	require.NoError(t, caller.Connect(ctx, peer.AddrInfo{ID: p.ID(), Addrs: []ma.Multiaddr{through(one, one.Addrs()[0]), through(two, two.Addrs()[0])}}))
	assert.Len(t, caller.Network().ConnsToPeer(p.ID()), 1)
}
