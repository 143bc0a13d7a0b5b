package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world/board"
	"github.com/tombolo-net/tombolo/native/command/commandtest"
	"github.com/tombolo-net/tombolo/native/control"
)

func TestARoomIsHeldFoundJoinedAndFilled(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	host := startRoom(t, a, "host", "--demo", "--every", "200ms", "--password", "tide", "--hz", "50",
		"--tag", "map=bay", "harbour")
	assert.Equal(t, a.id, host.Line("room harbour is open at "))

	listed := tells[[]control.ListedRoom](b, "room")
	require.Len(t, listed, 1)
	assert.Equal(t, a.id, listed[0].Host.String())
	assert.True(t, listed[0].Password)
	assert.Regexp(t, `harbour +12D3.* 0/256 +50 +yes +map=bay\n`, b.does("room", "ls", "--wait", "1s", "--tag", "map=bay", "--free", "256"))
	assert.NotContains(t, b.does("room", "ls", "--wait", "1s", "--open"), "harbour")
	b.fails(1, "printable", "room", "ls", "--tag", "=x")
	watch := startRoom(t, b, "ls", "--watch", "--name", "harbour")
	assert.Equal(t, a.id+": 0 of 256 players, with a password, map=bay", watch.Line("harbour of "))
	assert.Len(t, tells[[]control.ListedRoom](a, "room", "ls", "--wait", "100ms"), 1, "its own, too")

	b.fails(1, "the password is wrong or missing", "room", "join", "harbour", "--password", "ebb")
	b.fails(1, "hosts no room of this name", "room", "join", "harbor", "--host", a.id)
	b.fails(2, "there is no game", "room", "host", "quay")
	a.fails(1, "the node hosts a room of this name already", "room", "host", "--demo", "harbour")

	join := startRoom(t, b, "join", "--json", "--password", "tide", "--as", "Ann", "--hue", "7", "harbour")
	tick := parse[control.RoomTick](t, `{"tick":`+join.Line(`{"tick":`))
	assert.Positive(t, tick.Sees)
	spectator := startRoom(t, a, "join", "--json", "--password", "tide", "--spectate", "harbour")
	spectator.Line(`{"tick":`)

	bots := startRoom(t, b, "bots", "--json", "--password", "tide", "--links", "2", "--every", "300ms", "harbour", "20")
	for range 2 {
		assert.Contains(t, bots.Line(`{"bots":20,"links":2`), "seenP99")
	}
	eventually(t, a, func(r control.ListedRoom) bool { return r.Players == 21 })
	assert.Contains(t, host.Line("tick "), "shedding nothing")
	top := strings.Split(a.does("room", "top", "--every", "200ms", "--count", "2"), "\n")
	assert.Regexp(t, `^NAME +PLAYERS +ENTITIES +MS +P99 +LOAD +UPDATES/S +BYTES/S +SHEDDING +STANDBYS$`, top[0])
	assert.Regexp(t, `^harbour +21 +71 +\d+\.\d +\d+\.\d +\d+% +- +- +nothing +0$`, top[1])
	assert.Regexp(t, `^harbour +21 +71 .* [1-9]\d* +[1-9]\d* +nothing +0$`, top[3])
	assert.Contains(t, b.does("room", "top", "--json", "--count", "1"), "[]\n")
	assert.Equal(t, 0, bots.Stop())
	eventually(t, a, func(r control.ListedRoom) bool { return r.Players == 1 && r.Spectators == 1 })
	assert.Equal(t, 0, join.Stop())
	assert.Equal(t, 0, host.Stop())
	watch.Line("harbour of " + a.id + " is gone")
	assert.Equal(t, 0, watch.Stop())
	code, stderr := spectator.Wait()
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "the room has closed")
}

func TestAnInvitationLeadsToAPrivateRoom(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	host := startRoom(t, a, "host", "--demo", "--private", "harbour")
	host.Line("room harbour is open at ")
	assert.Empty(t, tells[[]control.ListedRoom](b, "room", "ls", "--wait", "500ms"))
	b.fails(1, "password", "room", "join", "--host", a.id, "harbour")
	a.fails(1, "no room of this name", "room", "invite", "quay")
	link := strings.TrimSpace(a.does("room", "invite", "--page", "https://relay.example.com/", "harbour"))
	assert.True(t, strings.HasPrefix(link, "https://relay.example.com/#room=harbour&key="), link)
	drawn := a.does("room", "invite", "--qr", "always", "harbour")
	assert.Contains(t, drawn, "▄")
	b.fails(1, "the link is not an invitation", "room", "join", link+"&host=nobody")
	join := startRoom(t, b, "join", "--json", link)
	join.Line(`{"tick":`)
	assert.Equal(t, 0, join.Stop())
	assert.Equal(t, 0, host.Stop())
}

func TestARoomIsOpenedByAPeerThatOffersIt(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	a.fails(2, "there is no game", "room", "offer", "bay")
	offer := startRoom(t, a, "offer", "--demo", "--rooms", "1", "--every", "100ms", "--idle", "1s", "bay")
	offer.Line("up to 1 rooms of kind bay are offered")
	join := startRoom(t, b, "join", "--json", "--kind", "bay", "regatta")
	join.Line(`{"tick":`)
	offer.Line("room regatta is open")
	b.fails(1, "all 1 rooms of kind \"bay\" are in use", "room", "join", "--kind", "bay", "another")
	assert.Equal(t, 0, join.Stop())
	offer.Line("room regatta is closed")
	join = startRoom(t, b, "join", "--json", "--kind", "bay", "another")
	join.Line(`{"tick":`)
	assert.Equal(t, 0, offer.Stop())
	_, stderr := join.Wait()
	assert.Contains(t, stderr, "the room has closed")
}

func TestABoardIsShownWatchedAndHandedOver(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	host := startRoom(t, a, "host", "--demo", "--every", "100ms", "--buoys", "1", "--standby", b.id, "harbour")
	host.Line("room harbour is open at ")
	for _, sailor := range []*peerProcess{a, b} { // in this order, at the same speed
		sails := startRoom(t, sailor, "join", "--json", "--vx", "20", "--vy", "20", "harbour")
		sails.Line(`{"tick":`)
		defer sails.Stop()
		require.Eventually(t, func() bool {
			return len(tells[board.Lines](a, "room", "board", "--around", sailor.id, "harbour", "sailed").Lines) > 0
		}, ending, ending/100)
	}
	shown := strings.Split(b.does("room", "board", "harbour", "sailed"), "\n")
	assert.Regexp(t, `^RANK +SCORE +PEER$`, shown[0])
	assert.Regexp(t, `^1 +[1-9]\d* +`+a.id+`$`, shown[1])
	assert.Regexp(t, `^2 +[1-9]\d* +`+b.id+`$`, shown[2])
	assert.Equal(t, "2 on the board", shown[3])
	own := tells[board.Lines](a, "room", "board", "--around", b.id, "--each", "0", "harbour", "sailed")
	require.Len(t, own.Lines, 1)
	assert.Equal(t, 2, own.Lines[0].Rank)
	assert.Len(t, tells[board.Lines](b, "room", "board", "--top", "1", "--host", a.id, "harbour", "sailed").Lines, 1)

	watch := startRoom(t, b, "board", "--json", "--watch", "harbour", "sailed")
	require.Eventually(t, func() bool { return len(watch.Lines()) > 1 }, ending, ending/100)
	first, next := parse[board.Lines](t, watch.Lines()[0]), parse[board.Lines](t, watch.Lines()[1])
	scores := func(of board.Lines) (sum int64) {
		for _, line := range of.Lines {
			sum += line.Score
		}
		return sum
	}
	assert.Greater(t, scores(next), scores(first), "one of the two has sailed on")
	assert.Equal(t, 0, watch.Stop())
	b.fails(1, "there is no board \"score\"", "room", "board", "harbour", "score")
	b.fails(1, "up to 100 lines at once", "room", "board", "--top", "101", "harbour", "sailed")

	standby := startRoom(t, b, "standby", "--every", "100ms", "harbour")
	says(t, standby, "ready to take over")
	before := tells[board.Lines](a, "room", "board", "harbour", "sailed")
	a.does("room", "handover", "harbour")
	standby.Line("room harbour is open at " + b.id)
	after := tells[board.Lines](a, "room", "board", "--host", b.id, "harbour", "sailed")
	require.Len(t, after.Lines, 2)
	for i, line := range before.Lines {
		assert.Equal(t, line.Peer, after.Lines[i].Peer)
		assert.GreaterOrEqual(t, after.Lines[i].Score, line.Score)
	}
}

func TestAKeptRoomIsThereAgainAfterItsDaemonWasKilled(t *testing.T) {
	dir := t.TempDir()
	host := func(buoys string) *peerProcess {
		d := up(t, dir)
		p := commandtest.Start(t, []string{"TOMBOLO_DATA_DIR=" + d.dir}, binary, "room", "host", "--demo", "--keep", "--buoys", buoys, "harbour")
		p.Line("room harbour is open at ")
		require.Eventually(t, func() bool {
			return tells[control.RoomState](d, "room", "save", "harbour").Entities == 7
		}, ending, ending/100, "it is as it was, whatever the flags say")
		return d
	}
	d := host("7")
	assert.Contains(t, d.does("room", "save", "harbour"), "room harbour is stored as of tick ")
	d.fails(1, "the daemon holds no room of this name", "room", "save", "harbor")
	d.Signal(os.Kill)
	d.Wait()
	d = host("99")
	assert.Equal(t, 0, d.Stop())
	assert.Equal(t, 0, host("99").Stop())
}

// eventually waits until the only room of a daemon is as wanted.
func eventually(t *testing.T, d *peerProcess, wanted func(control.ListedRoom) bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		rooms := tells[[]control.ListedRoom](d, "room", "ls", "--wait", "10ms")
		return len(rooms) == 1 && wanted(rooms[0])
	}, ending, ending/100)
}

func TestARoomGoesOnAtItsStandby(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	host := startRoom(t, a, "host", "--demo", "--every", "100ms", "--buoys", "7", "--standby", b.id, "--standby", a.id, "harbour")
	_, stderr := host.Wait()
	assert.Contains(t, stderr, "the host cannot be its own standby")
	a.fails(1, "is not a peer ID", "room", "host", "--demo", "--standby", "b", "harbour")
	host = startRoom(t, a, "host", "--demo", "--every", "100ms", "--buoys", "7", "--standby", b.id, "harbour")
	host.Line("room harbour is open at " + a.id)
	a.fails(1, "no standby of the room is ready to take over", "room", "handover", "harbour")

	standby := startRoom(t, b, "standby", "--every", "100ms", "harbour")
	standby.Line("room harbour is held by " + a.id + ": ready to take over")
	says(t, host, "1 ready to take over")
	join := startRoom(t, b, "join", "--json", "harbour")
	join.Line(`{"tick":`)
	assert.Equal(t, "room harbour is held by "+b.id+" now\n", a.does("room", "handover", "harbour"))
	host.Line("room harbour has moved to " + b.id)
	code, stderr := host.Wait()
	assert.Equal(t, 0, code, stderr)
	standby.Line("room harbour is open at " + b.id)
	standby.Line("tick ")
	says(t, join, `"again":true`)

	again := startRoom(t, a, "standby", "--json", "--every", "100ms", "harbour") // the old host may take it back
	says(t, again, `"ready":true`)
	assert.Equal(t, 0, standby.Stop(), "a host that is interrupted hands the room over")
	says(t, again, `"held":{"name":"harbour","host":"`+a.id)
	says(t, join, `"again":true`)
	says(t, again, `"entities":8`)
}

func TestARoomGoesOnWhenItsDaemonIsKilled(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	host := startRoom(t, a, "host", "--demo", "--every", "100ms", "--buoys", "7", "--standby", b.id, "harbour")
	host.Line("room harbour is open at ")
	standby := startRoom(t, b, "standby", "--every", "100ms", "harbour")
	says(t, standby, "ready to take over")
	join := startRoom(t, b, "join", "--json", "harbour")
	join.Line(`{"tick":`)
	a.Signal(os.Kill)
	a.Wait()
	standby.Line("room harbour is open at " + b.id)
	says(t, join, `"again":true`)
	says(t, standby, "1 player (0 away), 8 entities")
}

// startRoom starts a command of tombolo room against a daemon.
func startRoom(t *testing.T, d *peerProcess, args ...string) *commandtest.Process {
	t.Helper()
	return commandtest.Start(t, []string{"TOMBOLO_DATA_DIR=" + d.dir}, binary, append([]string{"room"}, args...)...)
}

// says waits until a line of the program has the text.
func says(t *testing.T, p *commandtest.Process, text string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(p.Lines(), func(line string) bool { return strings.Contains(line, text) })
	}, ending, ending/1000, "%q", text)
}
