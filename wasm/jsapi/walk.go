//go:build js

package jsapi

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world"
)

// arrival appends the state that a player brought from another room; a is nil if the
// player joined in the usual way.
func (g *game) arrival(a *world.Arrival) {
	if a == nil {
		g.events = append(g.events, 0)
		return
	}
	g.events = append(g.events, 1)
	g.area(a.From)
	g.bytes(a.State)
}

func (g *game) area(a world.Area) {
	g.bytes([]byte(a.Room))
	g.bytes([]byte(a.Host.String()))
}

// Stays implements world.Stayer. The page gets the event with the next exchange.
func (g *game) Stays(p *world.Player, to world.Area, why error) {
	g.about(eventStays, p)
	g.area(to)
	g.bytes([]byte(why.Error()))
}

func (in *instructions) area() world.Area {
	room, host := string(in.bytes()), string(in.bytes())
	p, err := peer.Decode(host)
	if err != nil {
		panic(fmt.Sprintf("the game of the page gave %.60q where the peer id of a host is due", host))
	}
	return world.Area{Room: room, Host: p}
}
