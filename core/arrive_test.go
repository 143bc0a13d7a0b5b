package core_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/reservation"
)

func TestACallReachesAPeerThatIsJustArriving(t *testing.T) {
	calls := map[string]func(ctx context.Context, from *core.Node, to peer.ID) error{
		"connect": func(ctx context.Context, from *core.Node, to peer.ID) error {
			_, err := from.Connect(ctx, to.String())
			return err
		},
		"ping": func(ctx context.Context, from *core.Node, to peer.ID) error {
			_, err := from.Ping(ctx, to)
			return err
		},
		"services": func(ctx context.Context, from *core.Node, to peer.ID) error {
			_, err := from.Services(ctx, to)
			return err
		},
		"echo": func(ctx context.Context, from *core.Node, to peer.ID) error {
			_, err := from.Echo(ctx, to, []byte("x"))
			return err
		},
		"send": func(ctx context.Context, from *core.Node, to peer.ID) error {
			return from.Send(ctx, to, "hello", []byte("x"))
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relayHost := hosttest.New(t, hosttest.Options{})
			hosttest.Relay(t, relayHost, relay.Resources{MaxReservations: 10, MaxCircuits: 10, MaxReservationsPerIP: 10, MaxReservationsPerASN: 10, BufferSize: 2048, ReservationTTL: time.Hour})
			key, _, err := crypto.GenerateEd25519Key(rand.Reader)
			require.NoError(t, err)
			id, err := peer.IDFromPrivateKey(key)
			require.NoError(t, err)
			from := relayed(t, relayHost) // it holds no reservation yet, either
			called := make(chan error, 1)
			go func() { called <- call(bounded(t), from, id) }()
			require.Eventually(t, func() bool { // from has guessed that the peer is at the relay, where it is not yet
				return len(from.Host().Peerstore().Addrs(id)) > 0
			}, limit, time.Millisecond)
			keeper, err := reservation.New([]peer.AddrInfo{hosttest.Info(relayHost)}, reservation.Options{})
			require.NoError(t, err)
			newNode(t, core.Options{Reservations: keeper}, hosttest.Options{Key: key, Listen: "none", AddrsFactory: keeper.AddrsFactory})
			require.NoError(t, <-called)
		})
	}
}

func TestACallToAPeerThatDoesNotArriveEndsWithItsLimit(t *testing.T) {
	t.Parallel()
	relayHost := hosttest.New(t, hosttest.Options{})
	from := relayed(t, relayHost)
	ctx, cancel := context.WithCancel(t.Context())
	called := make(chan error, 1)
	nobody := hosttest.Info(hosttest.New(t, hosttest.Options{Listen: "none"})).ID
	go func() {
		_, err := from.Connect(ctx, nobody.String())
		called <- err
	}()
	require.Eventually(t, func() bool { return len(from.Host().Peerstore().Addrs(nobody)) > 0 }, limit, time.Millisecond)
	cancel()
	require.ErrorContains(t, <-called, nobody.String())
	require.Error(t, from.ConnectPeer(bounded(t), peer.AddrInfo{ID: nobody}), "the peer has no address")
}
