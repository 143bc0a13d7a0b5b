package replay_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

func TestAddSaysWhatABroadcastIsToTheHistory(t *testing.T) {
	h := openHistory(t, replay.HistoryOptions{})
	add := func(epoch, seq uint64, replayed bool) replay.Added {
		e := unsigned("p", epoch, seq, 1)
		e.Replayed = replayed
		return h.Add(e)
	}
	fresh := replay.Added{New: true}
	for _, step := range []struct {
		what       string
		epoch, seq uint64
		replayed   bool
		want       replay.Added
		missing    uint64
	}{
		{"the first", 5, 4, false, replay.Added{New: true, First: true}, 0},
		{"the next", 5, 5, false, fresh, 0},
		{"the same", 5, 5, false, replay.Added{}, 0},
		{"after a hole", 5, 9, false, replay.Added{New: true, Hole: true}, 3},
		{"in the hole, by replay", 5, 7, true, fresh, 2},
		{"the same by replay", 5, 7, true, replay.Added{}, 2},
		{"and by itself", 5, 7, false, replay.Added{Again: true}, 2},
		{"and once more", 5, 7, false, replay.Added{}, 2},
		{"earlier than the first", 5, 2, false, replay.Added{New: true, Hole: true}, 3},
		{"in that hole", 5, 3, false, fresh, 2},
		{"of another epoch", 6, 7, false, fresh, 2},
		{"of an earlier one", 4, 1, false, fresh, 2},
		{"of none", 0, 1, false, replay.Added{}, 2},
	} {
		require.Equal(t, step.want, add(step.epoch, step.seq, step.replayed), step.what)
		require.Equal(t, step.missing, h.Missing(), step.what)
	}
	h.CountAnew()
	require.Zero(t, h.Missing())
	require.False(t, add(5, 9, false).New, "what was received is still known")
	require.Equal(t, replay.Added{New: true, First: true}, add(5, 8, false), "and what was missing is new")
	require.Equal(t, fresh, add(5, 20, false), "what was said meanwhile is not missed")
	require.Equal(t, replay.Added{New: true, Hole: true}, add(5, 22, false))
	require.EqualValues(t, 1, h.Missing())
}

// Missing counts the numbers that never came between the first and the last that are
// known to have been published after CountAnew.
func TestMissingIsWhatNeverCame(t *testing.T) {
	const top, epochs = 40, 3
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		h := openHistory(t, replay.HistoryOptions{})
		var had [epochs + 1][top + 1]bool
		var since, last, before [epochs + 1]int
		for range 60 {
			if r.IntN(20) == 0 {
				h.CountAnew()
				since, before = [epochs + 1]int{}, last
			}
			epoch, seq := 1+r.IntN(epochs), 1+r.IntN(top)
			require.Equal(t, !had[epoch][seq], h.Add(unsigned("p", uint64(epoch), uint64(seq), 1)).New)
			if !had[epoch][seq] {
				had[epoch][seq] = true
				if s := &since[epoch]; seq > before[epoch] && (*s == 0 || seq < *s) {
					*s = seq
				}
				last[epoch] = max(last[epoch], seq)
			}
			missing := 0
			for e := 1; e <= epochs; e++ {
				for n := since[e]; n > 0 && n < last[e]; n++ {
					if !had[e][n] {
						missing++
					}
				}
			}
			require.EqualValues(t, missing, h.Missing())
		}
		require.NoError(t, h.Close())
	}
}

func TestAPublisherCannotMakeUpHowMuchIsMissing(t *testing.T) {
	h := openHistory(t, replay.HistoryOptions{})
	for i, seq := range []uint64{1, math.MaxUint64 / 2, math.MaxUint64 - 5, math.MaxUint64} {
		require.True(t, h.Add(unsigned("p", 1, seq, 1)).New)
		require.LessOrEqual(t, h.Missing(), uint64(i)<<20)
	}
	for i := range uint64(1000) { // more gaps than are remembered
		require.True(t, h.Add(unsigned("q", 1, 2+2*i, 1)).New)
	}
	require.EqualValues(t, 2<<20+4+999, h.Missing(), "numbers that are given up count as missing")
}

// A node takes each broadcast once, however many peers send it and in whatever order,
// until there are so many publishers that it forgets one.
func TestNoneIsNewTwice(t *testing.T) {
	h := openHistory(t, replay.HistoryOptions{Limits: replay.Limits{Count: 3}})
	for round := range 3 {
		for p := range 500 {
			e := unsigned(string(rune('a'+p%26))+string(rune(p)), 1, 1, 10)
			require.Equal(t, round == 0, h.Add(e).New)
		}
	}
	require.Equal(t, 3, h.Stats().Entries)
	require.False(t, h.Skip(named("aa"), message.ID{}))
}
