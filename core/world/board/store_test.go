package board

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

func openStore(t *testing.T, ds datastore.Batching) *Store {
	s, err := Open(t.Context(), ds, "harbour", StoreOptions{})
	require.NoError(t, err)
	return s
}

func openSeries(t *testing.T, s *Store, name string, period Period, keep int) *Series {
	series, err := s.Series(t.Context(), name, period, false, keep)
	require.NoError(t, err)
	return series
}

func newDatastore() *dssync.MutexDatastore { return dssync.MutexWrap(datastore.NewMapDatastore()) }

func TestBoardsAreThereAgainAsTheyWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ds := newDatastore()
		random := rand.New(rand.NewPCG(1, 1))
		want := []Row{}
		for range 20 {
			s := openStore(t, ds)
			b := openSeries(t, s, "score", Forever, 0).Now()
			require.Equal(t, want, b.Rows(1, math.MaxInt))
			for range 200 {
				p := s.Players().Number(peer.ID(fmt.Sprint("peer", random.IntN(60))))
				switch random.IntN(8) {
				case 0:
					b.Remove(p)
				case 1:
					b.limit = b.seq + 3 // makes the board renumber its scores soon
				default:
					b.Set(p, random.Int64N(9)-4) // many scores are equal
				}
			}
			want = b.Rows(1, math.MaxInt)
			if random.IntN(2) == 0 {
				require.NoError(t, s.Flush(t.Context()))
				again := openStore(t, ds) // as after a crash
				require.Equal(t, want, openSeries(t, again, "score", Forever, 0).Now().Rows(1, math.MaxInt))
				require.NoError(t, again.Close())
			}
			require.NoError(t, s.Close())
		}
		other, err := Open(t.Context(), ds, "another", StoreOptions{})
		require.NoError(t, err)
		require.Zero(t, openSeries(t, other, "score", Forever, 0).Now().Len())
		require.NoError(t, other.Close())
	})
}

func TestOfAPeriodThatIsOverNothingStaysInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ds := newDatastore()
		for day := range 10 {
			s := openStore(t, ds)
			series := openSeries(t, s, "score", Daily, 2)
			me := s.Players().Number("me")
			if day > 0 {
				late, err := series.At(time.Now().AddDate(0, 0, -1))
				require.NoError(t, err)
				row, _ := late.Of(me)
				require.Equal(t, int64(day-1), row.Score, "a score of the day before is kept")
			}
			series.Now().Set(me, int64(day))
			time.Sleep(12 * time.Hour) // days end while the store is open and while it is closed
			require.NoError(t, s.Close())
			time.Sleep(12 * time.Hour)
		}
		s := openStore(t, ds)
		require.Len(t, openSeries(t, s, "score", Daily, 2).Kept(), 2)
		require.NoError(t, s.Close())
		results, err := ds.Query(t.Context(), query.Query{Prefix: s.records.(*written).root + "/s", KeysOnly: true})
		require.NoError(t, err)
		rows, err := results.Rest()
		require.NoError(t, err)
		require.Len(t, rows, 2)
	})
}

func TestBoardsThatCannotBeReadAreSaidSo(t *testing.T) {
	ds := newDatastore()
	s := openStore(t, ds)
	series := openSeries(t, s, "score", Forever, 0)
	series.Now().Set(s.Players().Number("me"), 7)
	_, err := s.Series(t.Context(), "score", Forever, false, 0)
	require.ErrorContains(t, err, "they are open")
	require.NoError(t, s.Close())
	row := rowKey(series.kept.key(time.Time{}), 0)
	for name, why := range map[string]string{
		row:                                     "it has no score",
		rowKey(series.kept.key(time.Time{}), 9): "it has no score",
		playerKey(5):                            "player 1 is missing",
		playerKey(MaxPlayers):                   "this is not a player",
		versionKey:                              "of format",
	} {
		key := datastore.RawKey(s.records.(*written).root + name)
		before, err := ds.Get(t.Context(), key)
		require.NoError(t, ds.Put(t.Context(), key, []byte{0x80}))
		opened, failed := Open(t.Context(), ds, "harbour", StoreOptions{})
		if failed == nil {
			_, failed = opened.Series(t.Context(), "score", Forever, false, 0)
			require.NoError(t, opened.Close())
		}
		require.ErrorContains(t, failed, why)
		if err != nil {
			require.NoError(t, ds.Delete(t.Context(), key))
		} else {
			require.NoError(t, ds.Put(t.Context(), key, before))
		}
	}
	s = openStore(t, ds)
	got, _ := openSeries(t, s, "score", Forever, 0).Now().Of(0)
	require.Equal(t, Row{1, 0, 7}, got, "nothing was lost by all that")
	require.NoError(t, s.Close())
}
