package world_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// rival makes a peer that hosts a room that gives way, and that knows no other room yet.
func rival(t *testing.T, version string) (hosting, *world.Room) {
	at := newHosting(t)
	room, err := at.rooms.Host(&demo.Harbour{}, world.Options{Name: "harbour", Version: version, GiveWay: true})
	require.NoError(t, err)
	return at, room
}

// rivals makes two rivals. The second has the lower ID.
func rivals(t *testing.T) (one, two hosting, oneRoom, twoRoom *world.Room) {
	one, oneRoom = rival(t, demo.Version)
	two, twoRoom = rival(t, demo.Version)
	if one.ID() < two.ID() {
		return two, one, twoRoom, oneRoom
	}
	return one, two, oneRoom, twoRoom
}

// gaveWay waits until a room has given way to the room of another host.
func gaveWay(t *testing.T, room *world.Room, to hosting) {
	t.Helper()
	var moved *world.Moved
	require.ErrorAs(t, room.Wait(bounded(t)), &moved)
	assert.Equal(t, &world.Moved{Host: to.ID()}, moved)
	require.ErrorContains(t, moved, "gave way to that of "+to.ID().String())
}

func TestOfTwoRoomsThatGiveWayTheOneWithMorePlayersStays(t *testing.T) {
	t.Parallel()
	one, two, _, twoRoom := rivals(t) // if both were empty, two's room would stay
	s, err := seat.Join(bounded(t), one.rooms, "harbour", seat.Options{Host: one.ID(), Version: demo.Version})
	require.NoError(t, err)
	one.connect(t, two.node)
	gaveWay(t, twoRoom, one)
	require.NoError(t, s.Leave(), "the other room continues")
}

func TestWhoPlaysInARoomThatGivesWayIsTold(t *testing.T) {
	t.Parallel()
	one, two, oneRoom, twoRoom := rivals(t)
	player, err := seat.Join(bounded(t), one.rooms, "harbour", seat.Options{Host: one.ID(), Version: demo.Version})
	require.NoError(t, err)
	_, err = seat.Join(bounded(t), two.rooms, "harbour", seat.Options{Host: two.ID(), Version: demo.Version})
	require.NoError(t, err)
	one.connect(t, two.node)
	gaveWay(t, oneRoom, two)
	for err = nil; err == nil; {
		_, err = player.Next(bounded(t))
	}
	var out *seat.Out
	require.ErrorAs(t, err, &out)
	assert.Equal(t, wire.Moved, out.Code)
	assert.Contains(t, out.Reason, two.ID().String())
	again, err := seat.Join(bounded(t), one.rooms, "harbour", seat.Options{Version: demo.Version})
	require.NoError(t, err)
	assert.Equal(t, two.ID(), again.Host())
	require.NoError(t, twoRoom.Close())
}

func TestARoomDoesNotGiveWayToAnotherGame(t *testing.T) {
	t.Parallel()
	one, oneRoom := rival(t, demo.Version)
	_, err := seat.Join(bounded(t), one.rooms, "harbour", seat.Options{Host: one.ID(), Version: demo.Version})
	require.NoError(t, err)
	other, otherRoom := rival(t, "another game")
	other.connect(t, one.node)
	two, twoRoom := rival(t, demo.Version)
	two.connect(t, one.node)
	two.connect(t, other.node)
	gaveWay(t, twoRoom, one) // the rooms have met
	for _, room := range []*world.Room{oneRoom, otherRoom} {
		select {
		case <-room.Done():
			t.Fatal("a room gave way to another version of its game")
		default:
		}
	}
}

func TestARoomThatGivesWayKeepsNothing(t *testing.T) {
	t.Parallel()
	at := newHosting(t)
	host := func(opts world.Options) error {
		opts.Name, opts.GiveWay = "harbour", true
		_, err := at.rooms.Host(&demo.Harbour{}, harbour(opts))
		return err
	}
	require.ErrorContains(t, host(world.Options{Store: newDisk()}), "gives way is kept neither")
	require.ErrorContains(t, host(world.Options{Hidden: true}), "cannot be hidden")
	require.NoError(t, host(world.Options{}))
	require.ErrorContains(t, at.rooms.Rooms()[0].NameStandbys(newNode(t).ID()), "gives way is kept neither")
}
