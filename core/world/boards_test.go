package world_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/board"
)

// contest is a ledger with boards.
type contest struct {
	ledger
	best, daily *world.Board
}

func (c *contest) Start(w *world.World) {
	c.ledger.Start(w)
	var err error
	if c.best, err = w.Board("best", world.BoardOptions{LowestFirst: true}); err != nil {
		panic(err)
	}
	if c.daily, err = w.Board("daily", world.BoardOptions{Period: board.Daily, Keep: 2}); err != nil {
		panic(err)
	}
	if again, err := w.Board("best", world.BoardOptions{}); err != nil || again != c.best {
		panic("it is the same board")
	}
	if _, err := w.Board("a/*", world.BoardOptions{}); err == nil {
		panic("its type would be a pattern")
	}
}

// at calls f in a tick.
func at(room *world.Room, f func()) {
	called := make(chan struct{})
	room.Do(func() { f(); close(called) })
	<-called
}

// fill puts many players on the best board. Most of them share their score with others.
func (c *contest) fill(t *testing.T, players int) {
	for i := range players {
		c.best.Set(peer.ID(fmt.Sprint("player ", i)), int64(i%7))
	}
	for i := range players / 10 { // leaves holes, and ranks that are not in the order of numbers
		c.best.Remove(peer.ID(fmt.Sprint("player ", 3*i)))
		c.best.Add(peer.ID(fmt.Sprint("player ", 3*i+1)), 1)
	}
	yesterday, err := c.daily.At(time.Now().AddDate(0, 0, -1))
	require.NoError(t, err)
	yesterday.Set(c.daily.Players.Number("late"), 5)
	c.daily.Set("early", 3)
}

// standing holds the rows of a contest's boards.
type standing struct {
	best, today, before []named
}

// named is a row with its peer.
type named struct {
	board.Row
	peer.ID
}

func (c *contest) standing(t *testing.T) standing {
	names := func(b *board.Board) (rows []named) {
		for _, row := range b.Rows(1, math.MaxInt) {
			rows = append(rows, named{row, c.best.Players.ID(row.Player)})
		}
		return rows
	}
	before, err := c.daily.At(time.Now().AddDate(0, 0, -1))
	require.NoError(t, err)
	return standing{names(c.best.Now()), names(c.daily.Now()), names(before)}
}

func TestBoardsAreKeptWithTheirRoom(t *testing.T) {
	t.Parallel()
	opts := ledgerOptions
	opts.Store, opts.SaveEvery = newDisk(), time.Hour
	var was standing
	for round := range 3 {
		game := new(contest)
		_, room := hold(t, game, opts)
		ticked(room)
		if round > 0 {
			at(room, func() { require.Equal(t, was, game.standing(t)) })
		}
		at(room, func() { game.fill(t, 2000+round) })
		if round == 1 {
			require.NoError(t, room.Flush(bounded(t)))
		}
		at(room, func() { was = game.standing(t) })
		require.NoError(t, room.Close())
	}
	require.Greater(t, len(was.best), 1000)
	require.Len(t, was.before, 1)
}

// contested returns a contest with a standby that is ready.
func contested(t *testing.T, players int) (host, next hosting, room *world.Room, was *contest, now *contest, standby *world.Standby) {
	host, next, was, now = newHosting(t), newHosting(t), new(contest), new(contest)
	next.connect(t, host.node)
	opts := ledgerOptions
	room, err := host.rooms.Host(was, opts)
	require.NoError(t, err)
	ticked(room)
	at(room, func() { was.fill(t, players) }) // the standby must also receive what was there before it
	require.NoError(t, room.NameStandbys(next.ID()))
	standby, err = next.rooms.StandBy(host.ID(), now, opts)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(room.Standbys()) == 1 }, limit, time.Millisecond)
	at(room, func() { was.best.Set("one more", -1) })
	return host, next, room, was, now, standby
}

func TestBoardsAreHandedOverWithTheirRoom(t *testing.T) {
	t.Parallel()
	host, next, room, was, now, standby := contested(t, 20_000)
	var last standing
	at(room, func() {
		was.best.Add("player 4", -9)
		was.best.Set(next.ID(), -99)
		was.best.Set(host.ID(), -99)
		last = was.standing(t)
	})
	_, err := handOver(t, room)
	require.NoError(t, err)
	held, err := standby.Wait(bounded(t))
	require.NoError(t, err)
	ticked(held)
	at(held, func() { require.Equal(t, last, now.standing(t)) })

	asker := newNode(t)
	asker.connect(t, next.node)
	for name, ask := range map[string]board.Asker{"a peer": asker, "the host": next.rooms} {
		lines, err := board.Ask(bounded(t), ask, next.ID(), "ledger", board.Query{Board: "best", Most: 2})
		require.NoError(t, err, name)
		require.Equal(t, len(last.best), lines.Players, name)
		require.Equal(t, []board.Line{{Rank: 1, Peer: next.ID(), Score: -99}, {Rank: 2, Peer: host.ID(), Score: -99}}, lines.Lines)
	}
}

func TestWhatAHostHasToldOfItsBoardsOutlastsIt(t *testing.T) {
	t.Parallel()
	host, _, room, was, now, standby := contested(t, 500)
	told(t, standby, room)
	var last standing
	at(room, func() { last = was.standing(t) })
	require.NoError(t, host.Host().Close())
	held, err := standby.Wait(bounded(t))
	require.NoError(t, err)
	ticked(held)
	at(held, func() {
		require.Equal(t, last, now.standing(t))
		now.best.Set("later", -1)
		row, _ := now.best.Now().Of(now.best.Players.Number("later"))
		require.Equal(t, 2, row.Rank, "of equal scores, the later one ranks lower")
	})
}

func TestAWatcherOfABoardIsToldOfItsChanges(t *testing.T) {
	t.Parallel()
	game, host := new(contest), newHosting(t)
	room, err := host.rooms.Host(game, ledgerOptions)
	require.NoError(t, err)
	ticked(room)
	me := newNode(t)
	at(room, func() { game.best.Set(host.ID(), 5) })
	for lines, err := range board.Watch(bounded(t), host.rooms, host.ID(), "ledger", board.Query{Board: "best"}) {
		require.NoError(t, err, "also at the host itself")
		if lines.Players == 2 {
			require.Equal(t, []board.Line{{Rank: 1, Peer: me.ID(), Score: 3}, {Rank: 2, Peer: host.ID(), Score: 5}}, lines.Lines)
			break
		}
		at(room, func() { game.best.Improve(me.ID(), 3) })
	}
	for lines, err := range board.Watch(bounded(t), host.rooms, host.ID(), "ledger", board.Query{Board: "best", Around: me.ID()}) {
		require.NoError(t, err)
		if lines.Lines[0].Score == 9 {
			require.Equal(t, []board.Line{{Rank: 2, Peer: me.ID(), Score: 9}}, lines.Lines)
			return
		}
		at(room, func() { game.best.Set(me.ID(), 9) })
	}
	t.Fatal("the watcher was not told")
}

func TestABoardThatIsDamagedStaysInTheStore(t *testing.T) {
	opts, d := ledgerOptions, newDisk()
	opts.Store = d
	game := new(contest)
	_, room := hold(t, game, opts)
	ticked(room)
	var was standing
	at(room, func() { game.fill(t, 20); was = game.standing(t) })
	require.NoError(t, room.Close())

	var player datastore.Key
	for _, key := range boardKeys(t, d) {
		if key.Parent().Name() == "p" {
			player = key
		}
	}
	before, err := d.Get(t.Context(), player)
	require.NoError(t, err)
	require.NoError(t, d.Delete(t.Context(), player))
	_, room = hold(t, new(contest), opts)
	require.Regexp(t, `board "(best|daily)" of room "ledger": .* is (damaged|missing)`, room.Wait(bounded(t)))
	require.NoError(t, d.Put(t.Context(), player, before))

	game = new(contest)
	_, room = hold(t, game, opts)
	ticked(room)
	at(room, func() { require.Equal(t, was, game.standing(t)) })
	require.NoError(t, room.Close())
}

// boardKeys returns the keys of all records of boards.
func boardKeys(t *testing.T, d *disk) (keys []datastore.Key) {
	results, err := d.Query(t.Context(), query.Query{KeysOnly: true})
	require.NoError(t, err)
	all, err := results.Rest()
	require.NoError(t, err)
	for _, e := range all {
		if strings.Contains(e.Key, "/b/") {
			keys = append(keys, datastore.RawKey(e.Key))
		}
	}
	return keys
}
