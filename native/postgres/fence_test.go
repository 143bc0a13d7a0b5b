//go:build linux

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/postgres"
)

func TestAnOlderEpochWritesNothing(t *testing.T) {
	t.Parallel()
	key := ds.NewKey("/a")
	writes := map[string]func(ctx context.Context, to ds.Batching) error{
		"put":    func(ctx context.Context, to ds.Batching) error { return to.Put(ctx, key, []byte("changed")) },
		"delete": func(ctx context.Context, to ds.Batching) error { return to.Delete(ctx, key) },
		"batch": func(ctx context.Context, to ds.Batching) error {
			b, err := to.Batch(ctx)
			for i := range 10 {
				err = errors.Join(err, b.Put(ctx, ds.NewKey(fmt.Sprint("/more/", i)), nil))
			}
			return errors.Join(err, b.Delete(ctx, key), b.Commit(ctx))
		},
		"empty batch": func(ctx context.Context, to ds.Batching) error {
			b, err := to.Batch(ctx)
			return errors.Join(err, b.Commit(ctx))
		},
	}
	for _, prefix := range []string{"/", "/harbour", "/harbour/deep"} {
		for name, write := range writes {
			for _, c := range []struct {
				first, second uint64
				older         bool // whether first is older once second is registered
			}{
				{0, 1, true}, {1, 2, true}, {1, math.MaxInt64, true}, {7, 7, false}, {0, 0, false},
			} {
				t.Run(fmt.Sprint(prefix, " ", name, " ", c.first, " ", c.second), func(t *testing.T) {
					s := open(t)
					first := under(t, s, prefix, c.first)
					require.NoError(t, first.Put(t.Context(), key, []byte("first")))
					second := under(t, s, prefix, c.second)
					other := under(t, s, "/other", c.first)
					before := all(t, s, query.Query{})
					err := write(t.Context(), first)
					if !c.older {
						require.NoError(t, err)
						return
					}
					require.ErrorIs(t, err, postgres.ErrOlder)
					require.ErrorContains(t, err, strconv.FormatUint(c.second, 10), "the error names the newer epoch")
					require.Equal(t, before, all(t, s, query.Query{}))
					got, err := first.Get(t.Context(), key)
					require.NoError(t, err, "reads are not fenced")
					require.Equal(t, "first", string(got))
					_, err = s.Under(t.Context(), ds.NewKey(prefix), c.first)
					require.ErrorIs(t, err, postgres.ErrOlder)
					require.NoError(t, write(t.Context(), second))
					require.NoError(t, write(t.Context(), other), "another prefix has epochs of its own")
					require.NoError(t, write(t.Context(), s), "the store itself is not fenced")
				})
			}
		}
	}
	_, err := open(t).Under(t.Context(), ds.NewKey("/harbour"), math.MaxInt64+1)
	require.ErrorContains(t, err, "at most")
}

// Each writer counts as fast as it can until the next one has taken over.
func TestANewerEpochSeesWhatWasWrittenAndIsNotWrittenOver(t *testing.T) {
	t.Parallel()
	table, url := newTable(), sharedServer(t).url
	key := ds.NewKey("/count")
	read := func(from ds.Batching) uint64 {
		t.Helper()
		data, err := from.Get(t.Context(), key)
		if errors.Is(err, ds.ErrNotFound) {
			return 0
		}
		require.NoError(t, err)
		n, err := strconv.ParseUint(string(data), 10, 64)
		require.NoError(t, err)
		return n
	}
	last := make(chan error, 1)
	last <- postgres.ErrOlder
	var acknowledged atomic.Uint64
	for epoch := range uint64(60) {
		s := openAt(t, url, table)
		view := under(t, s, "/harbour", epoch)
		was, known := read(view), acknowledged.Load()
		require.GreaterOrEqual(t, was, known)
		require.ErrorIs(t, <-last, postgres.ErrOlder)
		require.Equal(t, was, acknowledged.Load(), "every write was acknowledged before it was read, and none came after")
		require.Equal(t, was, read(view))
		began := make(chan struct{})
		go func() {
			for n := was + 1; ; n++ {
				var err error
				if n%2 == 0 {
					err = view.Put(context.Background(), key, strconv.AppendUint(nil, n, 10))
				} else {
					b, _ := view.Batch(context.Background())
					_ = b.Put(context.Background(), key, strconv.AppendUint(nil, n, 10))
					err = b.Commit(context.Background())
				}
				if err != nil {
					last <- err
					return
				}
				acknowledged.Store(n)
				if n == was+3 {
					close(began)
				}
			}
		}()
		<-began
	}
	under(t, openAt(t, url, table), "/harbour", 100)
	require.ErrorIs(t, <-last, postgres.ErrOlder)
}

// freeze makes a view pause in the middle of writing /a, which the server tolerates for
// limit. thaw lets the view continue, and returns the error of its commit.
func freeze(t *testing.T, view ds.Batching, limit time.Duration) (thaw func() error) {
	began, thawed, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() { ended <- postgres.Freeze(t.Context(), view, ds.NewKey("/a"), limit, began, thawed) }()
	select {
	case <-began:
	case err := <-ended:
		require.NoError(t, err)
	}
	return func() error {
		close(thawed)
		return <-ended
	}
}

func TestANewerEpochWaitsForTheWriteThatIsUnderWay(t *testing.T) {
	s := open(t)
	older := under(t, s, "/harbour", 1)
	thaw := freeze(t, older, time.Hour)
	registered := make(chan ds.Batching, 1)
	go func() {
		newer, err := s.Under(t.Context(), ds.NewKey("/harbour"), 2)
		assert.NoError(t, err)
		registered <- newer
	}()
	untilOneWaits(t)
	require.Empty(t, registered)
	require.NoError(t, thaw())
	newer := <-registered
	got, err := newer.Get(t.Context(), ds.NewKey("/a"))
	require.NoError(t, err)
	require.Equal(t, "frozen", string(got))
}

func TestAWriteWaitsForTheNewerEpochThatIsBeingRegistered(t *testing.T) {
	s, c := open(t), connect(t)
	older := under(t, s, "/harbour", 1)
	tx, err := c.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `UPDATE `+postgres.Epochs(s)+` SET epoch = 2`)
	require.NoError(t, err)
	wrote := make(chan error, 1)
	go func() { wrote <- older.Put(t.Context(), ds.NewKey("/a"), nil) }()
	untilOneWaits(t)
	require.Empty(t, wrote)
	require.NoError(t, tx.Commit(t.Context()))
	require.ErrorIs(t, <-wrote, postgres.ErrOlder)
	require.Empty(t, all(t, s, query.Query{}))
}

func TestAWriterThatIsFrozenHoldsUpNobodyForLong(t *testing.T) {
	s := open(t)
	older := under(t, s, "/harbour", 1)
	require.NoError(t, older.Put(t.Context(), ds.NewKey("/a"), []byte("before")))
	thaw := freeze(t, older, time.Millisecond)
	newer := under(t, s, "/harbour", 2)
	got, err := newer.Get(t.Context(), ds.NewKey("/a"))
	require.NoError(t, err)
	require.Equal(t, "before", string(got))
	require.NoError(t, newer.Put(t.Context(), ds.NewKey("/a"), []byte("after")))
	require.Error(t, thaw())
	require.ErrorIs(t, older.Put(t.Context(), ds.NewKey("/a"), nil), postgres.ErrOlder)
	got, err = newer.Get(t.Context(), ds.NewKey("/a"))
	require.NoError(t, err)
	require.Equal(t, "after", string(got))
}

func TestARowSaysWhichEpochWroteIt(t *testing.T) {
	s, c := open(t), connect(t)
	require.NoError(t, under(t, s, "/harbour", 41).Put(t.Context(), ds.NewKey("/a"), nil))
	require.NoError(t, under(t, s, "/harbour", 42).Put(t.Context(), ds.NewKey("/b"), nil))
	require.NoError(t, s.Put(t.Context(), ds.NewKey("/c"), nil))
	rows, err := c.Query(t.Context(), `SELECT key || ' ' || epoch FROM `+postgres.Table(s)+` ORDER BY key`)
	require.NoError(t, err)
	var got []string
	for rows.Next() {
		var row string
		require.NoError(t, rows.Scan(&row))
		got = append(got, row)
	}
	require.NoError(t, rows.Err())
	require.Equal(t, []string{"/c 0", "/harbour/a 41", "/harbour/b 42"}, got)
}
