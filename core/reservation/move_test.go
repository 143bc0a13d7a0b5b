package reservation_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/reservation"
)

// tell makes a relay tell a peer to move.
func tell(t *testing.T, relay host.Host, p peer.ID, n reservation.Notice) (s network.Stream, moving bool, err error) {
	t.Helper()
	s, err = relay.NewStream(t.Context(), p, reservation.MoveProtocol)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Reset() })
	moving, err = reservation.Tell(s, n)
	return s, moving, err
}

func moved(t *testing.T, s network.Stream) {
	t.Helper()
	require.NoError(t, reservation.Moved(s))
	require.NoError(t, s.Close())
}

func named(hosts ...host.Host) (addrs []string) {
	for _, h := range hosts {
		for _, a := range h.Addrs() {
			addrs = append(addrs, fmt.Sprintf("%s/p2p/%s", a, h.ID()))
		}
	}
	return addrs
}

// others returns the relay on which k holds a reservation, and the other one.
func others(k *reservation.Keeper, relays ...host.Host) (held, other host.Host) {
	held, other = relays[0], relays[1]
	if k.Held()[0].Relay == other.ID() {
		return other, held
	}
	return held, other
}

func TestWhoIsToldToMoveHasAnotherReservationBeforeItGivesItsOwnUp(t *testing.T) {
	one, two := newRelay(t, hosttest.Options{}), newRelay(t, hosttest.Options{})
	k, h, told := keep(t, reservation.Options{Max: 1}, hosttest.Info(one), hosttest.Info(two))
	require.NoError(t, wait(t, told).lost)
	left, next := others(k, one, two)

	// A circuit through the relay that the node leaves stays open after the move.
	caller := hosttest.New(t, hosttest.Options{Listen: "none"})
	h.SetStreamHandler("/held", func(s network.Stream) { _, _ = s.Write([]byte("x")) })
	at := ma.StringCast(named(left)[0] + "/p2p-circuit")
	require.NoError(t, caller.Connect(t.Context(), peer.AddrInfo{ID: h.ID(), Addrs: []ma.Multiaddr{at}}))

	s, moving, err := tell(t, left, h.ID(), reservation.Notice{Within: 3600})
	require.NoError(t, err)
	require.True(t, moving)
	made := wait(t, told)
	require.NoError(t, made.lost, "first the next one is made")
	assert.Equal(t, next.ID(), made.Relay)
	lost := wait(t, told)
	require.ErrorIs(t, lost.lost, reservation.ErrMoved)
	assert.Equal(t, left.ID(), lost.Relay)
	moved(t, s)
	through, err := caller.NewStream(network.WithAllowLimitedConn(t.Context(), "test"), h.ID(), "/held")
	require.NoError(t, err)
	_, err = through.Read(make([]byte, 1))
	require.NoError(t, err)
	assert.Equal(t, network.Connected, h.Network().Connectedness(left.ID()))

	require.NoError(t, caller.Close())
	require.Eventually(t, func() bool { return h.Network().Connectedness(left.ID()) == network.NotConnected }, limit, 5*time.Millisecond,
		"nothing is left there when the circuit has ended")
}

func TestWhoHasNoOtherRelayMovesToThoseThatAreNamed(t *testing.T) {
	one, two := newRelay(t, hosttest.Options{}), newRelay(t, hosttest.Options{})
	k, h, told := keep(t, reservation.Options{}, hosttest.Info(one))
	require.NoError(t, wait(t, told).lost)
	_, moving, err := tell(t, one, h.ID(), reservation.Notice{Within: 60, Relays: named(one, h)})
	require.NoError(t, err)
	assert.False(t, moving, "there is nowhere to move to")
	assert.Len(t, k.Held(), 1)

	s, moving, err := tell(t, one, h.ID(), reservation.Notice{Within: 60, Relays: append([]string{"/nonsense"}, named(two)...)})
	require.NoError(t, err)
	require.True(t, moving)
	moved(t, s)
	require.Len(t, k.Held(), 1)
	assert.Equal(t, two.ID(), k.Held()[0].Relay)
}

func TestWhoCannotReplaceAllItsReservationsMovesWithOne(t *testing.T) {
	one, two := newRelay(t, hosttest.Options{}), newRelay(t, hosttest.Options{})
	nobody := hosttest.Unmanaged(t, hosttest.Options{})
	gone := hosttest.Info(nobody)
	require.NoError(t, nobody.Close())
	_, h, told := keep(t, reservation.Options{}, hosttest.Info(one), hosttest.Info(two), gone)
	for made := 0; made < 2; {
		if wait(t, told).lost == nil {
			made++
		}
	}
	s, moving, err := tell(t, one, h.ID(), reservation.Notice{Within: 1})
	require.NoError(t, err)
	require.True(t, moving)
	moved(t, s)
}

func TestANoticeIsHeededOnlyFromARelayThatIsHeldAndAsFarAsItMakesSense(t *testing.T) {
	one, stranger := newRelay(t, hosttest.Options{}), hosttest.New(t, hosttest.Options{})
	k, h, told := keep(t, reservation.Options{MinBackoff: time.Hour, MaxBackoff: time.Hour}, hosttest.Info(one))
	require.NoError(t, wait(t, told).lost)
	require.NoError(t, h.Connect(t.Context(), hosttest.Info(stranger)))
	_, _, err := tell(t, stranger, h.ID(), reservation.Notice{Relays: named(stranger)})
	require.Error(t, err)

	for _, notice := range []string{"", "{", `[1]`, `{"within":"soon"}`, `{"relays":["` + strings.Repeat("x", 1<<20) + `"]}`} {
		s, err := one.NewStream(t.Context(), h.ID(), reservation.MoveProtocol)
		require.NoError(t, err)
		_, _ = s.Write([]byte(notice + "\n"))
		_ = s.CloseWrite()
		_, err = s.Read(make([]byte, 1))
		require.Error(t, err, notice)
	}

	var many []string
	for range 50 {
		id, err := peer.IDFromPrivateKey(newKey(t))
		require.NoError(t, err)
		many = append(many, "/ip4/127.0.0.1/tcp/1/p2p/"+id.String())
	}
	_, moving, err := tell(t, one, h.ID(), reservation.Notice{Within: -1, Relays: many})
	require.NoError(t, err)
	assert.True(t, moving)
	assert.Len(t, k.Relays(), 1+8)
	assert.Len(t, k.Held(), 1, "the reservation is kept until there is another")
}

func TestAPeerWhoseReservationTheRelayEndsIsToldWhy(t *testing.T) {
	one := newRelay(t, hosttest.Options{})
	k, h, told := keep(t, reservation.Options{MinBackoff: time.Hour, MaxBackoff: time.Hour}, hosttest.Info(one))
	require.NoError(t, wait(t, told).lost)
	_, moving, err := tell(t, one, h.ID(), reservation.Notice{Reason: "the token\n 7 is revoked" + strings.Repeat("x", 1000), Limit: "access"})
	require.NoError(t, err)
	assert.False(t, moving)
	assert.Len(t, k.Held(), 1, "it is the relay that ends the connection")
	require.NoError(t, one.Network().ClosePeer(h.ID()))
	refused, ok := errors.AsType[*reservation.RefusedError](wait(t, told).lost)
	require.True(t, ok)
	assert.Equal(t, one.ID(), refused.Relay)
	assert.Equal(t, "access", refused.Limit)
	assert.Contains(t, refused.Reason, "the token 7 is revoked")
	assert.LessOrEqual(t, len(refused.Reason), 512)

	// The reason applied to that connection, not to the next one.
	k.Wake()
	require.NoError(t, wait(t, told).lost)
	require.NoError(t, one.Network().ClosePeer(h.ID()))
	lost := wait(t, told).lost
	require.Error(t, lost)
	assert.NotContains(t, lost.Error(), "revoked")
}
