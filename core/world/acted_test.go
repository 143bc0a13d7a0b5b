package world_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/actor"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// acted is a harbour whose boats are steered by actors.
type acted struct {
	demo.Harbour
	actors *actor.Actors
}

func newActed() *acted {
	g := &acted{}
	g.actors = actor.New(func(ctx context.Context, a *actor.Actor) error {
		p := a.State().(*world.Player)
		for {
			in, err := a.Next(ctx)
			if err != nil {
				return err
			}
			if in[0] == 99 {
				panic("rammed the quay")
			}
			if err := a.Do(func() { g.Harbour.Input(p, in) }); err != nil {
				return err
			}
		}
	}, actor.Options{Failures: 1})
	return g
}

func (g *acted) Join(p *world.Player, data []byte) ([]byte, error) {
	answer, err := g.Harbour.Join(p, data)
	if err == nil {
		g.actors.Start(p, p)
	}
	return answer, err
}

func (g *acted) Input(p *world.Player, data []byte) { g.actors.Deliver(p, data) }
func (g *acted) Tick()                              { g.actors.Run(); g.Harbour.Tick() }

func (g *acted) Leave(p *world.Player, why world.Reason) {
	g.actors.Stop(p)
	g.Harbour.Leave(p, why)
}

func TestActorsPlayInARoomAndOneThatFailsCostsTheOthersNothing(t *testing.T) {
	g := newActed()
	at, room := hold(t, g, harbour(world.Options{Hz: 50}))
	t.Cleanup(func() { assert.NoError(t, g.actors.Close()) })
	a, b := join(t, at, seat.Options{}), join(t, at, seat.Options{})
	a.until(t, "it sees itself", a.sees(a.boat))
	before, _ := a.view.Get(a.boat)
	a.steer(t, 4, 4)
	a.until(t, "its actor sails", func(*seat.Tick) bool { now, _ := a.view.Get(a.boat); return now != before })

	b.steer(t, 99, 0)
	b.steer(t, 99, 0)
	var out *seat.Out
	b.ended(t, &out)
	require.Equal(t, wire.Kicked, out.Code)
	require.Contains(t, out.Reason, "it panicked: rammed the quay")
	before, _ = a.view.Get(a.boat)
	a.until(t, "the other sails on", func(*seat.Tick) bool { now, _ := a.view.Get(a.boat); return now != before })
	require.NoError(t, room.Close())
}
