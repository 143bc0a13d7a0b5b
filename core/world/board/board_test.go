package board

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// model is a board that sorts all of its rows after each change.
type model struct {
	lowest bool
	rows   []Row
	seqs   map[uint32]int
	seq    int
}

func (m *model) index(player uint32) int {
	return slices.IndexFunc(m.rows, func(r Row) bool { return r.Player == player })
}

func (m *model) set(player uint32, score int64) {
	i := m.index(player)
	switch {
	case i < 0:
		m.rows = append(m.rows, Row{Player: player, Score: score})
	case m.rows[i].Score == score:
		return
	default:
		m.rows[i].Score = score
	}
	m.seq++
	m.seqs[player] = m.seq
	m.order()
}

func (m *model) order() {
	slices.SortFunc(m.rows, func(a, b Row) int {
		by := cmp.Compare(b.Score, a.Score)
		if m.lowest {
			by = -by
		}
		return cmp.Or(by, cmp.Compare(m.seqs[a.Player], m.seqs[b.Player]))
	})
	for i := range m.rows {
		m.rows[i].Rank = i + 1
	}
}

func TestABoardIsInOrderWhateverHappens(t *testing.T) {
	for _, lowest := range []bool{false, true} {
		for _, spread := range []int64{3, 1 << 40} { // many ties, and few
			t.Run(fmt.Sprint(lowest, spread), func(t *testing.T) {
				random := rand.New(rand.NewPCG(1, uint64(spread)))
				b, m := New(lowest), &model{lowest: lowest, rows: []Row{}, seqs: make(map[uint32]int)}
				b.limit = 1000 // scores are numbered anew on the way
				for step := range 4000 {
					player, score := random.Uint32N(800), random.Int64N(spread)-spread/2
					i := m.index(player)
					switch random.IntN(8) {
					case 0:
						b.Remove(player)
						if i >= 0 {
							m.rows = slices.Delete(m.rows, i, i+1)
							m.order()
						}
					case 1:
						better := i < 0 || lowest && score < m.rows[i].Score || !lowest && score > m.rows[i].Score
						require.Equal(t, better, b.Improve(player, score))
						if better {
							m.set(player, score)
						}
					case 2:
						sum := score
						if i >= 0 {
							sum += m.rows[i].Score
						}
						require.Equal(t, sum, b.Add(player, score))
						m.set(player, sum)
					default:
						b.Set(player, score)
						m.set(player, score)
					}
					if step%50 != 0 {
						continue
					}
					require.Equal(t, len(m.rows), b.Len())
					require.Equal(t, m.rows, b.Rows(1, math.MaxInt))
					for _, want := range m.rows {
						got, ok := b.Of(want.Player)
						require.True(t, ok)
						require.Equal(t, want, got)
					}
					if i = m.index(player); i >= 0 {
						require.Equal(t, m.rows[max(i-3, 0):min(i+4, len(m.rows))], b.Around(player, 3))
					}
				}
				for _, r := range b.Rows(1, math.MaxInt) {
					b.Remove(r.Player)
				}
				require.Zero(t, b.Len())
				require.Empty(t, b.Rows(1, 10))
				require.Empty(t, b.runs.list)
			})
		}
	}
}

func TestOfTheSameScoreTheFirstIsBefore(t *testing.T) {
	b := New(false)
	for _, player := range []uint32{7, 3, 9} {
		b.Set(player, 100)
	}
	b.Set(7, 100) // nothing new
	b.Set(3, 50)
	b.Set(3, 100) // 3 reached the score again, later than 9
	require.Equal(t, []Row{{1, 7, 100}, {2, 9, 100}, {3, 3, 100}}, b.Rows(1, 10))
	require.Equal(t, []Row{{2, 9, 100}}, b.Rows(2, 1))
	require.Equal(t, []Row{{1, 7, 100}, {2, 9, 100}}, b.Around(7, 1))
}

func TestTheEdgesOfWhatABoardHolds(t *testing.T) {
	for _, lowest := range []bool{false, true} {
		b := New(lowest)
		b.Set(1, math.MaxInt64)
		b.Set(2, math.MinInt64)
		b.Set(3, 0)
		first := b.Rows(1, 1)[0]
		require.Equal(t, lowest, first.Score == math.MinInt64)
		require.EqualValues(t, math.MaxInt64, b.Add(1, 1), "it stays at the most")
		require.EqualValues(t, math.MinInt64, b.Add(2, -1))
		require.Empty(t, b.Rows(4, 1))
		require.Empty(t, b.Rows(1, 0))
		require.Empty(t, b.Rows(1, -1))
		require.Len(t, b.Rows(-5, 2), 2, "there is no rank before the first")
		require.Nil(t, b.Around(99, 2))
		require.Len(t, b.Around(3, math.MaxInt), 3)
		_, ok := b.Of(99)
		require.False(t, ok)
		b.Remove(99)
		require.Panics(t, func() { b.Set(MaxPlayers, 1) })
	}
}

func TestPlayersKeepTheirNumbers(t *testing.T) {
	var p Players
	for i := range 100 {
		id := peer.ID(fmt.Sprint(i))
		require.EqualValues(t, i, p.Number(id))
		require.EqualValues(t, i, p.Number(id))
		require.Equal(t, id, p.ID(uint32(i)))
	}
}

func TestAnEntryTakesAtMost48Bytes(t *testing.T) {
	const players = 1 << 20
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	b, random := New(false), rand.New(rand.NewPCG(1, 1))
	b.at = make([]place, 0, players) // append may allocate a quarter more
	for i := range uint32(players) {
		b.Set(i, random.Int64N(1<<40))
	}
	require.LessOrEqual(t, (used()-before)/players, uint64(48))
	runtime.KeepAlive(b)
}

func BenchmarkUpdate(b *testing.B) {
	at, random := full()
	for b.Loop() {
		at.Set(random.Uint32N(1<<20), random.Int64N(1<<40))
	}
}

func BenchmarkRank(b *testing.B) {
	at, random := full()
	for b.Loop() {
		at.Of(random.Uint32N(1 << 20))
	}
}

func full() (*Board, *rand.Rand) {
	b, random := New(false), rand.New(rand.NewPCG(1, 1))
	for i := range uint32(1 << 20) {
		b.Set(i, random.Int64N(1<<40))
	}
	return b, random
}
