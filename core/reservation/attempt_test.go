package reservation_test

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	pbv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/util"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/reservation"
)

// broken makes a relay with several addresses. On connections to the addresses that breaks
// picks, it resets requests for reservations. asked returns the number of requests at an
// address.
func broken(t *testing.T, addrs int, breaks func(a ma.Multiaddr) bool) (r host.Host, asked func(a string) int32) {
	t.Helper()
	r = hosttest.New(t, hosttest.Options{})
	for range addrs - 1 {
		require.NoError(t, r.Network().Listen(ma.StringCast("/ip4/127.0.0.1/tcp/0")))
	}
	var counts sync.Map
	r.SetStreamHandler(proto.ProtoIDv2Hop, func(s network.Stream) {
		at := s.Conn().LocalMultiaddr()
		count, _ := counts.LoadOrStore(at.String(), new(atomic.Int32))
		count.(*atomic.Int32).Add(1)
		var request pbv2.HopMessage
		if breaks(at) || util.NewDelimitedReader(s, 4096).ReadMsg(&request) != nil {
			_ = s.Reset()
			return
		}
		out := &pbv2.HopMessage{Type: pbv2.HopMessage_STATUS.Enum(), Status: pbv2.Status_OK.Enum(), Reservation: until(in(time.Hour))}
		_ = util.NewDelimitedWriter(s).WriteMsg(out)
		_ = s.Close()
	})
	return r, func(a string) int32 {
		if count, ok := counts.Load(a); ok {
			return count.(*atomic.Int32).Load()
		}
		return 0
	}
}

// theFirst returns a breaks function that picks the first address it is called with, and a
// function that returns that address.
func theFirst() (breaks func(a ma.Multiaddr) bool, first func() string) {
	var picked atomic.Pointer[string]
	return func(a ma.Multiaddr) bool {
		s := a.String()
		picked.CompareAndSwap(nil, &s)
		return *picked.Load() == s
	}, func() string { return *picked.Load() }
}

func TestAnAddressThatConnectsAndCarriesNoReservationIsLeftForAnother(t *testing.T) {
	breaks, first := theFirst()
	r, asked := broken(t, 2, breaks)
	// If the keeper backed off, the test would fail.
	k, h, told := keep(t, reservation.Options{MinBackoff: time.Hour, MaxBackoff: time.Hour}, hosttest.Info(r))
	made := wait(t, told)
	require.NoError(t, made.lost)
	assert.Len(t, k.Held(), 1)
	for _, c := range h.Network().ConnsToPeer(r.ID()) {
		assert.NotEqual(t, first(), c.RemoteMultiaddr().String(), "the connection that carries no streams is closed")
	}
	assert.Equal(t, int32(1), asked(first()))
}

func TestAnAddressThatCarriedNoReservationIsNotTriedAgainAtOnceAfterALoss(t *testing.T) {
	breaks, first := theFirst()
	r, asked := broken(t, 3, breaks)
	_, h, told := keep(t, reservation.Options{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond}, hosttest.Info(r))
	require.NoError(t, wait(t, told).lost)
	for range 3 {
		require.NoError(t, r.Network().ClosePeer(h.ID()))
		require.Error(t, wait(t, told).lost)
		require.NoError(t, wait(t, told).lost)
	}
	assert.Equal(t, int32(1), asked(first()))
}

func TestAnAttemptThatFailsOverAllAddressesNamesEach(t *testing.T) {
	r, asked := broken(t, 3, func(ma.Multiaddr) bool { return true })
	k, _, told := keep(t, reservation.Options{MinBackoff: time.Hour, MaxBackoff: time.Hour}, hosttest.Info(r))
	for n := range int32(2) {
		failed := wait(t, told)
		assert.True(t, failed.Expires.IsZero())
		for _, a := range r.Addrs() {
			require.ErrorContains(t, failed.lost, "over "+a.String())
			assert.Equal(t, n+1, asked(a.String()), "once per attempt")
		}
		k.Wake()
	}
}

func TestAnAddressWhereNobodyAnswersIsNamedToo(t *testing.T) {
	breaks, first := theFirst()
	r, _ := broken(t, 1, breaks)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	info := hosttest.Info(r)
	info.Addrs = append(info.Addrs, ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", l.Addr().(*net.TCPAddr).Port)))
	_, _, told := keep(t, reservation.Options{MinBackoff: time.Hour, MaxBackoff: time.Hour}, info)
	failed := wait(t, told)
	require.ErrorContains(t, failed.lost, "over "+first())
	require.ErrorContains(t, failed.lost, info.Addrs[1].String())
}

func TestWhatARelayAnswersIsAskedOnceAndTheConnectionStays(t *testing.T) {
	refusing := func(r host.Host) {
		r.SetStreamHandler(proto.ProtoIDv2Hop, func(s network.Stream) {
			var request pbv2.HopMessage
			_ = util.NewDelimitedReader(s, 4096).ReadMsg(&request)
			_ = util.NewDelimitedWriter(s).WriteMsg(&pbv2.HopMessage{Type: pbv2.HopMessage_STATUS.Enum(), Status: pbv2.Status_RESERVATION_REFUSED.Enum()})
			_ = s.Close()
		})
	}
	for name, serve := range map[string]func(r host.Host){
		"a refusal": refusing, "that it is no relay": func(host.Host) {},
	} {
		t.Run(name, func(t *testing.T) {
			r := hosttest.New(t, hosttest.Options{})
			require.NoError(t, r.Network().Listen(ma.StringCast("/ip4/127.0.0.1/tcp/0")))
			serve(r)
			_, h, told := keep(t, reservation.Options{MinBackoff: time.Hour, MaxBackoff: time.Hour}, hosttest.Info(r))
			require.ErrorContains(t, wait(t, told).lost, "reserve on "+r.ID().String())
			assert.Len(t, h.Network().ConnsToPeer(r.ID()), 1)
			assert.Empty(t, told)
		})
	}
}

// The node knows the relay by one address, but is connected at another, which the relay has
// announced.
func TestAConnectionAtAnAddressThatNobodyGaveIsLeftToo(t *testing.T) {
	breaks, first := theFirst()
	r, _ := broken(t, 2, breaks)
	given := peer.AddrInfo{ID: r.ID(), Addrs: r.Addrs()[:1]}
	k, err := reservation.New([]peer.AddrInfo{given}, reservation.Options{MinBackoff: time.Hour, MaxBackoff: time.Hour})
	require.NoError(t, err)
	h := hosttest.New(t, hosttest.Options{Listen: "none", AddrsFactory: k.AddrsFactory})
	require.NoError(t, h.Connect(t.Context(), peer.AddrInfo{ID: r.ID(), Addrs: r.Addrs()[1:]}))
	told := make(chan news, 100)
	require.NoError(t, k.Start(h, func(r reservation.Reservation, lost error) { told <- news{r, lost} }))
	t.Cleanup(func() { assert.NoError(t, k.Close()) })
	require.NoError(t, wait(t, told).lost)
	assert.Equal(t, r.Addrs()[1].String(), first())
}

func TestWhoIsRefusedIsToldWhyAndLooksAtItsNextRelayAtOnce(t *testing.T) {
	full := hosttest.New(t, hosttest.Options{})
	tokens := make(chan string, 10)
	full.SetStreamHandler(proto.ProtoIDv2Hop, func(s network.Stream) {
		defer s.Close()
		in := make([]byte, 4096)
		n, _ := s.Read(in)
		tokens <- string(reservation.HopField(in[:n], reservation.TokenField))
		var out bytes.Buffer
		_ = util.NewDelimitedWriter(&out).WriteMsg(&pbv2.HopMessage{Type: pbv2.HopMessage_STATUS.Enum(), Status: pbv2.Status_RESERVATION_REFUSED.Enum()})
		_, _ = s.Write(reservation.AppendHopField(out.Bytes(), reservation.ReasonField, []byte("all 7 are taken\x1b[2J\xff (--peers)"+strings.Repeat("!", 1000))))
	})
	roomy, _ := broken(t, 1, func(ma.Multiaddr) bool { return false })
	// One slot only. If the keeper backed off, the test would fail.
	k, _, told := keep(t, reservation.Options{Max: 1, MinBackoff: time.Hour, MaxBackoff: time.Hour, Token: "abc"}, hosttest.Info(full))
	failed := wait(t, told)
	require.ErrorContains(t, failed.lost, "all 7 are taken[2J (--peers)!")
	assert.Less(t, len(failed.lost.Error()), 900, "what a relay says is bounded")
	assert.Equal(t, full.ID(), failed.Relay)
	assert.Equal(t, "abc", <-tokens)
	require.NoError(t, k.Add([]peer.AddrInfo{hosttest.Info(roomy)}))
	made := wait(t, told)
	require.NoError(t, made.lost)
	assert.Equal(t, roomy.ID(), made.Relay)
}

func TestAFieldOfAHopMessageIsRead(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, util.NewDelimitedWriter(&out).WriteMsg(&pbv2.HopMessage{Type: pbv2.HopMessage_RESERVE.Enum()}))
	whole := reservation.AppendHopField(out.Bytes(), reservation.TokenField, []byte("abc"))
	assert.Equal(t, "abc", string(reservation.HopField(whole, reservation.TokenField)))
	assert.Nil(t, reservation.HopField(whole, reservation.ReasonField))
	assert.Nil(t, reservation.HopField(out.Bytes(), reservation.TokenField))
	for n := range whole {
		assert.Nil(t, reservation.HopField(whole[:n], reservation.TokenField))
	}
	var m pbv2.HopMessage
	require.NoError(t, util.NewDelimitedReader(bytes.NewReader(whole), 4096).ReadMsg(&m), "others skip it")
	assert.Equal(t, pbv2.HopMessage_RESERVE, m.GetType())
}
