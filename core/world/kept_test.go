package world_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/core/world/seat"
)

// disk is a store that may be full or unreadable.
type disk struct {
	*dssync.MutexDatastore
	mu     sync.Mutex
	full   error
	broken error
}

func newDisk() *disk { return &disk{MutexDatastore: dssync.MutexWrap(datastore.NewMapDatastore())} }

func (d *disk) set(full, broken error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full, d.broken = full, broken
}

func (d *disk) Batch(ctx context.Context) (datastore.Batch, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full != nil {
		return nil, d.full
	}
	return d.MutexDatastore.Batch(ctx)
}

func (d *disk) Get(ctx context.Context, k datastore.Key) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return nil, d.broken
	}
	return d.MutexDatastore.Get(ctx, k)
}

func kept(store datastore.Batching) world.Options {
	return harbour(world.Options{Name: "harbour", Hz: 50, Store: store, Grace: time.Nanosecond})
}

// buoysOf returns the buoys as a spectator sees them, once it sees n.
func buoysOf(t *testing.T, at node, n int) map[uint32]demo.Thing {
	p := join(t, at, seat.Options{Spectator: true})
	p.until(t, "all buoys are seen", func(*seat.Tick) bool { return p.view.Len() == n })
	buoys := make(map[uint32]demo.Thing)
	for e, thing := range p.view.All() {
		buoys[e] = thing
	}
	return buoys
}

// ticked returns after a whole tick.
func ticked(room *world.Room) {
	for range 2 {
		called := make(chan struct{})
		room.Do(func() { close(called) })
		<-called
	}
}

func TestAWorldIsThereAgainAsItWas(t *testing.T) {
	d := newDisk()
	opts := kept(d)
	opts.SaveEvery, opts.Spectators = time.Hour, 1 // the room is saved only when it ends
	at, room := hold(t, &demo.Harbour{Size: 100, Buoys: 40, Seed: 3}, opts)
	n := newNode(t)
	n.connect(t, at)
	p := sit(t, n, at, seat.Options{Data: papers("Ann", 7)})
	_, err := p.Input(demo.AppendInput(nil, 5, 7))
	require.NoError(t, err)
	p.until(t, "it sails, and scores", func(*seat.Tick) bool { own, _ := p.view.Get(p.boat); return own.Score > 0 })
	ticked(room)
	require.NoError(t, room.Close())

	again := &demo.Harbour{Buoys: 99}
	at, room = hold(t, again, opts)
	n.connect(t, at)
	was := p.view
	own, _ := was.Get(p.boat)
	q := sit(t, n, at, seat.Options{})
	q.until(t, "it sees itself", q.sees(q.boat))
	now, _ := q.view.Get(q.boat)
	assert.Equal(t, own.Hue, now.Hue, "the boat is the same")
	assert.GreaterOrEqual(t, now.Score, own.Score)
	require.NoError(t, q.Leave())
	assert.Equal(t, 40, len(buoysOf(t, at, 40)), "there are as many buoys, and no boat of a player that left")
	assert.Equal(t, 100, again.Size)
	require.NoError(t, room.Close())
}

func TestWhoComesBackIsKnownBeforeAndAfterTheStoreIsToldOfIt(t *testing.T) {
	d := newDisk()
	for _, every := range []time.Duration{time.Hour, 10 * time.Millisecond} {
		t.Run(every.String(), func(t *testing.T) {
			opts := kept(d)
			opts.SaveEvery = every
			at, room := hold(t, &demo.Harbour{}, opts)
			n := newNode(t)
			n.connect(t, at)
			var hue byte
			for i := range 5 {
				p := sit(t, n, at, seat.Options{})
				p.until(t, "it sees itself", p.sees(p.boat))
				own, _ := p.view.Get(p.boat)
				if i > 0 {
					require.Equal(t, hue, own.Hue)
				}
				hue = own.Hue
				require.NoError(t, p.Leave())
				if every < time.Hour {
					stored := room.Stats().Stored
					require.Eventually(t, func() bool { return i > 0 || room.Stats().Stored > stored || stored > 1 }, limit, time.Millisecond)
				}
			}
			require.NoError(t, room.Close())
		})
	}
}

func TestAFullDiskCostsNoPlayerTheGame(t *testing.T) {
	d := newDisk()
	full := errors.New("no space left on device")
	opts := kept(d)
	opts.SaveEvery = 10 * time.Millisecond
	at, room := hold(t, &demo.Harbour{Buoys: 3}, opts)
	p := join(t, at, seat.Options{})
	require.NoError(t, room.Flush(bounded(t)))
	d.set(full, nil)
	ticked(room)
	require.ErrorIs(t, room.Flush(bounded(t)), full)
	p.until(t, "the game goes on", func(tick *seat.Tick) bool { return room.Stats().StoreFailures > 5 })
	require.NoError(t, p.Leave())
	q := join(t, at, seat.Options{})
	q.until(t, "others may join", q.sees(q.boat))
	d.set(nil, nil)
	require.NoError(t, room.Flush(bounded(t)), "what failed is tried again")
	d.set(full, nil)
	ticked(room)
	require.ErrorIs(t, room.Close(), full, "Close reports what could not be stored")
	require.ErrorIs(t, room.Wait(bounded(t)), world.ErrClosed)
	require.ErrorIs(t, room.Flush(bounded(t)), world.ErrClosed)
}

func TestOfTooManyPlayersNothingIsKept(t *testing.T) {
	opts := kept(newDisk())
	opts.SaveEvery = 10 * time.Millisecond
	at, room := hold(t, &demo.Harbour{}, opts)
	hueOf := func(n node) byte {
		p := sit(t, n, at, seat.Options{})
		p.until(t, "it sees itself", p.sees(p.boat))
		own, _ := p.view.Get(p.boat)
		require.NoError(t, p.Leave())
		return own.Hue
	}
	early, late := newNode(t), newNode(t)
	early.connect(t, at)
	late.connect(t, at)
	known := hueOf(early)
	require.NoError(t, room.Flush(bounded(t)))
	room.FillKept()
	_ = hueOf(late)
	require.NoError(t, room.Flush(bounded(t)))
	require.NotZero(t, room.Stats().Lost)
	require.Equal(t, known, hueOf(early))
}

func TestAStoreThatHangsHoldsUpNeitherTheGameNorItsEnd(t *testing.T) {
	t.Parallel()
	d := &hanging{newDisk(), make(chan struct{})}
	t.Cleanup(func() { close(d.hangs) })
	opts := kept(d)
	opts.SaveEvery = 10 * time.Millisecond
	at := newNode(t)
	rooms, err := world.New(at)
	require.NoError(t, err)
	room, err := rooms.Host(&demo.Harbour{Buoys: 3}, opts)
	require.NoError(t, err)
	p := join(t, at, seat.Options{})
	for range 100 {
		p.until(t, "the game goes on", func(*seat.Tick) bool { return true })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, room.Flush(ctx), context.DeadlineExceeded)
	require.ErrorContains(t, rooms.Close(), "the store does not answer")
}

// hanging is a disk that does not answer.
type hanging struct {
	*disk
	hangs chan struct{}
}

func (d *hanging) Batch(context.Context) (datastore.Batch, error) {
	<-d.hangs
	return nil, errors.New("at last")
}

func TestWhatCannotBeReadRefusesRatherThanForgets(t *testing.T) {
	d := newDisk()
	at, room := hold(t, &demo.Harbour{Buoys: 3}, kept(d))
	p := join(t, at, seat.Options{})
	require.NoError(t, room.Flush(bounded(t)))
	bad := errors.New("input/output error")
	d.set(nil, bad)
	n := newNode(t)
	n.connect(t, at)
	_, err := seat.Join(bounded(t), n, "harbour", seat.Options{Host: at.ID(), Version: demo.Version})
	require.ErrorContains(t, err, "what is kept of the player cannot be read")
	d.set(nil, nil)
	require.NoError(t, p.Leave())
	require.NoError(t, room.Close())

	rooms, err := world.New(newNode(t))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, rooms.Close()) })
	refused := func(why string) {
		t.Helper()
		_, err := rooms.Host(&demo.Harbour{}, kept(d))
		require.ErrorContains(t, err, why)
	}
	d.set(nil, bad)
	refused(bad.Error())
	d.set(nil, nil)
	results, err := d.Query(t.Context(), query.Query{Prefix: "/rooms", KeysOnly: true})
	require.NoError(t, err)
	all, err := results.Rest()
	require.NoError(t, err)
	version := slices.IndexFunc(all, func(e query.Entry) bool { return strings.Count(e.Key, "/") == 3 && strings.HasSuffix(e.Key, "/v") })
	root := datastore.RawKey(all[version].Key).Parent().String()
	key := func(name string) datastore.Key { return datastore.NewKey(root).ChildString(name) }
	for name, why := range map[string]string{
		"e/zzzzzzz": "damaged", "e/-1": "damaged", "e/5": "damaged", "g/!": "damaged", "v": "of format \"\\x01\"",
	} {
		before, err := d.Get(t.Context(), key(name))
		require.NoError(t, errors.Join(d.Put(t.Context(), key(name), []byte{1})))
		refused(why)
		if err != nil {
			require.NoError(t, d.Delete(t.Context(), key(name)))
		} else {
			require.NoError(t, d.Put(t.Context(), key(name), before))
		}
	}
	short := datastore.NewKey(root).ChildString("e/0")
	value, err := d.Get(t.Context(), short)
	require.NoError(t, err)
	require.NoError(t, d.Put(t.Context(), short, value[:9]))
	room, err = rooms.Host(&demo.Harbour{}, kept(d))
	require.NoError(t, err)
	require.ErrorContains(t, room.Wait(bounded(t)), "restore entity 0")
	require.NoError(t, d.Put(t.Context(), short, value))
	room, err = rooms.Host(&demo.Harbour{}, kept(d))
	require.NoError(t, err, "nothing was lost by all that")
	require.NoError(t, room.Close())

	_, err = rooms.Host(struct{ world.Game }{}, kept(d))
	require.ErrorContains(t, err, "is no Keeper")
	plain, err := rooms.Host(&demo.Harbour{}, harbour(world.Options{Name: "plain"}))
	require.NoError(t, err)
	require.ErrorIs(t, plain.Flush(bounded(t)), world.ErrNotKept)
}

func TestWhatAnEarlierVersionHasKeptIsRead(t *testing.T) {
	n := newNode(t)
	d := newDisk()
	for key, value := range map[string]string{ // as the first version wrote it, without boards and claims
		"v":                           "1",
		"e/3f":                        "\x00\x00\x80\x3f\x00\x00\x00\x40",
		"p/" + n.ID().String() + "/0": "\x00\x00\x01\x02",
		"g/E9NNARJ4":                  "7",
	} {
		require.NoError(t, d.Put(t.Context(), datastore.NewKey("/rooms/DHIM8PR5E8/"+key), []byte(value)))
	}
	opts, game := ledgerOptions, new(ledger)
	opts.Store = d
	at, room := hold(t, game, opts)
	require.Equal(t, "ledger", room.Name())
	n.connect(t, at)
	s, err := seat.Join(bounded(t), n, "ledger", seat.Options{Host: at.ID()})
	require.NoError(t, err)
	done := make(chan struct{})
	room.Do(func() {
		defer close(done)
		x, y := game.w.At(123)
		assert.Equal(t, [2]float32{1, 2}, [2]float32{x, y})
		assert.Equal(t, "7", string(game.w.Kept("round")))
		assert.EqualValues(t, 0x102, game.has[game.of[0]])
	})
	<-done
	require.NoError(t, s.Leave())
}
