package reservation_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
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

// granting makes a relay that answers the nth request, from 1, with the result of grant. If
// that is nil, the relay does not answer before the end of the test. asked counts the
// requests that the relay has read.
func granting(t *testing.T, grant func(n int32) *pbv2.Reservation) (r host.Host, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	released := make(chan struct{})
	r = hosttest.New(t, hosttest.Options{})
	t.Cleanup(func() { close(released) })
	r.SetStreamHandler(proto.ProtoIDv2Hop, func(s network.Stream) {
		var in pbv2.HopMessage
		if util.NewDelimitedReader(s, 4096).ReadMsg(&in) != nil {
			_ = s.Reset()
			return
		}
		n := asked.Add(1)
		granted := grant(n)
		if granted == nil {
			<-released
			_ = s.Reset()
			return
		}
		out := &pbv2.HopMessage{Type: pbv2.HopMessage_STATUS.Enum(), Status: pbv2.Status_OK.Enum(), Reservation: granted}
		_ = util.NewDelimitedWriter(s).WriteMsg(out)
		_ = s.Close()
	})
	return r, asked
}

func until(end uint64, addrs ...string) *pbv2.Reservation {
	r := &pbv2.Reservation{Expire: &end}
	for _, a := range addrs {
		r.Addrs = append(r.Addrs, ma.StringCast(a).Bytes())
	}
	return r
}

func in(d time.Duration) uint64 { return uint64(time.Now().Add(d).Unix()) }

func TestAReservationThatIsOverIsAFailureAndWaitsOutTheBackOff(t *testing.T) {
	for name, end := range map[string]uint64{
		"1970": 0, "an hour ago": in(-time.Hour), "now": in(0), "-1 s": math.MaxUint64, "beyond all time": math.MaxInt64,
	} {
		t.Run(name, func(t *testing.T) {
			r, asked := granting(t, func(int32) *pbv2.Reservation { return until(end) })
			k, _, told := keep(t, reservation.Options{MinBackoff: time.Hour, MaxBackoff: time.Hour}, hosttest.Info(r))
			for n := range int32(3) {
				failed := wait(t, told)
				require.ErrorContains(t, failed.lost, "reserve on "+r.ID().String())
				assert.True(t, failed.Expires.IsZero(), "an attempt failed, no reservation was lost")
				assert.Empty(t, k.Held())
				require.Equal(t, n+1, asked.Load(), "once per attempt")
				k.Wake()
			}
		})
	}
}

func TestAReservationForMillenniaIsRenewedWithinTheHourAndNotBefore(t *testing.T) {
	for name, end := range map[string]uint64{
		"300 years": in(290 * 365 * 24 * time.Hour), "year 10000": 253402300800, "a billion years": 31556952e9, "most": 1 << 61,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, asked := granting(t, func(int32) *pbv2.Reservation { return until(end) })
			k, _, told := keep(t, reservation.Options{}, hosttest.Info(r))
			require.NoError(t, wait(t, told).lost)
			assert.Never(t, func() bool { return asked.Load() > 1 }, 200*time.Millisecond, 10*time.Millisecond)
			require.Len(t, k.Held(), 1)
			assert.WithinDuration(t, time.Now(), k.Held()[0].Expires, time.Hour)
			assert.Empty(t, told)
		})
	}
}

// retries notes how long a keeper waits before it tries a relay again.
type retries struct {
	slog.Handler
	waits chan time.Duration
}

func (r *retries) Handle(_ context.Context, record slog.Record) error {
	record.Attrs(func(a slog.Attr) bool {
		if a.Key == "retry" {
			r.waits <- a.Value.Duration()
		}
		return true
	})
	return nil
}

func (r *retries) Enabled(context.Context, slog.Level) bool { return true }

func TestARelayThatGrantsOnlyMomentsIsAskedLessAndLessOften(t *testing.T) {
	r, _ := granting(t, func(int32) *pbv2.Reservation { return until(in(time.Hour)) })
	log := &retries{slog.DiscardHandler, make(chan time.Duration, 100)}
	const first = 16 * time.Millisecond
	_, h, told := keep(t, reservation.Options{MinBackoff: first, MaxBackoff: time.Hour, Logger: slog.New(log)}, hosttest.Info(r))
	for least := first / 2; least < 20*first; least *= 2 {
		require.NoError(t, wait(t, told).lost)
		require.NoError(t, r.Network().ClosePeer(h.ID()))
		require.Error(t, wait(t, told).lost)
		assert.GreaterOrEqual(t, <-log.waits, least)
	}
}

func TestOfARelaysAddressesThoseAreAnnouncedThatAreItsOwnAndNotTooMany(t *testing.T) {
	stranger := "12D3KooWEYuy4HNCGYsFFePJ1dPAKyUuhtMNpyiMDsZFBMJVHhmA"
	var own peer.ID
	given := []string{
		"/ip4/192.0.2.1/tcp/1/p2p/" + stranger,                              // of another relay
		"/ip4/192.0.2.2/tcp/1/p2p/" + stranger + "/p2p-circuit",             // of a circuit through another
		"/ip4/192.0.2.3/tcp/1/p2p/" + stranger + "/p2p-circuit/p2p/" + "%s", // the same
		"/p2p/" + stranger, "/p2p-circuit", "/unix/tmp/x", "/memory/1", "/ip4/0.0.0.0/tcp/1", "/ip6/::/tcp/1", "/tcp/1",
	}
	for i := range 100 {
		given = append(given, fmt.Sprintf("/ip4/192.0.2.9/tcp/%d", i+1), fmt.Sprintf("/ip4/192.0.2.9/tcp/%d", i+1))
	}
	r, _ := granting(t, func(int32) *pbv2.Reservation {
		addrs := make([]string, len(given))
		for i, a := range given {
			addrs[i] = a
			if i == 2 {
				addrs[i] = fmt.Sprintf(a, own)
			}
		}
		return until(in(time.Hour), addrs...)
	})
	own = r.ID()
	_, h, told := keep(t, reservation.Options{}, hosttest.Info(r))
	made := wait(t, told)
	require.NoError(t, made.lost)
	require.Len(t, made.Addrs, 32)
	for i, a := range made.Addrs {
		assert.Equal(t, fmt.Sprintf("/ip4/192.0.2.9/tcp/%d/p2p/%s/p2p-circuit", i+1, own), a.String())
	}
	assert.LessOrEqual(t, len(h.Addrs()), 32)
}

func TestWhereARelayGivesNoAddressOfItsOwnThoseItIsKnownByAreAnnounced(t *testing.T) {
	r, _ := granting(t, func(int32) *pbv2.Reservation { return until(in(time.Hour), "/ip4/0.0.0.0/tcp/1", "/memory/1") })
	_, _, told := keep(t, reservation.Options{}, hosttest.Info(r))
	made := wait(t, told)
	require.Len(t, made.Addrs, 1)
	assert.Equal(t, r.Addrs()[0].String()+"/p2p/"+r.ID().String()+"/p2p-circuit", made.Addrs[0].String())
}

func TestARelaysAddressesThatAreAddedAgainAndAgainAreBounded(t *testing.T) {
	k, err := reservation.New(nil, reservation.Options{})
	require.NoError(t, err)
	for i := range 500 {
		require.NoError(t, k.Add([]peer.AddrInfo{{ID: "relay", Addrs: []ma.Multiaddr{ma.StringCast(fmt.Sprintf("/ip4/192.0.2.1/tcp/%d", i))}}}))
	}
	addrs := k.Relays()[0].Addrs
	require.Len(t, addrs, 64)
	assert.Equal(t, "/ip4/192.0.2.1/tcp/499", addrs[0].String(), "the latest are remembered")
}

func TestTooManyRelaysAreRefusedAsAWhole(t *testing.T) {
	at := []ma.Multiaddr{ma.StringCast("/ip4/192.0.2.1/tcp/1")}
	k, err := reservation.New([]peer.AddrInfo{{ID: "first", Addrs: at}}, reservation.Options{})
	require.NoError(t, err)
	many := []peer.AddrInfo{{ID: "first", Addrs: at}}
	for i := range 255 {
		many = append(many, peer.AddrInfo{ID: peer.ID(fmt.Sprint("relay ", i)), Addrs: at})
	}
	require.ErrorContains(t, k.Add(append(many[:3:3], peer.AddrInfo{ID: "nowhere"})), "no address")
	require.ErrorContains(t, k.Add(append(many[:256:256], peer.AddrInfo{ID: "one more", Addrs: at})), "at most 256 relays")
	assert.Len(t, k.Relays(), 1)
	require.NoError(t, k.Add(many))
	assert.Len(t, k.Relays(), 256)
}

// silent are functions that make a relay that does not answer, each at another point, and
// return once a keeper waits for it.
var silent = map[string]func(t *testing.T) (k *reservation.Keeper, h host.Host){
	"connects": func(t *testing.T) (*reservation.Keeper, host.Host) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		accepted := make(chan net.Conn, 1)
		go func() {
			defer close(accepted)
			if c, err := l.Accept(); err == nil {
				accepted <- c
			}
		}()
		t.Cleanup(func() { _ = l.Close() })
		info := hosttest.Info(hosttest.New(t, hosttest.Options{}))
		info.Addrs = []ma.Multiaddr{ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", l.Addr().(*net.TCPAddr).Port))}
		k, h, _ := keep(t, reservation.Options{}, info)
		c := <-accepted
		t.Cleanup(func() { _ = c.Close() })
		return k, h
	},
	"reserves": func(t *testing.T) (*reservation.Keeper, host.Host) {
		r, asked := granting(t, func(int32) *pbv2.Reservation { return nil })
		k, h, _ := keep(t, reservation.Options{}, hosttest.Info(r))
		require.Eventually(t, func() bool { return asked.Load() == 1 }, limit, time.Millisecond)
		return k, h
	},
	"renews": func(t *testing.T) (*reservation.Keeper, host.Host) {
		r, asked := granting(t, func(n int32) *pbv2.Reservation {
			if n == 1 {
				return until(in(3 * time.Second))
			}
			return nil
		})
		k, h, _ := keep(t, reservation.Options{}, hosttest.Info(r))
		require.Eventually(t, func() bool { return asked.Load() == 2 }, limit, time.Millisecond)
		return k, h
	},
	"waits to renew": func(t *testing.T) (*reservation.Keeper, host.Host) {
		r, asked := granting(t, func(int32) *pbv2.Reservation { return until(in(time.Hour)) })
		k, h, _ := keep(t, reservation.Options{}, hosttest.Info(r))
		require.Eventually(t, func() bool { return asked.Load() == 1 }, limit, time.Millisecond)
		return k, h
	},
}

// The relays are silent until the test ends.
func TestWhileAKeeperWaitsForARelayItsHostConnects(t *testing.T) {
	t.Parallel()
	for what, begin := range silent {
		t.Run(what, func(t *testing.T) {
			_, h := begin(t)
			other := hosttest.New(t, hosttest.Options{})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			for range 120 { // each makes two events: more than all buffers for them hold
				require.NoError(t, h.Connect(ctx, hosttest.Info(other)))
				require.NoError(t, h.Network().ClosePeer(other.ID()))
			}
		})
	}
}

func TestCloseWaitsForNoRelay(t *testing.T) {
	t.Parallel()
	for what, begin := range silent {
		t.Run(what, func(t *testing.T) {
			k, _ := begin(t)
			closed := make(chan error, 1)
			go func() { closed <- k.Close() }()
			select {
			case err := <-closed:
				require.NoError(t, err)
			case <-time.After(limit): // less than libp2p waits for an answer
				require.Fail(t, "Close waits")
			}
		})
	}
}
