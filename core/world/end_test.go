package world_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
)

// ending is a game that waits in each tick for the test, and records its end.
type ending struct {
	demo.Harbour
	tick chan error // the next tick panics with the error, unless it is nil
	ends []error
}

func (g *ending) Tick() {
	if err := <-g.tick; err != nil {
		panic(err)
	}
}

func (g *ending) End(why error) { g.ends = append(g.ends, why) }

func TestAGameIsToldOfItsEnd(t *testing.T) {
	leak := errors.New("a leak")
	for name, want := range map[string]error{"closed": world.ErrClosed, "panicked": leak} {
		t.Run(name, func(t *testing.T) {
			game := &ending{tick: make(chan error)}
			_, room := hold(t, game, harbour(world.Options{Hz: 50}))
			if want == leak {
				game.tick <- leak
			} else {
				close(game.tick)
				go func() { _ = room.Close() }()
			}
			require.ErrorIs(t, room.Wait(bounded(t)), want)
			require.Len(t, game.ends, 1)
			require.ErrorIs(t, game.ends[0], want)
		})
	}
}

func TestARoomThatIsHeldUpIsOverdue(t *testing.T) {
	game := &ending{tick: make(chan error)}
	n := newNode(t)
	rooms, err := world.New(n)
	require.NoError(t, err)
	t.Cleanup(func() { _ = rooms.Close() })
	require.Zero(t, rooms.Overdue(), "there is no room")
	_, err = rooms.Host(game, harbour(world.Options{Name: "harbour", Hz: 50}))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return rooms.Overdue() > 200*time.Millisecond }, limit, time.Millisecond)
	close(game.tick)
	require.Eventually(t, func() bool { return rooms.Overdue() < 100*time.Millisecond }, limit, time.Millisecond)
}
