//go:build linux

package postgres_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dstest "github.com/ipfs/go-datastore/test"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/tombolo-net/tombolo/native/postgres"
)

func TestConforms(t *testing.T) { dstest.SubtestAll(t, open(t)) }

func TestAViewConforms(t *testing.T) {
	t.Parallel()
	s := open(t)
	require.NoError(t, s.Put(t.Context(), ds.NewKey("/harbours"), nil))
	require.NoError(t, s.Put(t.Context(), ds.NewKey("/harbour"), nil))
	require.NoError(t, s.Put(t.Context(), ds.NewKey("/harbour-2/a"), nil))
	dstest.SubtestAll(t, under(t, s, "/harbour", 1))
	require.Len(t, all(t, s, query.Query{}), 3, "what is not below the prefix stays")
}

func under(t *testing.T, s *postgres.Store, prefix string, epoch uint64) ds.Batching {
	t.Helper()
	view, err := s.Under(t.Context(), ds.NewKey(prefix), epoch)
	require.NoError(t, err)
	return view
}

func all(t *testing.T, s ds.Datastore, q query.Query) []query.Entry {
	t.Helper()
	results, err := s.Query(t.Context(), q)
	require.NoError(t, err)
	entries, err := results.Rest()
	require.NoError(t, err)
	return entries
}

func TestQueriesAreAnsweredAsAMapAnswersThem(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	m, sub := ds.NewMapDatastore(), ds.NewMapDatastore() // what the store and the view must hold
	s := open(t)
	view := under(t, s, "/a", 1)
	for i := range 300 {
		var name strings.Builder
		for range 1 + random.IntN(3) {
			name.WriteString("/" + []string{"a", "b", "B", "a-", "a0", "ab", "ä", "%", "_", "\U0001F6A2"}[random.IntN(10)])
		}
		key, value := ds.NewKey(name.String()), fmt.Appendf(nil, "%d\x00\xff", i)
		to := ds.Datastore(s)
		if i%2 == 0 {
			to = view
		}
		require.NoError(t, to.Put(t.Context(), key, value))
		if i%2 == 0 {
			key = ds.NewKey("/a").Child(key)
		}
		require.NoError(t, m.Put(t.Context(), key, value))
	}
	for _, e := range all(t, m, query.Query{Prefix: "/a"}) {
		require.NoError(t, sub.Put(t.Context(), ds.RawKey(e.Key[len("/a"):]), e.Value))
	}

	orders := [][]query.Order{
		nil, {query.OrderByKey{}}, {&query.OrderByKeyDescending{}}, {query.OrderByKeyDescending{}, query.OrderByValue{}},
		{query.OrderByValue{}, query.OrderByKey{}}, {query.OrderByFunction(func(a, b query.Entry) int { return bytes.Compare(b.Value, a.Value) }), query.OrderByKey{}},
	}
	filters := [][]query.Filter{
		nil, {query.FilterKeyPrefix{Prefix: "/a"}}, {query.FilterKeyCompare{Op: query.GreaterThan, Key: "/a0"}},
		{query.FilterValueCompare{Op: query.LessThan, Value: []byte("2")}},
	}
	for range 2000 {
		q := query.Query{
			Prefix: []string{"", "/", "a", "/a", "/a/", "/B/a", "/%", "/none"}[random.IntN(8)],
			Orders: orders[random.IntN(len(orders))], Filters: filters[random.IntN(len(filters))],
			KeysOnly: random.IntN(2) == 0, ReturnsSizes: random.IntN(2) == 0,
		}
		if len(q.Orders) > 0 {
			q.Offset, q.Limit = random.IntN(3)*random.IntN(30), random.IntN(3)*random.IntN(30)
		}
		for name, pair := range map[string][2]ds.Datastore{"store": {s, m}, "view": {view, sub}} {
			whole := q
			whole.KeysOnly = false // else a map hides the values from the filters
			want, got := all(t, pair[1], whole), all(t, pair[0], q)
			if len(q.Orders) == 0 {
				byKey := func(a, b query.Entry) int { return strings.Compare(a.Key, b.Key) }
				slices.SortFunc(want, byKey)
				slices.SortFunc(got, byKey)
			}
			require.Len(t, got, len(want), "%s: %s", name, q)
			for i, e := range want {
				require.Equal(t, e.Key, got[i].Key, "%s: %s", name, q)
				if q.KeysOnly {
					e.Value = nil
				}
				require.Equal(t, e.Value, got[i].Value, "%s: %s", name, q)
				if !q.KeysOnly || q.ReturnsSizes {
					require.Equal(t, e.Size, got[i].Size, "%s: %s", name, q)
				}
			}
		}
	}
	var pages []query.Entry
	for page := all(t, s, query.Query{Limit: 7}); len(page) > 0; page = all(t, s, query.Query{Offset: len(pages), Limit: 7}) {
		pages = append(pages, page...)
	}
	require.Len(t, pages, len(all(t, m, query.Query{})), "one page follows the other")
}

func TestKeysThatPostgreSQLDoesNotTakeAreRefused(t *testing.T) {
	s := open(t)
	for _, key := range []string{"/\xff", "/a\x00b", "/" + strings.Repeat("k", postgres.MaxKey)} {
		k := ds.RawKey(key)
		require.Error(t, s.Put(t.Context(), k, nil))
		require.Error(t, s.Delete(t.Context(), k))
		_, err := s.Get(t.Context(), k)
		require.Error(t, err)
		require.NotErrorIs(t, err, ds.ErrNotFound)
		b, err := s.Batch(t.Context())
		require.NoError(t, err)
		require.Error(t, b.Put(t.Context(), k, nil))
		require.NoError(t, b.Put(t.Context(), ds.NewKey("/a"), nil))
		require.NoError(t, b.Commit(t.Context()), "the rest of the batch is none the worse")
	}
	random := make([]byte, postgres.MaxKey-1) // which cannot be compressed
	for i := range random {
		random[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[rand.IntN(64)]
	}
	longest := ds.RawKey("/" + string(random))
	require.Len(t, longest.String(), postgres.MaxKey)
	require.NoError(t, s.Put(t.Context(), longest, []byte{1}))
	require.Empty(t, all(t, s, query.Query{Prefix: "/a' OR true; --"}))
}

func TestBatchesOfTwoWritersAreThereAsAWhole(t *testing.T) {
	table, url := newTable(), sharedServer(t).url
	const records, batches = 6000, 15 // more records than one statement writes
	var group, readers errgroup.Group
	var written atomic.Bool
	for w := range 2 {
		s := openAt(t, url, table)
		group.Go(func() error {
			for n := range batches {
				b, err := s.Batch(t.Context())
				if err != nil {
					return err
				}
				for i := range records {
					k := ds.NewKey(fmt.Sprint("/", i))
					if i < 10 && n%2 == w { // some are deleted and written again
						err = b.Delete(t.Context(), k)
					} else {
						err = b.Put(t.Context(), k, fmt.Append(nil, w, " ", n))
					}
					if err != nil {
						return err
					}
				}
				if err := b.Commit(t.Context()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	s := openAt(t, url, table)
	readers.Go(func() error {
		for !written.Load() {
			results, err := s.Query(t.Context(), query.Query{})
			if err != nil {
				return err
			}
			entries, err := results.Rest()
			if err != nil {
				return err
			}
			if n := len(entries); n != 0 && n != records && n != records-10 {
				return fmt.Errorf("%d records are of no batch", n)
			}
			for _, e := range entries {
				if !bytes.Equal(e.Value, entries[0].Value) {
					return fmt.Errorf("records of %q and %q are there at once", e.Value, entries[0].Value)
				}
			}
		}
		return nil
	})
	err := group.Wait()
	written.Store(true)
	require.NoError(t, err)
	require.NoError(t, readers.Wait())
}

func TestWritersThatLockEachOtherOutGoOn(t *testing.T) {
	s := open(t)
	c := connect(t)
	for _, k := range []string{"/a", "/b"} {
		require.NoError(t, s.Put(t.Context(), ds.NewKey(k), []byte("old")))
	}
	tx, err := c.Begin(t.Context())
	require.NoError(t, err)
	lock := `UPDATE ` + postgres.Table(s) + ` SET value = 'other' WHERE key = $1`
	_, err = tx.Exec(t.Context(), lock, "/b")
	require.NoError(t, err)
	b, err := s.Batch(t.Context())
	require.NoError(t, err)
	require.NoError(t, b.Put(t.Context(), ds.NewKey("/a"), []byte("new")))
	require.NoError(t, b.Put(t.Context(), ds.NewKey("/b"), []byte("new")))
	committed := make(chan error, 1)
	go func() { committed <- b.Commit(t.Context()) }()
	untilOneWaits(t)
	if _, err = tx.Exec(t.Context(), lock, "/a"); err == nil { // the server aborts one of the two
		err = tx.Commit(t.Context())
	} else {
		require.ErrorContains(t, err, "deadlock")
		err = tx.Rollback(t.Context())
	}
	require.NoError(t, err)
	require.NoError(t, <-committed)
	got, err := s.Get(t.Context(), ds.NewKey("/a"))
	require.NoError(t, err)
	require.Equal(t, "new", string(got))
}

// big fills a store with more than a connection buffers.
func big(t *testing.T, s *postgres.Store) {
	b, err := s.Batch(t.Context())
	require.NoError(t, err)
	for i := range 20_000 {
		require.NoError(t, b.Put(t.Context(), ds.NewKey(fmt.Sprint("/", i)), make([]byte, 1024)))
	}
	require.NoError(t, b.Commit(t.Context()))
}

func TestResultsThatAreClosedGiveTheirConnectionBack(t *testing.T) {
	table := newTable()
	s := openAt(t, sharedServer(t).url+"&pool_max_conns=1", table)
	big(t, s)
	for range 3 {
		results, err := s.Query(t.Context(), query.Query{})
		require.NoError(t, err)
		first, ok := results.NextSync()
		require.True(t, ok)
		require.NoError(t, first.Error)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err = s.Has(ctx, ds.NewKey("/0"))
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded, "the rows are read as they are asked for")
		require.NoError(t, results.Close())
		require.NoError(t, results.Close())
		_, ok = results.NextSync()
		require.False(t, ok)
	}
	has, err := s.Has(t.Context(), ds.NewKey("/0"))
	require.NoError(t, err)
	require.True(t, has)
}

func TestCloseEndsQueriesThatNobodyReads(t *testing.T) {
	s, err := postgres.Open(t.Context(), sharedServer(t).url, postgres.Options{Table: newTable()})
	require.NoError(t, err)
	big(t, s)
	idle, err := s.Query(t.Context(), query.Query{})
	require.NoError(t, err)
	read, err := s.Query(t.Context(), query.Query{})
	require.NoError(t, err)
	first := <-read.Next()
	require.NoError(t, first.Error)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	_, more := idle.NextSync()
	require.False(t, more)
	require.NoError(t, read.Close())
	_, err = s.Query(t.Context(), query.Query{})
	require.Error(t, err)
	require.Error(t, s.Put(t.Context(), ds.NewKey("/a"), nil))
	_, err = s.Get(t.Context(), ds.NewKey("/a"))
	require.Error(t, err)
}

func TestNothingOutlastsItsContext(t *testing.T) {
	s := open(t)
	view := under(t, s, "/harbour", 1)
	thaw := freeze(t, view, time.Hour)
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	require.ErrorIs(t, view.Put(short(), ds.NewKey("/a"), nil), context.DeadlineExceeded)
	_, err := s.Under(short(), ds.NewKey("/harbour"), 2)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Get(over, ds.NewKey("/a"))
	require.ErrorIs(t, err, context.Canceled)
	_, err = postgres.Open(over, sharedServer(t).url, postgres.Options{})
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, thaw())
	got, err := view.Get(t.Context(), ds.NewKey("/a"))
	require.NoError(t, err)
	require.Equal(t, "frozen", string(got))
}

func TestErrorsNameTheOperationAndNoPassword(t *testing.T) {
	at := sharedServer(t).url
	for _, url := range []string{
		strings.Replace(at, password, "wrong-secret", 1),
		"postgres://tombolo:sec/ret-secret@localhost/db",
		"postgres://tombolo:sec#ret-secret@localhost/db",
		"postgres://tombolo:%zz-secret@localhost/db",
		"postgres://tombolo:a-secret@localhost/db?sslmode=none",
		"host=/nowhere user=tombolo password=a-secret",
		"host=/nowhere password='a-secret",
	} {
		_, err := postgres.Open(t.Context(), url, postgres.Options{})
		require.ErrorContains(t, err, "open PostgreSQL: ")
		require.NotContains(t, err.Error(), "secret")
	}
	for _, table := range []string{"a; b", "A", strings.Repeat("a", 57), "a.b"} {
		_, err := postgres.Open(t.Context(), at, postgres.Options{Table: table})
		require.ErrorContains(t, err, "is not a name for a table")
	}
	s, c := open(t), connect(t)
	view := under(t, s, "/harbour", 1)
	for _, table := range []string{postgres.Table(s), postgres.Epochs(s)} {
		_, err := c.Exec(t.Context(), `DROP TABLE `+table)
		require.NoError(t, err)
	}
	key := ds.NewKey("/a")
	b, err := view.Batch(t.Context())
	require.NoError(t, err)
	require.NoError(t, b.Put(t.Context(), key, nil))
	_, getErr := s.Get(t.Context(), key)
	_, hasErr := s.Has(t.Context(), key)
	_, sizeErr := s.GetSize(t.Context(), key)
	_, underErr := s.Under(t.Context(), key, 3)
	results, err := s.Query(t.Context(), query.Query{Prefix: "/a"})
	queryErr := err
	if err == nil {
		_, queryErr = results.Rest()
	}
	for what, err := range map[string]error{
		`get "/a"`: getErr, `look for "/a"`: hasErr, `get the size of "/a"`: sizeErr, `register epoch 3 for "/a"`: underErr,
		`put "/a"`: s.Put(t.Context(), key, nil), `delete "/a"`: s.Delete(t.Context(), key),
		`SELECT keys,vals FROM "/a"`: queryErr, `commit a batch of 1`: b.Commit(t.Context()),
	} {
		require.ErrorContains(t, err, "PostgreSQL: "+what+": ")
		require.ErrorContains(t, err, "does not exist")
	}
}

func TestTablesAreMadeOnceAndFoundByWhoMayMakeNone(t *testing.T) {
	table, at := newTable(), sharedServer(t).url
	var group errgroup.Group
	for range 8 {
		group.Go(func() error {
			s, err := postgres.Open(t.Context(), at, postgres.Options{Table: table})
			if err == nil {
				err = s.Close()
			}
			return err
		})
	}
	require.NoError(t, group.Wait())
	c := connect(t)
	_, err := c.Exec(t.Context(), fmt.Sprintf(`CREATE ROLE guest LOGIN PASSWORD 'pass-of-the-guest';
		GRANT SELECT, INSERT, UPDATE, DELETE ON %[1]s, %[1]s_epochs TO guest`, table))
	require.NoError(t, err)
	guest := strings.Replace(at, "tombolo:"+password, "guest:pass-of-the-guest", 1)
	s := openAt(t, guest, table)
	require.NoError(t, under(t, s, "/harbour", 1).Put(t.Context(), ds.NewKey("/a"), nil))
	_, err = postgres.Open(t.Context(), guest, postgres.Options{Table: newTable()})
	require.ErrorContains(t, err, "permission denied")

	_, err = c.Exec(t.Context(), `CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0`)
	require.NoError(t, err)
	_, err = postgres.Open(t.Context(), strings.Replace(at, "/postgres?", "/latin?", 1), postgres.Options{})
	require.ErrorContains(t, err, "LATIN1")
}

func TestKillingTheServerLosesNoAcknowledgedBatch(t *testing.T) {
	server := newServer(t)
	t.Cleanup(func() {
		server.kill()
		require.NoError(t, os.RemoveAll(server.dir))
	})
	const writers, records = 2, 6000
	table := newTable()
	var known [writers]uint64 // acknowledged
	for round := range 8 {
		var group sync.WaitGroup
		began := make(chan struct{}, 1000)
		stores := [writers]*postgres.Store{}
		for w := range writers {
			s, err := postgres.Open(t.Context(), server.url, postgres.Options{Table: table})
			require.NoError(t, err)
			stores[w] = s
			group.Go(func() {
				for n := known[w] + 1; ; n++ {
					b, _ := s.Batch(t.Context())
					for i := range records {
						_ = b.Put(t.Context(), ds.NewKey(fmt.Sprintf("/%d/%d", w, i)), binary.BigEndian.AppendUint64(nil, n))
					}
					select {
					case began <- struct{}{}:
					default:
					}
					if b.Commit(t.Context()) != nil {
						return // the server is gone
					}
					known[w] = n
				}
			})
		}
		for range 3 + rand.IntN(4) {
			<-began
		}
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond) // at any moment of a batch
		server.kill()
		group.Wait()
		for _, s := range stores {
			require.NoError(t, s.Close())
		}
		server.start(t)
		s, err := postgres.Open(t.Context(), server.url, postgres.Options{Table: table})
		require.NoError(t, err)
		for w := range writers {
			entries := all(t, s, query.Query{Prefix: fmt.Sprint("/", w)})
			if known[w] == 0 && len(entries) == 0 {
				continue
			}
			require.Len(t, entries, records, "round %d", round)
			there := binary.BigEndian.Uint64(entries[0].Value)
			require.GreaterOrEqual(t, there, known[w], "an acknowledged batch is lost")
			for _, e := range entries {
				require.Equal(t, there, binary.BigEndian.Uint64(e.Value), "a batch is there in part")
			}
			known[w] = there
		}
		require.NoError(t, s.Close())
	}
	assert.Positive(t, known[0]+known[1])
}
