//go:build linux

package postgres_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/postgres"
)

// machine is a node with rooms and its own connection to the database.
type machine struct {
	*core.Node
	rooms *world.Rooms
	store *postgres.Store
	log   *log
}

// log collects what rooms log.
type log struct {
	mu   sync.Mutex
	said bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said.Write(b)
}

func (l *log) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.said.String(), what)
}

func newKey(t *testing.T) crypto.PrivKey {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	return key
}

func newMachine(t *testing.T, key crypto.PrivKey, table string) *machine {
	n, err := native.New(t.Context(), native.Options{
		Identity: key, Listen: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0")}, NoMDNS: true, NoPortMapping: true,
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	rooms, err := world.New(n)
	require.NoError(t, err)
	t.Cleanup(func() { _ = rooms.Close() })
	return &machine{n, rooms, openAt(t, sharedServer(t).url, table), new(log)}
}

func (m *machine) options(standbys ...peer.ID) world.Options {
	return world.Options{
		Name: "harbour", Hidden: true, Hz: 50, Store: m.store, SaveEvery: 20 * time.Millisecond, Standbys: standbys,
		Logger: slog.New(slog.NewTextHandler(m.log, nil)),
	}
}

func (m *machine) host(t *testing.T, h *harbour, standbys ...peer.ID) *world.Room {
	room, err := m.rooms.Host(h, m.options(standbys...))
	require.NoError(t, err)
	return room
}

func (m *machine) connect(t *testing.T, to *machine) {
	_, err := m.Connect(t.Context(), fmt.Sprint(to.Addrs()[0]))
	require.NoError(t, err)
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func buoys(n int) *harbour { return &harbour{Harbour: demo.Harbour{Size: 100, Buoys: n}} }

// stored waits until the room has stored something after now.
func stored(t *testing.T, room *world.Room) {
	was := room.Stats().Stored
	require.Eventually(t, func() bool { return room.Stats().Stored > was }, time.Minute, time.Millisecond)
}

func TestTheHostThatStartsLastIsTheOneThatWrites(t *testing.T) {
	table := newTable()
	first, second := newMachine(t, newKey(t), table), newMachine(t, newKey(t), table)
	older := first.host(t, buoys(40))
	stored(t, older)
	require.Equal(t, uint32(1), older.Epoch())

	taken := buoys(99)
	newer := second.host(t, taken)
	require.Equal(t, uint32(2), newer.Epoch())
	require.Eventually(t, func() bool { return first.log.count("another writer has taken over") > 0 }, time.Minute, time.Millisecond)
	failures := older.Stats().StoreFailures
	require.ErrorIs(t, older.Flush(t.Context()), postgres.ErrOlder)
	require.NoError(t, newer.Flush(t.Context()))
	was := older.Stats().Tick
	require.Eventually(t, func() bool { return older.Stats().Tick > was+100 }, time.Minute, time.Millisecond, "the game goes on")
	assert.Equal(t, failures, older.Stats().StoreFailures, "it is not tried again")
	require.NoError(t, newer.Close())
	require.Len(t, taken.restored, 40, "it went on with what the older one had stored")
	require.ErrorIs(t, older.Close(), postgres.ErrOlder)
	assert.Equal(t, 1, first.log.count("another writer has taken over"), "and said once")

	again := buoys(0)
	third := first.host(t, again)
	require.Equal(t, uint32(3), third.Epoch())
	require.NoError(t, third.Close())
	require.Equal(t, taken.saved, again.restored)
}

func TestHostsThatStartAtOnceAreKeptApart(t *testing.T) {
	table := newTable()
	var machines []*machine
	for range 4 {
		machines = append(machines, newMachine(t, newKey(t), table))
	}
	rooms := make([]*world.Room, len(machines))
	var starting sync.WaitGroup
	for i, m := range machines {
		starting.Go(func() {
			room, err := m.rooms.Host(buoys(3), m.options())
			assert.NoError(t, err)
			rooms[i] = room
		})
	}
	starting.Wait()
	require.NotContains(t, rooms, (*world.Room)(nil))
	require.Eventually(t, func() bool { // a host finds out when it has something to store
		held := slices.DeleteFunc(slices.Clone(rooms), func(r *world.Room) bool {
			return errors.Is(r.Flush(t.Context()), postgres.ErrOlder)
		})
		return len(held) == 1 && held[0].Flush(t.Context()) == nil
	}, time.Minute, time.Millisecond)
}

func TestAStandbyThatTakesOverWritesAndTheHostBeforeDoesNot(t *testing.T) {
	table := newTable()
	a, b := newMachine(t, newKey(t), table), newMachine(t, newKey(t), table)
	b.connect(t, a)
	game := buoys(40)
	room := a.host(t, game, b.ID())
	next := buoys(0)
	standby, err := b.rooms.StandBy(a.ID(), next, b.options())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(room.Standbys()) == 1 }, 5*time.Second, time.Millisecond, "%s %s", &a.log.said, &b.log.said)
	stored(t, room)
	_, err = room.HandOver(bounded(t))
	require.NoError(t, err)
	held, err := standby.Wait(bounded(t))
	require.NoError(t, err)
	require.Equal(t, uint32(2), held.Epoch())
	require.NoError(t, held.Flush(bounded(t)))
	var moved *world.Moved
	require.ErrorAs(t, room.Wait(bounded(t)), &moved)
	require.NoError(t, room.Close(), "the standby has stored what the host could not")
	require.NoError(t, held.Close())

	rows := all(t, a.store, query.Query{})
	require.NotEmpty(t, rows)
	again := buoys(0)
	third := a.host(t, again)
	require.Equal(t, uint32(3), third.Epoch())
	require.NoError(t, third.Close())
	require.Equal(t, next.saved, again.restored)
}

func TestAHostThatIsStartedAnewDoesNotYieldToItsStandby(t *testing.T) {
	table, key := newTable(), newKey(t)
	a, b := newMachine(t, key, table), newMachine(t, newKey(t), table)
	b.connect(t, a)
	room := a.host(t, buoys(40), b.ID())
	standby, err := b.rooms.StandBy(a.ID(), buoys(0), b.options())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(room.Standbys()) == 1 }, time.Minute, time.Millisecond)
	stored(t, room)
	require.NoError(t, a.Node.Host().Close()) // as when its machine is lost
	held, err := standby.Wait(bounded(t))
	require.NoError(t, err)
	require.NoError(t, held.Flush(bounded(t)))
	require.Eventually(t, func() bool { return errors.Is(room.Flush(t.Context()), postgres.ErrOlder) }, time.Minute, time.Millisecond,
		"once it has something to store")

	again := newMachine(t, key, table)
	taken := buoys(0)
	third := again.host(t, taken, b.ID())
	require.Equal(t, uint32(3), third.Epoch())
	again.connect(t, b)
	var moved *world.Moved
	require.ErrorAs(t, held.Wait(bounded(t)), &moved, "the standby lets go of the room")
	assert.Equal(t, world.Moved{Host: again.ID(), Epoch: 3}, *moved)
	require.NoError(t, third.Flush(bounded(t)))
	require.NoError(t, third.Close())
	require.Len(t, taken.restored, 40)
	require.ErrorIs(t, room.Close(), postgres.ErrOlder)
}
