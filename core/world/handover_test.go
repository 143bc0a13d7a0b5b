package world_test

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// ledger is a game in which every input adds to its player's number. All players see all
// numbers.
type ledger struct {
	w     *world.World
	of    []world.Entity
	has   []uint32
	stuck atomic.Pointer[chan struct{}]
}

func (l *ledger) Start(w *world.World) { l.w = w }

func (l *ledger) Join(p *world.Player, _ []byte) ([]byte, error) {
	e := l.w.Spawn(0, 0)
	for len(l.of) <= p.Slot() {
		l.of = append(l.of, 0)
	}
	for len(l.has) < l.w.Bound() {
		l.has = append(l.has, 0)
	}
	l.of[p.Slot()], l.has[e] = e, 0
	if k := p.Kept(); len(k) == 4 {
		l.has[e] = binary.BigEndian.Uint32(k)
	}
	p.Follow(e)
	return binary.BigEndian.AppendUint32(nil, uint32(e)), nil
}

func (l *ledger) Input(p *world.Player, data []byte) {
	e := l.of[p.Slot()]
	l.has[e] += uint32(data[0])
	l.w.Touch(e)
}

func (l *ledger) Tick() {
	if stuck := l.stuck.Load(); stuck != nil {
		<-*stuck
	}
}

func (l *ledger) Leave(p *world.Player, _ world.Reason) { l.w.Remove(l.of[p.Slot()]) }

func (l *ledger) Whole(e world.Entity, dst []byte) []byte {
	return binary.BigEndian.AppendUint32(dst, l.has[e])
}
func (l *ledger) Change(e world.Entity, dst []byte) []byte       { return l.Whole(e, dst) }
func (l *ledger) Save(_ world.Entity, dst []byte) ([]byte, bool) { return dst, false }
func (l *ledger) Restore(world.Entity, []byte) error             { return nil }
func (l *ledger) SavePlayer(p *world.Player, dst []byte) []byte  { return l.Whole(l.of[p.Slot()], dst) }

var ledgerOptions = world.Options{Name: "ledger", Hz: 20, Inputs: 1000}

// hosting is a node that can host rooms.
type hosting struct {
	node
	rooms *world.Rooms
}

func newHosting(t *testing.T) hosting {
	n := newNode(t)
	rooms, err := world.New(n)
	require.NoError(t, err)
	t.Cleanup(func() { _ = rooms.Close() })
	return hosting{n, rooms}
}

// stood returns a host, its room and game, and standbys that are ready.
func stood(t *testing.T, standbys int) (host hosting, room *world.Room, game *ledger, stand []hosting, stands []*world.Standby) {
	host, game = newHosting(t), new(ledger)
	opts := ledgerOptions
	for range standbys {
		s := newHosting(t)
		s.connect(t, host.node)
		stand = append(stand, s)
		opts.Standbys = append(opts.Standbys, s.ID())
	}
	for i, a := range stand {
		for _, b := range stand[:i] {
			a.connect(t, b.node)
		}
	}
	room, err := host.rooms.Host(game, opts)
	require.NoError(t, err)
	for _, s := range stand {
		stands = append(stands, standBy(t, s, host.ID()))
	}
	require.Eventually(t, func() bool { return len(room.Standbys()) == standbys }, limit, time.Millisecond)
	return host, room, game, stand, stands
}

func standBy(t *testing.T, at hosting, host peer.ID) *world.Standby {
	opts := ledgerOptions
	s, err := at.rooms.StandBy(host, new(ledger), opts)
	require.NoError(t, err)
	return s
}

// accountant is a player of the ledger.
type accountant struct {
	*seat.Seat
	has  uint32 // its number, as the host last reported it
	last uint32
	sent atomic.Uint32
}

func newAccountant(t *testing.T, host hosting, stand []hosting) *accountant {
	n := newNode(t)
	n.connect(t, host.node)
	for _, s := range stand {
		n.connect(t, s.node)
	}
	s, err := seat.Join(bounded(t), n, "ledger", seat.Options{Host: host.ID()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Leave() })
	return &accountant{Seat: s}
}

// add sends an input that adds one, as soon as the connection allows.
func (a *accountant) add(t *testing.T) {
	for ctx := bounded(t); ctx.Err() == nil; time.Sleep(time.Millisecond) {
		_, err := a.Input([]byte{1})
		if err == nil {
			a.sent.Add(1)
			return
		}
		if !errors.Is(err, seat.ErrAway) && !errors.Is(err, seat.ErrBehind) {
			assert.NoError(t, err)
			return
		}
	}
}

// until reads ticks until wanted returns true for one.
func (a *accountant) until(t *testing.T, what string, wanted func(*seat.Tick) bool) {
	t.Helper()
	ctx := bounded(t)
	for {
		tick, err := a.Next(ctx)
		require.NoError(t, err, "%s: has %d of %d", what, a.has, a.sent.Load())
		own := binary.BigEndian.Uint32(a.Answer())
		for _, u := range tick.Updates {
			if u.Entity == own && len(u.Data) == 4 {
				a.has = binary.BigEndian.Uint32(u.Data)
			}
		}
		require.GreaterOrEqual(t, tick.Number, a.last)
		a.last = tick.Number
		if wanted(tick) {
			return
		}
	}
}

func (a *accountant) allIsThere(*seat.Tick) bool { return a.has == a.sent.Load() }

// keepAdding makes players send inputs until stop is called.
func keepAdding(t *testing.T, players []*accountant) (stop func()) {
	ctx, cancel := context.WithCancel(bounded(t))
	var adding sync.WaitGroup
	for _, p := range players {
		adding.Go(func() {
			for ctx.Err() == nil {
				p.add(t)
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	return func() { cancel(); adding.Wait() }
}

// waiting waits until players wait at a standby.
func waiting(t *testing.T, s *world.Standby, players int) {
	require.Eventually(t, func() bool { return s.Waiting() == players }, limit, time.Millisecond)
}

// handOver hands the room over once a standby is ready. On a busy machine, a standby may have
// to begin anew.
func handOver(t *testing.T, room *world.Room) (to peer.ID, err error) {
	t.Helper()
	for ctx := bounded(t); ; time.Sleep(10 * time.Millisecond) {
		if to, err = room.HandOver(bounded(t)); !errors.Is(err, world.ErrNoStandby) || ctx.Err() != nil {
			return to, err
		}
	}
}

func TestARoomIsHandedOverAndNothingIsLost(t *testing.T) {
	t.Parallel()
	host, room, _, stand, stands := stood(t, 1)
	players := []*accountant{newAccountant(t, host, stand), newAccountant(t, host, stand)}
	waiting(t, stands[0], len(players))
	stop := keepAdding(t, players)
	for _, p := range players {
		p.until(t, "something is taken", func(*seat.Tick) bool { return p.has > 3 })
	}
	to, err := handOver(t, room)
	require.NoError(t, err)
	assert.Equal(t, stand[0].ID(), to)
	held, err := stands[0].Wait(bounded(t))
	require.NoError(t, err)
	for _, p := range players {
		p.until(t, "the game goes on", func(tick *seat.Tick) bool { return p.Host() == to && tick.Applied > 0 })
	}
	stop()
	for _, p := range players {
		p.until(t, "all that was sent is there, once", p.allIsThere)
	}
	var moved *world.Moved
	require.ErrorAs(t, room.Wait(bounded(t)), &moved)
	assert.Equal(t, world.Moved{Host: stand[0].ID(), Epoch: 2}, *moved)
	require.NoError(t, held.Close())
}

func TestWhoIsBannedIsRefusedByTheNextHost(t *testing.T) {
	_, room, _, stand, stands := stood(t, 1)
	pirate, parrot := newNode(t), newNode(t)
	room.Ban(pirate.ID(), "no pirates")
	room.Ban(parrot.ID(), "no parrots")
	room.Unban(parrot.ID())
	told(t, stands[0], room)
	_, err := handOver(t, room)
	require.NoError(t, err)
	for n, want := range map[node]wire.Code{pirate: wire.Banned, parrot: 0} {
		n.connect(t, stand[0].node)
		s, err := seat.Join(bounded(t), n, "ledger", seat.Options{Host: stand[0].ID()})
		if want == 0 {
			require.NoError(t, err)
			require.NoError(t, s.Leave())
			continue
		}
		var out *seat.Out
		require.ErrorAs(t, err, &out)
		assert.Equal(t, want, out.Code)
	}
}

func TestANodeThatLeavesHandsItsRoomsOver(t *testing.T) {
	host, _, _, stand, stands := stood(t, 1)
	p := newAccountant(t, host, stand)
	stop := keepAdding(t, []*accountant{p})
	p.until(t, "something is taken", func(*seat.Tick) bool { return p.has > 3 })
	require.NoError(t, host.rooms.Close())
	_, err := stands[0].Wait(bounded(t))
	require.NoError(t, err)
	p.until(t, "the game goes on", func(tick *seat.Tick) bool { return p.Host() == stand[0].ID() && tick.Applied > 0 })
	stop()
	p.until(t, "all that was sent is there, once", p.allIsThere)
}

func TestWhenAHostIsGoneAStandbyTakesOver(t *testing.T) {
	t.Parallel()
	host, room, _, stand, stands := stood(t, 1)
	p := newAccountant(t, host, stand)
	waiting(t, stands[0], 1)
	for range 7 {
		p.add(t)
	}
	p.until(t, "it is taken", p.allIsThere)
	told(t, stands[0], room)
	require.NoError(t, host.Host().Close())
	_, err := stands[0].Wait(bounded(t))
	require.NoError(t, err)
	p.add(t)
	p.until(t, "the game goes on with what there was", p.allIsThere)
	assert.Equal(t, stand[0].ID(), p.Host())
}

// told waits until a standby has received every change in the room until now.
func told(t *testing.T, s *world.Standby, room *world.Room) {
	ticked(room)
	at := room.Stats().Tick
	require.Eventually(t, func() bool { return s.Tick() >= at }, limit, time.Millisecond)
}

func TestAHostThatWasFrozenLetsGoOfTheRoom(t *testing.T) {
	t.Parallel()
	host, room, game, stand, stands := stood(t, 1)
	p := newAccountant(t, host, stand)
	waiting(t, stands[0], 1)
	stuck := make(chan struct{})
	game.stuck.Store(&stuck)
	held, err := stands[0].Wait(bounded(t))
	require.NoError(t, err)
	p.add(t)
	p.until(t, "the game goes on", func(tick *seat.Tick) bool { return tick.Applied > 0 })
	assert.Equal(t, stand[0].ID(), p.Host())
	game.stuck.Store(nil)
	close(stuck)
	var moved *world.Moved
	require.ErrorAs(t, room.Wait(bounded(t)), &moved, "the host learns that another peer hosts the room")
	assert.Equal(t, stand[0].ID(), moved.Host)
	again := standBy(t, host, stand[0].ID())
	require.Eventually(t, func() bool { return slices.Equal(held.Standbys(), []peer.ID{host.ID()}) }, limit, time.Millisecond,
		"the former host may now stand by")
	require.NoError(t, held.Close())
	_, err = again.Wait(bounded(t))
	require.ErrorIs(t, err, world.ErrClosed)
}

func TestTheNextStandbyTakesOverFromTheOneBefore(t *testing.T) {
	t.Parallel()
	host, room, _, stand, stands := stood(t, 2)
	p := newAccountant(t, host, stand)
	waiting(t, stands[0], 1)
	for range 5 {
		p.add(t)
	}
	p.until(t, "it is taken", p.allIsThere)
	told(t, stands[0], room)
	told(t, stands[1], room)
	require.NoError(t, host.Host().Close())
	held, err := stands[0].Wait(bounded(t))
	require.NoError(t, err)
	p.add(t)
	p.until(t, "the first one goes on", p.allIsThere)
	require.Eventually(t, func() bool { return slices.Equal(held.Standbys(), []peer.ID{stand[1].ID()}) }, limit, time.Millisecond)
	told(t, stands[1], held)
	require.NoError(t, stand[0].Host().Close())
	_, err = stands[1].Wait(bounded(t))
	require.NoError(t, err)
	p.add(t)
	p.until(t, "and the second one", p.allIsThere)
	assert.Equal(t, stand[1].ID(), p.Host())
}

// slow is a log handler that blocks on messages with the prefix over until ends is closed.
type slow struct {
	slog.Handler
	over         string
	begins, ends chan struct{}
}

func (s *slow) Enabled(context.Context, slog.Level) bool { return true }

func (s *slow) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, s.over) {
		close(s.begins)
		<-s.ends
	}
	return nil
}

// If two standbys took over at once, each would continue with half of the players until one
// yields.
func TestAStandbyWaitsForTheOneBeforeItThatIsSlowToTakeOver(t *testing.T) {
	t.Parallel()
	host, room, _, stand, stands := stood(t, 2)
	require.NoError(t, stands[0].Close())
	busy := &slow{slog.DiscardHandler, "a room is taken over", make(chan struct{}), make(chan struct{})}
	opts := ledgerOptions
	opts.Logger = slog.New(busy)
	first, err := stand[0].rooms.StandBy(host.ID(), new(ledger), opts)
	require.NoError(t, err)
	require.Eventually(t, func() bool { ready, _ := first.Ready(); return ready }, limit, time.Millisecond)
	p := newAccountant(t, host, stand)
	p.add(t)
	p.until(t, "it is taken", p.allIsThere)
	told(t, first, room)
	told(t, stands[1], room)
	require.NoError(t, host.Host().Close())
	<-busy.begins
	early, cancel := context.WithTimeout(t.Context(), 4*time.Second) // without waiting, it would take over in one second
	defer cancel()
	_, err = stands[1].Wait(early)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	close(busy.ends)
	held, err := first.Wait(bounded(t))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return slices.Equal(held.Standbys(), []peer.ID{stand[1].ID()}) }, limit, time.Millisecond)
	p.add(t)
	p.until(t, "the game goes on", p.allIsThere)
	assert.Equal(t, stand[0].ID(), p.Host())
}

func TestWhenTheHostAndTheFirstStandbyAreGoneTheSecondTakesOver(t *testing.T) {
	t.Parallel()
	host, room, _, stand, stands := stood(t, 2)
	p := newAccountant(t, host, stand)
	p.add(t)
	p.until(t, "it is taken", p.allIsThere)
	told(t, stands[1], room)
	require.NoError(t, stand[0].Host().Close())
	require.NoError(t, host.Host().Close())
	_, err := stands[1].Wait(bounded(t))
	require.NoError(t, err)
	p.add(t)
	p.until(t, "the game goes on", p.allIsThere)
}

func TestARoomThatIsClosedEndsItsStandbys(t *testing.T) {
	host, room, _, stand, stands := stood(t, 2)
	p := newAccountant(t, host, stand)
	require.NoError(t, room.Close())
	for _, s := range stands {
		_, err := s.Wait(bounded(t))
		require.ErrorIs(t, err, world.ErrClosed)
	}
	select {
	case <-p.Done():
	case <-bounded(t).Done():
		t.Error("the seat goes on")
	}
	var out *seat.Out
	require.ErrorAs(t, p.Err(), &out)
	assert.Equal(t, wire.Closed, out.Code)
}

func TestOnlyWhoIsNamedStandsBy(t *testing.T) {
	host, room, _, _, _ := stood(t, 1)
	other := newHosting(t)
	other.connect(t, host.node)
	s := standBy(t, other, host.ID())
	require.Eventually(t, func() bool { _, err := s.Ready(); return err != nil }, limit, time.Millisecond)
	_, err := s.Ready()
	require.ErrorContains(t, err, "refused")
	require.NoError(t, room.NameStandbys(other.ID()))
	require.Eventually(t, func() bool { return slices.Equal(room.Standbys(), []peer.ID{other.ID()}) }, limit, time.Millisecond)
	require.Eventually(t, func() bool { ready, err := s.Ready(); return ready && err == nil }, limit, time.Millisecond)
	for _, c := range []struct {
		named []peer.ID
		want  string
	}{
		{[]peer.ID{host.ID()}, "the host cannot be its own standby"},
		{[]peer.ID{other.ID(), other.ID()}, "is named twice"},
		{[]peer.ID{"x"}, "its key is not in its id"},
		{make([]peer.ID, wire.MaxStandbys+1), "9 standbys; at most 8 may be"},
	} {
		require.ErrorContains(t, room.NameStandbys(c.named...), c.want)
	}
	_, err = handOver(t, room)
	require.NoError(t, err)
}

func TestWithoutAStandbyNothingIsHandedOver(t *testing.T) {
	host := newHosting(t)
	room, err := host.rooms.Host(new(ledger), ledgerOptions)
	require.NoError(t, err)
	_, err = room.HandOver(bounded(t))
	require.ErrorIs(t, err, world.ErrNoStandby)
	n := newNode(t)
	n.connect(t, host.node)
	p, err := seat.Join(bounded(t), n, "ledger", seat.Options{Host: host.ID()})
	require.NoError(t, err)
	_, err = p.Next(bounded(t))
	require.NoError(t, err, "the room continues")
	require.NoError(t, p.Leave())
}

func TestAStandbyIsReadyOnceItsHostCountsOnIt(t *testing.T) {
	for range 20 {
		host, other := newHosting(t), newHosting(t)
		host.connect(t, other.node)
		opts := ledgerOptions
		opts.Standbys = []peer.ID{other.ID()}
		room, err := host.rooms.Host(new(ledger), opts)
		require.NoError(t, err)
		s := standBy(t, other, host.ID())
		require.Eventually(t, func() bool { ready, _ := s.Ready(); return ready }, limit, time.Microsecond)
		require.Equal(t, []peer.ID{other.ID()}, room.Standbys())
	}
}
