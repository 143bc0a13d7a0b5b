package reservation_test

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	pbv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/reservation"
)

func TestAReservationDoesNotWaitUntilTheRelayHasSaidWhoItIs(t *testing.T) {
	r, _ := granting(t, func(int32) *pbv2.Reservation { return until(in(time.Hour)) })
	released := make(chan struct{})
	t.Cleanup(func() { close(released) })
	r.SetStreamHandler(identify.ID, func(s network.Stream) {
		<-released
		_ = s.Reset()
	})
	k, h, told := keep(t, reservation.Options{})
	sub, err := h.EventBus().Subscribe([]any{new(event.EvtPeerIdentificationFailed), new(event.EvtPeerIdentificationCompleted)})
	require.NoError(t, err)
	defer sub.Close()
	require.NoError(t, k.Add([]peer.AddrInfo{hosttest.Info(r)}))
	require.NoError(t, wait(t, told).lost)
	assert.Empty(t, sub.Out(), "identify has neither completed nor failed")
}

func TestAnAnswerThatAgreesOnSomethingElseIsNone(t *testing.T) {
	r := hosttest.New(t, hosttest.Options{})
	r.Network().SetStreamHandler(func(s network.Stream) {
		_, _ = s.Write([]byte("\x13/multistream/1.0.0\n\x03/x\n"))
		_ = s.CloseWrite()
	})
	_, _, told := keep(t, reservation.Options{MinBackoff: time.Hour, MaxBackoff: time.Hour}, hosttest.Info(r))
	require.ErrorContains(t, wait(t, told).lost, "was to agree on "+string(proto.ProtoIDv2Hop)+`, and says "/x"`)
}
