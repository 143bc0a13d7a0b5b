package world_test

import (
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world"
)

func TestAHostThatIsStartedAnewGoesOnInItsEpoch(t *testing.T) {
	host, room, _, stand, stands := stood(t, 1)
	_, err := handOver(t, room)
	require.NoError(t, err)
	held, err := stands[0].Wait(bounded(t))
	require.NoError(t, err)
	require.ErrorAs(t, room.Wait(bounded(t)), new(*world.Moved))

	opts := ledgerOptions
	opts.Store = newDisk()
	again, err := host.rooms.StandBy(stand[0].ID(), new(ledger), opts)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(held.Standbys()) == 1 }, limit, time.Millisecond)
	_, err = handOver(t, held)
	require.NoError(t, err)
	back, err := again.Wait(bounded(t))
	require.NoError(t, err)
	require.Equal(t, uint32(3), back.Epoch())
	require.NoError(t, back.Close())

	room, err = host.rooms.Host(new(ledger), opts)
	require.NoError(t, err)
	require.Equal(t, uint32(3), room.Epoch(), "it takes precedence over a host of an earlier epoch")
	require.NoError(t, room.NameStandbys(stand[0].ID()))
	standBy(t, stand[0], host.ID())
	require.Eventually(t, func() bool { return slices.Equal(room.Standbys(), []peer.ID{stand[0].ID()}) }, limit, time.Millisecond)
	require.NoError(t, room.Close())

	other := newHosting(t)
	elsewhere, err := other.rooms.Host(new(ledger), opts)
	require.NoError(t, err)
	require.Zero(t, elsewhere.Epoch(), "a claim is of the peer that made it")
}

// still is a ledger with entities that never change.
type still struct {
	ledger
	restored []world.Entity
}

func (s *still) Start(w *world.World) {
	s.ledger.Start(w)
	if !w.Restored() {
		w.Spawn(1, 2)
		w.Spawn(3, 4)
	}
	s.has = make([]uint32, 2)
}

func (s *still) Save(_ world.Entity, dst []byte) ([]byte, bool) { return dst, true }

func (s *still) Restore(e world.Entity, _ []byte) error {
	s.restored = append(s.restored, e)
	return nil
}

func TestWhatNothingChangesIsKeptToo(t *testing.T) {
	opts := ledgerOptions
	opts.Store = newDisk()
	_, room := hold(t, new(still), opts)
	require.NoError(t, room.Close())
	again := new(still)
	_, room = hold(t, again, opts)
	require.NoError(t, room.Close())
	require.ElementsMatch(t, []world.Entity{0, 1}, again.restored)
}
