package world_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

const limit = 30 * time.Second

func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

type node struct{ *core.Node }

func newNode(t testing.TB) node {
	n, err := core.New(bounded(t), hosttest.Unmanaged(t, hosttest.Options{}), core.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	return node{n}
}

func (n node) connect(t testing.TB, to node) {
	_, err := n.Connect(bounded(t), to.Addrs()[0].String())
	require.NoError(t, err)
}

// hold hosts a room on a node of its own.
func hold(t testing.TB, game world.Game, opts world.Options) (node, *world.Room) {
	n := newNode(t)
	rooms, err := world.New(n)
	require.NoError(t, err)
	if opts.Name == "" {
		opts.Name = "harbour"
	}
	room, err := rooms.Host(game, opts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, rooms.Close()) })
	return n, room
}

// player is a node that sits in a room.
type player struct {
	*seat.Seat
	node node
	view *seat.View[demo.Thing]
	boat uint32
	last *seat.Tick
}

func join(t testing.TB, at node, opts seat.Options) *player {
	n := newNode(t)
	n.connect(t, at)
	return sit(t, n, at, opts)
}

func sit(t testing.TB, n, at node, opts seat.Options) *player {
	opts.Host, opts.Version = at.ID(), demo.Version
	s, err := seat.Join(bounded(t), n, "harbour", opts)
	require.NoError(t, err)
	p := &player{Seat: s, node: n, view: seat.NewView(demo.Decode, demo.Thing.Apply)}
	answer, err := demo.DecodeAnswer(s.Answer())
	require.NoError(t, err)
	p.boat = answer.Boat
	t.Cleanup(func() { _ = s.Leave() })
	return p
}

// until reads ticks until wanted returns true for one.
func (p *player) until(t testing.TB, what string, wanted func(*seat.Tick) bool) {
	t.Helper()
	ctx := bounded(t)
	for {
		tick, err := p.Next(ctx)
		require.NoError(t, err, what)
		require.NoError(t, p.view.Take(tick))
		if p.last = tick; wanted(tick) {
			return
		}
	}
}

func (p *player) sees(e uint32) func(*seat.Tick) bool {
	return func(*seat.Tick) bool { _, ok := p.view.Get(e); return ok }
}

func (p *player) steer(t testing.TB, vx, vy int8) uint32 {
	seq, err := p.Input(demo.AppendInput(nil, vx, vy))
	require.NoError(t, err)
	return seq
}

func harbour(o world.Options) world.Options {
	o.Version = demo.Version
	return o
}

func TestPlayersSeeEachOtherEnterMoveAndLeave(t *testing.T) {
	at, _ := hold(t, &demo.Harbour{Size: 64}, harbour(world.Options{Hz: 50}))
	a, b := join(t, at, seat.Options{}), join(t, at, seat.Options{})
	a.until(t, "b enters", a.sees(b.boat))
	b.until(t, "a enters", b.sees(a.boat))

	before, _ := a.view.Get(b.boat)
	seq := b.steer(t, 3, -2)
	b.until(t, "the input is taken", func(tick *seat.Tick) bool { return tick.Applied == seq })
	a.until(t, "b moves", func(*seat.Tick) bool { now, _ := a.view.Get(b.boat); return now != before })

	require.NoError(t, b.Leave())
	require.ErrorIs(t, b.Err(), seat.ErrLeft)
	a.until(t, "b leaves", func(*seat.Tick) bool { _, there := a.view.Get(b.boat); return !there })
}

func TestARefusalSaysWhy(t *testing.T) {
	at, room := hold(t, &demo.Harbour{}, harbour(world.Options{Players: 1, Password: "tide"}))
	n := newNode(t)
	n.connect(t, at)
	try := func(room, version, password string, spectator bool) error {
		_, err := seat.Join(bounded(t), n, room, seat.Options{Host: at.ID(), Version: version, Password: password, Spectator: spectator})
		return err
	}
	for name, test := range map[string]struct {
		err  error
		want wire.Code
	}{
		"no room":        {try("harbor", demo.Version, "tide", false), wire.NoRoom},
		"wrong version":  {try("harbour", "harbour/0", "tide", false), wire.Version},
		"wrong password": {try("harbour", demo.Version, "ebb", false), wire.Password},
		"no password":    {try("harbour", demo.Version, "", false), wire.Password},
		"no spectators":  {try("harbour", demo.Version, "tide", true), wire.Full},
	} {
		var out *seat.Out
		require.ErrorAs(t, test.err, &out, name)
		require.Equal(t, test.want, out.Code, name)
	}
	join(t, at, seat.Options{Password: "tide"})
	var out *seat.Out
	require.ErrorAs(t, try("harbour", demo.Version, "tide", false), &out)
	require.Equal(t, wire.Full, out.Code)

	room.Ban(n.ID(), "")
	require.ErrorAs(t, try("harbour", demo.Version, "tide", false), &out)
	require.Equal(t, wire.Banned, out.Code)
}

func TestASeatIsKeptOverALostConnection(t *testing.T) {
	t.Parallel()
	at, room := hold(t, &demo.Harbour{}, harbour(world.Options{Hz: 50}))
	a, b := join(t, at, seat.Options{}), join(t, at, seat.Options{})
	a.until(t, "b enters", a.sees(b.boat))
	a.until(t, "a enters", a.sees(a.boat))

	for _, c := range at.Host().Network().ConnsToPeer(a.node.ID()) {
		require.NoError(t, c.Close())
	}
	a.until(t, "it is back, with what it knew told anew", func(tick *seat.Tick) bool { return tick.Reset })
	a.until(t, "b is seen", a.sees(b.boat))
	a.until(t, "a is seen", a.sees(a.boat))
	require.Equal(t, 2, room.Stats().Players)
	require.Equal(t, 2, room.Stats().Entities, "nobody is there twice")
}

func TestASecondConnectionTakesTheSeatOver(t *testing.T) {
	at, room := hold(t, &demo.Harbour{}, harbour(world.Options{Hz: 50}))
	a := join(t, at, seat.Options{})
	a.until(t, "a enters", a.sees(a.boat))
	again, err := seat.Join(bounded(t), a.node, "harbour", seat.Options{Host: at.ID(), Version: demo.Version})
	require.NoError(t, err)
	t.Cleanup(func() { _ = again.Leave() })
	require.Equal(t, a.Answer(), again.Answer(), "it has the same boat")
	var out *seat.Out
	a.ended(t, &out)
	require.Equal(t, wire.Replaced, out.Code)
	require.Equal(t, 1, room.Stats().Players)
}

// ended reads ticks until the seat ends.
func (p *player) ended(t testing.TB, out **seat.Out) {
	t.Helper()
	ctx := bounded(t)
	for {
		if _, err := p.Next(ctx); err != nil {
			require.ErrorAs(t, err, out)
			return
		}
	}
}

func TestAPlayerIsPutOutWithTheReason(t *testing.T) {
	at, room := hold(t, &demo.Harbour{}, harbour(world.Options{Hz: 50}))
	a, b := join(t, at, seat.Options{}), join(t, at, seat.Options{})
	var out *seat.Out
	room.Kick(a.node.ID(), "rammed the quay")
	a.ended(t, &out)
	require.Equal(t, wire.Kicked, out.Code)
	require.Equal(t, "rammed the quay", out.Reason)

	_, err := b.Input([]byte("not two bytes"))
	require.NoError(t, err)
	b.ended(t, &out)
	require.Equal(t, wire.Kicked, out.Code)
}

func TestTheRoomsEndIsTold(t *testing.T) {
	at, room := hold(t, &demo.Harbour{}, harbour(world.Options{Hz: 50}))
	a := join(t, at, seat.Options{})
	require.NoError(t, room.Close())
	require.ErrorIs(t, room.Wait(bounded(t)), world.ErrClosed)
	var out *seat.Out
	a.ended(t, &out)
	require.Equal(t, wire.Closed, out.Code)
}

// broken is a game that panics in the tenth tick.
type broken struct {
	demo.Harbour
	ticks int
}

func (b *broken) Tick() {
	if b.ticks++; b.ticks == 10 {
		panic("a leak")
	}
}

func TestAPanicOfTheGameEndsItsRoomAlone(t *testing.T) {
	at, room := hold(t, &broken{}, harbour(world.Options{Hz: 50}))
	err := room.Wait(bounded(t))
	require.ErrorContains(t, err, "a leak")
	n := newNode(t)
	n.connect(t, at)
	_, err = seat.Join(bounded(t), n, "harbour", seat.Options{Host: at.ID(), Version: demo.Version})
	var out *seat.Out
	require.ErrorAs(t, err, &out)
}

func TestSeatsShareAVisit(t *testing.T) {
	at, room := hold(t, &demo.Harbour{Size: 32}, harbour(world.Options{Hz: 50}))
	n := newNode(t)
	n.connect(t, at)
	v, err := seat.Connect(bounded(t), n, "harbour", seat.Options{Host: at.ID(), Version: demo.Version})
	require.NoError(t, err)
	defer v.Close()
	const seats = 10
	all := make(chan int, seats)
	for i := range uint32(seats) {
		view, told := seat.NewView(demo.Decode, demo.Thing.Apply), false
		_, err := v.Sit(bounded(t), i, seat.Options{Each: func(tick *seat.Tick) {
			assert.NoError(t, view.Take(tick))
			if view.Len() == seats && !told {
				told = true
				all <- view.Len()
			}
		}})
		require.NoError(t, err)
	}
	for range seats {
		select {
		case <-all:
		case <-time.After(limit):
			require.FailNow(t, "a seat does not see all", fmt.Sprintf("%+v", room.Stats()))
		}
	}
	_, err = v.Sit(bounded(t), 3, seat.Options{})
	require.ErrorContains(t, err, "has a seat 3 already")
}

func TestARoomIsFoundByItsName(t *testing.T) {
	t.Parallel()
	at, _ := hold(t, &demo.Harbour{}, harbour(world.Options{Players: 7}))
	far, _ := hold(t, &demo.Harbour{}, harbour(world.Options{Name: "far", Password: "tide"}))
	hidden, _ := hold(t, &demo.Harbour{}, harbour(world.Options{Name: "hidden", Hidden: true}))
	n := newNode(t)
	for _, host := range []node{at, far, hidden} {
		n.connect(t, host)
	}

	host, err := seat.Find(bounded(t), n, "far")
	require.NoError(t, err)
	require.Equal(t, far.ID(), host)
	s, err := seat.Join(bounded(t), n, "harbour", seat.Options{Version: demo.Version})
	require.NoError(t, err)
	require.Equal(t, at.ID(), s.Host())
	require.NoError(t, s.Leave())

	got := make(map[string]seat.Room)
	require.NoError(t, seat.List(bounded(t), n, seat.Filter{}, func(r seat.Room) bool {
		got[r.Name] = r
		return len(got) < 2
	}))
	require.Equal(t, 7, got["harbour"].MaxPlayers)
	require.Equal(t, at.ID(), got["harbour"].Host)
	require.True(t, got["far"].Password)
	require.NotContains(t, got, "hidden")

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err = seat.Find(ctx, n, "hidden")
	require.ErrorContains(t, err, `holds a room "hidden"`)
}

func TestWhoHoldsARoomMayPlayInIt(t *testing.T) {
	n := newNode(t)
	rooms, err := world.New(n)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, rooms.Close()) })
	room, err := rooms.Host(&demo.Harbour{Size: 32}, harbour(world.Options{Name: "harbour", Hz: 50}))
	require.NoError(t, err)
	s, err := seat.Join(bounded(t), rooms, "harbour", seat.Options{Version: demo.Version})
	require.NoError(t, err)
	own := &player{Seat: s, node: n, view: seat.NewView(demo.Decode, demo.Thing.Apply)}
	answer, err := demo.DecodeAnswer(s.Answer())
	require.NoError(t, err)
	own.boat = answer.Boat
	guest := join(t, n, seat.Options{})
	own.until(t, "the guest enters", own.sees(guest.boat))
	guest.until(t, "the host's own player is there", guest.sees(own.boat))
	require.NoError(t, s.Leave())
	guest.until(t, "it leaves", func(*seat.Tick) bool { _, there := guest.view.Get(own.boat); return !there })

	again, err := seat.Join(bounded(t), rooms, "harbour", seat.Options{Version: demo.Version})
	require.NoError(t, err)
	require.NoError(t, room.Close())
	<-again.Done()
	var out *seat.Out
	require.ErrorAs(t, again.Err(), &out)
	require.Equal(t, wire.Closed, out.Code)
}

func TestASeatWhoseHostIsGoneEnds(t *testing.T) {
	n := newNode(t)
	other, err := core.New(bounded(t), hosttest.Unmanaged(t, hosttest.Options{}), core.Options{})
	require.NoError(t, err)
	rooms, err := world.New(other)
	require.NoError(t, err)
	_, err = rooms.Host(&demo.Harbour{}, harbour(world.Options{Name: "harbour"}))
	require.NoError(t, err)
	n.connect(t, node{other})
	s, err := seat.Join(bounded(t), n, "harbour", seat.Options{Version: demo.Version, Reconnect: 500 * time.Millisecond})
	require.NoError(t, err)
	require.NoError(t, other.Close()) // its rooms have no chance to announce it
	select {
	case <-s.Done():
		require.ErrorContains(t, s.Err(), "the connection to room \"harbour\"")
	case <-time.After(limit):
		require.FailNow(t, "the seat does not end")
	}
	_, err = s.Input([]byte{1, 1})
	require.Error(t, err)
	require.NoError(t, rooms.Close())
}

func TestAPlayerWaitsForTheRoomOfAHostThatWasStartedAnew(t *testing.T) {
	n := newNode(t)
	at := newNode(t)
	n.connect(t, at)
	rooms, err := world.New(at)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, rooms.Close()) })
	host := func() *world.Room {
		room, err := rooms.Host(&demo.Harbour{}, harbour(world.Options{Name: "harbour", Hz: 50}))
		require.NoError(t, err)
		return room
	}
	first := host()
	a := sit(t, n, at, seat.Options{})
	a.until(t, "it sees itself", a.sees(a.boat))
	// The host crashes, and comes back without its room.
	for _, c := range n.Host().Network().ConnsToPeer(at.ID()) {
		require.NoError(t, c.Close())
	}
	first.Abandon()
	n.connect(t, at)
	_, err = seat.Join(bounded(t), n, "harbour", seat.Options{Host: at.ID(), Version: demo.Version})
	var out *seat.Out
	require.ErrorAs(t, err, &out, "a player that joins for the first time is refused")
	require.Equal(t, wire.NoRoom, out.Code)
	host()
	a.until(t, "it is seated again", func(tick *seat.Tick) bool { return tick.Reset })
}
