package replay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

func newMemory() *dssync.MutexDatastore {
	return dssync.MutexWrap(datastore.NewMapDatastore())
}

// mortal is a store without atomic batches that fails after some writes. The
// writes of the last batch up to then stay.
type mortal struct {
	*dssync.MutexDatastore
	left atomic.Int64 // the number of writes left
}

func newMortal(writes int) *mortal {
	m := &mortal{MutexDatastore: newMemory()}
	m.left.Store(int64(writes))
	return m
}

var errDead = errors.New("dead")

type mortalBatch struct {
	m   *mortal
	ops []func(context.Context) error
}

func (m *mortal) Batch(context.Context) (datastore.Batch, error) { return &mortalBatch{m: m}, nil }

func (b *mortalBatch) Put(_ context.Context, k datastore.Key, v []byte) error {
	v = slices.Clone(v)
	b.ops = append(b.ops, func(ctx context.Context) error { return b.m.Put(ctx, k, v) })
	return nil
}

func (b *mortalBatch) Delete(_ context.Context, k datastore.Key) error {
	b.ops = append(b.ops, func(ctx context.Context) error { return b.m.Delete(ctx, k) })
	return nil
}

func (b *mortalBatch) Commit(ctx context.Context) error {
	for _, op := range b.ops {
		if b.m.left.Load() == 0 {
			return errDead
		}
		b.m.left.Add(-1)
		if err := op(ctx); err != nil {
			return err
		}
	}
	return nil
}

func TestHistoryIsThereAgainAfterARestart(t *testing.T) {
	db := newMemory()
	opts := replay.HistoryOptions{Limits: replay.Limits{Count: 10}, Store: db}.OfPublishers(2)
	here := openHistory(t, opts)
	a, b := newPublisher(t), newPublisher(t)
	require.True(t, here.Add(unsigned("forgotten", 1, 1, 10)).New)
	a.add(here, 1, 1, 3)
	a.add(here, 2, 5, 9)
	b.add(here, 7, 1, 20)
	require.True(t, here.Skip(b.id, message.ID{Epoch: 7, Seq: 30}))
	require.NoError(t, here.Close())
	before := here.Stats()

	again := openHistory(t, opts)
	require.Equal(t, here.Cursors(), again.Cursors())
	after := again.Stats()
	require.EqualValues(t, before.Entries, after.Loaded)
	require.Equal(t, before.Bytes, after.Bytes)
	require.Zero(t, after.Damaged)
	require.False(t, again.Add(b.entry(7, 1)).New, "an evicted number is still known")

	away := newNode(t, replay.Limits{}, nil)
	server := newNode(t, replay.Limits{}, func(o *replay.Options) {
		o.Histories = func(string) *replay.History { return again }
	})
	answer, _, err := away.sync(t, server.Host, replay.Ask{})
	require.NoError(t, err)
	require.Equal(t, 10, answer.Received)
	require.Equal(t, uint64(1), answer.Forgotten)
	require.NotEmpty(t, answer.Gaps)
}

func TestHistoriesOfOneStoreDoNotMix(t *testing.T) {
	db := newMemory()
	for round := range 2 {
		for _, name := range []string{"chat", "chat/a", "chat ", "CHAT", "\xff"} {
			h, err := replay.Open(context.Background(), name, replay.HistoryOptions{Store: db})
			require.NoError(t, err)
			require.EqualValues(t, round, h.Stats().Loaded)
			h.Add(unsigned("p", 1, 1, 1))
			require.Len(t, h.Cursors(), 1)
			require.NoError(t, h.Close())
			require.Zero(t, h.Stats().Damaged)
		}
	}
}

// Whichever write is the last before the process dies, the history that is
// opened next holds no entry and no number that was not received, and takes
// further entries.
func TestHistoryMakesSenseWhicheverWriteWasTheLast(t *testing.T) {
	a, b := newPublisher(t), newPublisher(t)
	var entries []replay.Entry
	for seq := uint64(1); seq <= 12; seq++ {
		entries = append(entries, a.entry(1+seq/8, seq), b.entry(1, 3*seq))
	}
	all := openHistory(t, replay.HistoryOptions{})
	for _, e := range entries {
		require.True(t, all.Add(e).New)
	}
	limits := replay.Limits{Count: 6}
	for writes := 0; ; writes++ {
		db := newMortal(writes)
		died := false
		synctest.Test(t, func(t *testing.T) {
			h, err := replay.Open(context.Background(), topic(typ), replay.HistoryOptions{Limits: limits, Store: db, FlushDelay: time.Millisecond})
			require.NoError(t, err)
			for i, e := range entries {
				require.True(t, h.Add(e).New)
				if i%4 == 3 {
					time.Sleep(10 * time.Millisecond)
					synctest.Wait()
				}
			}
			if err := h.Close(); err != nil {
				require.ErrorIs(t, err, errDead)
				died = true
			}
		})
		again := openHistory(t, replay.HistoryOptions{Limits: limits, Store: db.MutexDatastore})
		s := again.Stats()
		require.Zero(t, s.Damaged, "after %d writes", writes)
		require.LessOrEqual(t, s.Entries, limits.Count)
		for _, p := range []*publisher{a, b} {
			heard := hads(all, p.id)
			for epoch, had := range hads(again, p.id) {
				for _, r := range had {
					for n := r.From; n <= r.To; n++ {
						require.True(t, heard[epoch].Contains(n), "after %d writes: %d.%d was never heard", writes, epoch, n)
					}
				}
			}
		}
		for _, e := range entries {
			again.Add(e)
		}
		require.Equal(t, all.Cursors(), again.Cursors(), "after %d writes", writes)
		require.NoError(t, again.Close())
		if !died {
			require.Greater(t, writes, 20)
			return
		}
	}
}

func TestStoreThatFailsForAWhileMissesNothingInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newMortal(3)
		h, err := replay.Open(context.Background(), topic(typ), replay.HistoryOptions{Store: db, FlushDelay: time.Second})
		require.NoError(t, err)
		for seq := range uint64(100) {
			require.True(t, h.Add(unsigned("p", 1, seq+1, 10)).New)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		failures := h.Stats().WriteFailures
		require.NotZero(t, failures)
		require.Less(t, failures, uint64(10), "it is tried less and less often")
		db.left.Store(1 << 20)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.NotZero(t, h.Stats().Written)
		require.NoError(t, h.Close())
		again, err := replay.Open(context.Background(), topic(typ), replay.HistoryOptions{Store: db})
		require.NoError(t, err)
		require.Equal(t, uint64(100), again.Stats().Loaded)
		require.NoError(t, again.Close())
	})
}

func TestStoreThatNeverTakesAnythingIsAnErrorOfClose(t *testing.T) {
	h, err := replay.Open(context.Background(), topic(typ), replay.HistoryOptions{Store: newMortal(0)})
	require.NoError(t, err)
	require.True(t, h.Add(unsigned("p", 1, 1, 10)).New)
	require.ErrorIs(t, h.Close(), errDead)
	require.ErrorIs(t, h.Close(), errDead)
}

// hanging is a store whose commits block until their ctx ends.
type hanging struct{ *dssync.MutexDatastore }

type hangingBatch struct{ datastore.Batch }

func (h hanging) Batch(ctx context.Context) (datastore.Batch, error) {
	b, err := h.MutexDatastore.Batch(ctx)
	return hangingBatch{b}, err
}

func (hangingBatch) Commit(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestStoreThatHangsDoesNotHoldUpCloseForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := replay.Open(context.Background(), topic(typ), replay.HistoryOptions{Store: hanging{newMemory()}})
		require.NoError(t, err)
		require.True(t, h.Add(unsigned("p", 1, 1, 10)).New)
		time.Sleep(time.Minute)
		require.True(t, h.Add(unsigned("p", 1, 2, 10)).New, "Add does not wait either")
		require.ErrorContains(t, h.Close(), "does not answer")
	})
}

func TestDamagedRecordsAreCountedDeletedAndCostNothingElse(t *testing.T) {
	ctx := context.Background()
	db := newMemory()
	p := newPublisher(t)
	fill := openHistory(t, replay.HistoryOptions{Store: db})
	p.add(fill, 1, 1, 20)
	require.True(t, fill.Add(unsigned("q", 1, 1, 10)).New)
	require.NoError(t, fill.Close())

	results, err := db.Query(ctx, query.Query{Orders: []query.Order{query.OrderByKey{}}})
	require.NoError(t, err)
	all, err := results.Rest()
	require.NoError(t, err)
	require.Len(t, all, 23) // 21 entries, 2 publishers
	var ofP, other []query.Entry
	for _, e := range all {
		if bytes.Contains([]byte(e.Key), []byte("/e/"+p.id.String())) {
			ofP = append(ofP, e)
		} else {
			other = append(other, e)
		}
	}
	require.Len(t, ofP, 20)
	put := func(key string, v []byte) { require.NoError(t, db.Put(ctx, datastore.RawKey(key), v)) }
	put(ofP[0].Key, nil)
	put(ofP[1].Key, ofP[1].Value[:len(ofP[1].Value)-1])
	flipped := slices.Clone(ofP[2].Value)
	flipped[len(flipped)/2] ^= 1
	put(ofP[2].Key, flipped)
	put(ofP[3].Key, ofP[4].Value)        // the value of another entry
	put(ofP[5].Key, other[0].Value)      // the value of another publisher
	put(ofP[6].Key+"0", ofP[6].Value)    // under a key of no entry
	put(parent(ofP[0].Key, 4)+"/x", nil) // under a key of no kind
	put(parent(ofP[0].Key, 4)+"/f", nil) // an empty count of forgotten publishers
	const damaged, lost = 8, 5

	h := openHistory(t, replay.HistoryOptions{Store: db})
	s := h.Stats()
	require.EqualValues(t, damaged, s.Damaged)
	require.EqualValues(t, 21-lost, s.Loaded)
	require.Equal(t, map[uint64]replay.Ranges{1: {{From: 1, To: 20}}}, hads(h, p.id))
	require.NoError(t, h.Close())
	again := openHistory(t, replay.HistoryOptions{Store: db})
	require.Zero(t, again.Stats().Damaged, "they were deleted")
	require.EqualValues(t, 21-lost, again.Stats().Loaded)
}

// deleteUnder deletes the records of a store whose keys contain part.
func deleteUnder(t *testing.T, db datastore.Datastore, part string) {
	t.Helper()
	results, err := db.Query(t.Context(), query.Query{KeysOnly: true})
	require.NoError(t, err)
	all, err := results.Rest()
	require.NoError(t, err)
	for _, e := range all {
		if strings.Contains(e.Key, part) {
			require.NoError(t, db.Delete(t.Context(), datastore.RawKey(e.Key)))
		}
	}
}

// parent returns a key without its last n parts.
func parent(key string, n int) string {
	k := datastore.RawKey(key)
	for range n {
		k = k.Parent()
	}
	return k.String()
}

func TestSmallerLimitsHoldAfterARestart(t *testing.T) {
	db := newMemory()
	h := openHistory(t, replay.HistoryOptions{Store: db})
	for i := range 5 {
		for seq := range uint64(20) {
			require.True(t, h.Add(unsigned(fmt.Sprint(i), 1, seq+1, 10)).New)
		}
	}
	require.NoError(t, h.Close())
	for range 2 {
		h = openHistory(t, replay.HistoryOptions{Store: db, Limits: replay.Limits{Count: 12}}.OfPublishers(3))
		require.Equal(t, 12, h.Stats().Entries)
		require.Equal(t, 3, h.Stats().Publishers)
		require.NoError(t, h.Close())
	}
	require.EqualValues(t, 12, h.Stats().Loaded, "evicted entries were deleted")
}

// unreadable is a store that can be written but not read.
type unreadable struct{ *dssync.MutexDatastore }

func (unreadable) Query(context.Context, query.Query) (query.Results, error) { return nil, errDead }

func TestStoreThatCannotBeReadIsAnErrorThatNamesTheHistory(t *testing.T) {
	_, err := replay.Open(context.Background(), topic(typ), replay.HistoryOptions{Store: unreadable{newMemory()}})
	require.ErrorIs(t, err, errDead)
	require.ErrorContains(t, err, topic(typ))
}
