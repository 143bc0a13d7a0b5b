package replay_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/mesh/replay"
)

// reopened opens a history as after a restart.
func reopened(t *testing.T, name string, opts replay.HistoryOptions) *replay.History {
	t.Helper()
	h, err := replay.Open(context.Background(), name, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// Keep joins the entries that the history had before with those that an earlier run
// stored. None of them is new again.
func TestKeepJoinsWhatIsStoredToWhatIsRemembered(t *testing.T) {
	for _, order := range []string{"the publisher's record stored", "and lost"} {
		t.Run(order, func(t *testing.T) {
			db := newMemory()
			opts := replay.HistoryOptions{Store: db, Limits: replay.Limits{Count: 100}}
			p, q := newPublisher(t), newPublisher(t)
			former := reopened(t, "chat", opts)
			p.add(former, 1, 1, 4)
			p.add(former, 1, 7, 9)
			p.add(former, 2, 1, 2)
			q.add(former, 1, 1, 3)
			require.NoError(t, former.Close())
			if order == "and lost" {
				deleteUnder(t, db, "/p/")
			}

			h := openHistory(t, replay.HistoryOptions{Limits: replay.Limits{Count: 8}})
			p.add(h, 1, 8, 11) // 8 and 9 came again, from other peers
			p.add(h, 3, 1, 1)
			s := newPublisher(t)
			s.add(h, 1, 1, 2)
			require.NoError(t, h.Keep(t.Context(), "chat", opts))
			require.Equal(t, map[uint64]replay.Ranges{1: {{From: 1, To: 4}, {From: 7, To: 11}}, 2: {{From: 1, To: 2}}, 3: {{From: 1, To: 1}}}, hads(h, p.id))
			require.Equal(t, 4+5+2+1+3+2, h.Stats().Entries, "each once")
			require.Zero(t, h.Missing(), "gaps of the earlier run do not count")
			for seq := uint64(1); seq <= 4; seq++ {
				require.False(t, h.Add(p.entry(1, seq)).New)
			}
			require.True(t, h.Add(p.entry(1, 5)).New)
			require.NoError(t, h.Close())

			again := reopened(t, "chat", opts)
			require.Equal(t, h.Cursors(), again.Cursors())
			require.Equal(t, h.Stats().Entries, again.Stats().Entries, "what was remembered before is stored, too")
		})
	}
}

func TestKeepUnderAnotherNameTakesAllWithIt(t *testing.T) {
	db := newMemory()
	opts := replay.HistoryOptions{Store: db}
	p := newPublisher(t)
	h := reopened(t, "carried", opts)
	p.add(h, 1, 1, 3)
	require.NoError(t, h.Keep(t.Context(), "chat", opts))
	p.add(h, 1, 4, 5)
	require.NoError(t, h.Keep(t.Context(), "chat", replay.HistoryOptions{Store: db, Limits: replay.Limits{Count: 4}}))
	require.Equal(t, 4, h.Stats().Entries, "the same name: other limits")
	require.NoError(t, h.Keep(t.Context(), "", replay.HistoryOptions{}))
	p.add(h, 1, 6, 6)
	require.Equal(t, 5, h.Stats().Entries, "it still takes entries, although it is not stored")
	require.NoError(t, h.Close())
	require.Equal(t, 3, reopened(t, "carried", opts).Stats().Entries, "what was stored before stays as it was")
	require.Equal(t, 4, reopened(t, "chat", opts).Stats().Entries)
}

func TestKeepThatFailsChangesNothing(t *testing.T) {
	h := openHistory(t, replay.HistoryOptions{Limits: replay.Limits{Count: 5, Age: time.Hour}})
	p := newPublisher(t)
	p.add(h, 1, 1, 5)
	before, cursors := h.Limits(), h.Cursors()
	require.Error(t, h.Keep(t.Context(), "chat", replay.HistoryOptions{Limits: replay.Limits{Count: -1}, Store: newMemory()}))
	require.ErrorIs(t, h.Keep(t.Context(), "chat", replay.HistoryOptions{Store: unreadable{newMemory()}}), errDead)
	require.Equal(t, before, h.Limits())
	require.Equal(t, cursors, h.Cursors())
	require.Equal(t, 5, h.Stats().Entries)
	require.NoError(t, h.Close())
	require.ErrorIs(t, h.Keep(t.Context(), "chat", replay.HistoryOptions{Store: newMemory()}), replay.ErrClosed)
}

// An entry that is added while Keep changes the place is stored in both places, or in the
// last one.
func TestKeepLosesNothingOfWhatIsAddedMeanwhile(t *testing.T) {
	db := newMemory()
	h := openHistory(t, replay.HistoryOptions{})
	added := make(chan struct{})
	go func() {
		defer close(added)
		for seq := range uint64(2000) {
			h.Add(unsigned("p", 1, seq+1, 10))
		}
	}()
	for _, name := range []string{"a", "b", "a", "c"} {
		require.NoError(t, h.Keep(t.Context(), name, replay.HistoryOptions{Store: db, FlushDelay: time.Millisecond}))
	}
	<-added
	require.NoError(t, h.Close())
	require.Equal(t, 2000, reopened(t, "c", replay.HistoryOptions{Store: db}).Stats().Entries)
}
