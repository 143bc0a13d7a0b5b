package behind

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// disk is a store whose commits take some time, or fail.
type disk struct {
	*dssync.MutexDatastore
	takes time.Duration

	mu      sync.Mutex
	err     error
	batches []time.Time
	puts    int
}

func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func newDisk() *disk { return &disk{MutexDatastore: dssync.MutexWrap(datastore.NewMapDatastore())} }

func (d *disk) Batch(ctx context.Context) (datastore.Batch, error) {
	b, err := d.MutexDatastore.Batch(ctx)
	return &diskBatch{b, d}, err
}

type diskBatch struct {
	datastore.Batch
	d *disk
}

func (b *diskBatch) Put(ctx context.Context, k datastore.Key, v []byte) error {
	b.d.mu.Lock()
	b.d.puts++
	b.d.mu.Unlock()
	return b.Batch.Put(ctx, k, v)
}

func (b *diskBatch) Commit(ctx context.Context) error {
	b.d.mu.Lock()
	b.d.batches = append(b.d.batches, time.Now())
	err := b.d.err
	b.d.mu.Unlock()
	time.Sleep(b.d.takes)
	if err != nil {
		return err
	}
	return b.Batch.Commit(ctx)
}

var key = datastore.NewKey("/a")

func (d *disk) at(t *testing.T, k datastore.Key) string {
	v, err := d.Get(t.Context(), k)
	if errors.Is(err, datastore.ErrNotFound) {
		return "nothing"
	}
	require.NoError(t, err)
	return string(v)
}

// owner makes the changes that its Writer stores.
type owner struct {
	sync.Mutex
	count Stats
	*Writer
}

func newOwner(d *disk, opts Options) *owner {
	o := &owner{}
	opts.Count, opts.What = &o.count, "a test"
	o.Writer = New(d, o, opts)
	return o
}

func (o *owner) set(k datastore.Key, v string) {
	o.Lock()
	defer o.Unlock()
	o.Change(k, func() []byte { return []byte(v) })
}

func TestNoChangeIsLostThatIsOlderThanTheDelayAndItsCommit(t *testing.T) {
	for _, takes := range []time.Duration{0, 300 * time.Millisecond, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk()
			d.takes = takes
			o := newOwner(d, Options{})
			began := time.Now()
			bound := max(DefaultDelay, takes) + takes
			const step = 130 * time.Millisecond
			for range 100 {
				o.set(key, time.Now().Format(time.RFC3339Nano))
				time.Sleep(step)
				if time.Since(began) <= bound {
					continue
				}
				stored, err := time.Parse(time.RFC3339Nano, d.at(t, key))
				if assert.NoError(t, err) {
					assert.LessOrEqual(t, time.Since(stored), bound+step, "the stored value was the newest one until a step after it was set")
				}
			}
			require.NoError(t, o.Close())
			for i := 1; i < len(d.batches); i++ {
				assert.GreaterOrEqual(t, d.batches[i].Sub(d.batches[i-1]), takes, "one batch at a time")
			}
			assert.Equal(t, len(d.batches), d.puts, "only the newest value of a key is written")
		})
	}
}

func TestFlushAndCloseLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.takes = 100 * time.Millisecond
		o := newOwner(d, Options{Delay: time.Hour})
		began := time.Now()
		o.set(key, "1")
		time.Sleep(50 * time.Millisecond)
		o.set(key, "2")
		require.NoError(t, o.Flush(t.Context()))
		assert.Equal(t, "2", d.at(t, key))
		assert.Less(t, time.Since(began), time.Minute, "it does not wait for the delay")
		require.NoError(t, o.Flush(t.Context()), "with nothing to write")
		o.Lock()
		o.Change(key, nil)
		o.Unlock()
		o.set(datastore.NewKey("/b"), "")
		require.NoError(t, o.Close())
		assert.Equal(t, "nothing", d.at(t, key))
		assert.Empty(t, d.at(t, datastore.NewKey("/b")), "an empty value is not a missing one")
		assert.ErrorIs(t, o.Flush(t.Context()), ErrClosed)
	})
}

func TestABatchThatFailsStaysAndIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		full := errors.New("no space left on device")
		d.fail(full)
		o := newOwner(d, Options{})
		for i := range 100 {
			o.set(datastore.NewKey(fmt.Sprint(i)), "old")
		}
		require.ErrorIs(t, o.Flush(t.Context()), full)
		o.set(datastore.NewKey("7"), "new")
		o.Lock()
		o.Change(datastore.NewKey("8"), nil)
		o.Unlock()
		time.Sleep(2 * time.Minute)
		d.mu.Lock()
		assert.Less(t, len(d.batches), 12, "it is tried less and less often")
		d.mu.Unlock()
		d.fail(nil)
		require.NoError(t, o.Flush(t.Context()), "Flush tries at once")
		assert.Equal(t, "old", d.at(t, datastore.NewKey("0")))
		assert.Equal(t, "new", d.at(t, datastore.NewKey("7")), "what has changed since is not undone")
		assert.Equal(t, "nothing", d.at(t, datastore.NewKey("8")))
		require.NoError(t, o.Close())
		assert.Zero(t, o.count.GivenUp)
		assert.Equal(t, uint64(1), o.count.Batches)
		assert.NotZero(t, o.count.Failures)
	})
}

func TestFlushEndsWithItsContextAndWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.takes = time.Hour
		o := newOwner(d, Options{})
		o.set(key, "1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, o.Flush(ctx), context.DeadlineExceeded)
		ended := make(chan error, 1)
		go func() { ended <- o.Flush(context.Background()) }()
		synctest.Wait()
		require.ErrorContains(t, o.Close(), "the store does not answer")
		select {
		case err := <-ended:
			require.NoError(t, err)
		case <-time.After(3 * time.Hour):
			t.Fatal("Flush does not return")
		}
	})
}

func TestNothingIsTriedAgainAfterAnotherWriterHasTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		older := fmt.Errorf("commit: %w", ErrOlder)
		d.fail(older)
		o := newOwner(d, Options{})
		o.set(key, "1")
		o.set(datastore.NewKey("/b"), "1")
		require.ErrorIs(t, o.Flush(t.Context()), ErrOlder)
		d.fail(nil)
		o.set(key, "2")
		require.ErrorIs(t, o.Flush(t.Context()), ErrOlder)
		time.Sleep(time.Hour)
		require.ErrorIs(t, o.Close(), ErrOlder)
		assert.Equal(t, "nothing", d.at(t, key))
		assert.Len(t, d.batches, 1)
		assert.Equal(t, uint64(3), o.count.GivenUp)
		assert.Equal(t, uint64(1), o.count.Failures)
	})
}
