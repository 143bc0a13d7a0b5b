package core_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
)

func TestServicesOfPeersThatAnswerAreNotHeldUpByThoseThatDoNot(t *testing.T) {
	t.Parallel()
	asking := newNode(t, core.Options{}, hosttest.Options{})
	offering := newNode(t, core.Options{}, hosttest.Options{})
	ignore := bridge.Func(func(context.Context, net.Conn) {})
	_, err := offering.Listen(bounded(t), "/x/site", ignore, bridge.Announce("a site"))
	require.NoError(t, err)
	silent := hosttest.New(t, hosttest.Options{})
	silent.SetStreamHandler(bridge.Protocol, func(network.Stream) {})
	other := hosttest.New(t, hosttest.Options{})
	for _, info := range []peer.AddrInfo{hosttest.Info(offering.Host()), hosttest.Info(silent), hosttest.Info(other)} {
		require.NoError(t, asking.ConnectPeer(bounded(t), info))
	}
	stranger := hosttest.New(t, hosttest.Options{}) // not connected

	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	answers := asking.ServicesOf(ctx, []peer.ID{silent.ID(), offering.ID(), other.ID(), stranger.ID()})
	require.Len(t, answers, 4)
	assert.ErrorIs(t, answers[0].Err, context.DeadlineExceeded)
	assert.Equal(t, core.Answer{Peer: offering.ID(), Services: []bridge.Service{{Protocol: "/x/site", Description: "a site"}}}, answers[1])
	assert.ErrorIs(t, answers[2].Err, bridge.NoSuchProtocol)
	assert.ErrorIs(t, answers[3].Err, network.ErrNoConn)
	ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	assert.Len(t, asking.ServicesOf(ctx, nil), 3, "those that are connected")
}
