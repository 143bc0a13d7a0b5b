package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/command/commandtest"
	"github.com/tombolo-net/tombolo/native/control"
)

func TestARoomIsHeldFoundJoinedAndFilled(t *testing.T) {
	a, b := two(t)
	start := func(d *peerProcess, args ...string) *commandtest.Process {
		return commandtest.Start(t, []string{"TOMBOLO_DATA_DIR=" + d.dir}, binary, append([]string{"room"}, args...)...)
	}
	host := start(a, "host", "--demo", "--every", "200ms", "--password", "tide", "--hz", "50", "harbour")
	assert.Equal(t, a.id, host.Line("room harbour is open at "))

	listed := tells[[]control.ListedRoom](b, "room")
	require.Len(t, listed, 1)
	assert.Equal(t, a.id, listed[0].Host.String())
	assert.True(t, listed[0].Password)
	assert.Contains(t, b.does("room", "ls", "--wait", "1s"), "harbour")
	assert.Len(t, tells[[]control.ListedRoom](a, "room", "ls", "--wait", "100ms"), 1, "its own, too")

	b.fails(1, "the password is wrong or missing", "room", "join", "harbour", "--password", "ebb")
	b.fails(1, "hosts no room of this name", "room", "join", "harbor", "--host", a.id)
	b.fails(2, "there is no game", "room", "host", "quay")
	a.fails(1, "the node hosts a room of this name already", "room", "host", "--demo", "harbour")

	join := start(b, "join", "--json", "--password", "tide", "harbour")
	tick := parse[control.RoomTick](t, `{"tick":`+join.Line(`{"tick":`))
	assert.Positive(t, tick.Sees)
	spectator := start(a, "join", "--json", "--password", "tide", "--spectate", "harbour")
	spectator.Line(`{"tick":`)

	bots := start(b, "bots", "--json", "--password", "tide", "--links", "2", "--every", "300ms", "harbour", "20")
	for range 2 {
		assert.Contains(t, bots.Line(`{"bots":20,"links":2`), "seenP99")
	}
	eventually(t, a, func(r control.ListedRoom) bool { return r.Players == 21 })
	assert.Contains(t, host.Line("tick "), "shedding nothing")
	assert.Equal(t, 0, bots.Stop())
	eventually(t, a, func(r control.ListedRoom) bool { return r.Players == 1 && r.Spectators == 1 })
	assert.Equal(t, 0, join.Stop())
	assert.Equal(t, 0, host.Stop())
	code, stderr := spectator.Wait()
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "the room has closed")
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
