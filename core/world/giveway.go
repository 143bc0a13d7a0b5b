package world

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world/seat"
)

// Two peers may start to host rooms of the same name before either notices the other. Of
// rooms that give way, one remains.

// errGivesWay is returned if a room that gives way has standbys or a store: the peer that
// holds the other room does not have what they keep.
var errGivesWay = errors.New("a room that gives way is kept neither in a store nor by standbys")

// giveWay ends the room, with a Moved, when another peer holds one of the same name and
// version that takes precedence.
func (r *Room) giveWay(node Node) {
	ctx, cancel := r.untilDone()
	defer cancel()
	lobby, err := seat.Watch(node, seat.Filter{Name: r.opts.Name})
	if err != nil {
		return // the node is closed, and the room with it
	}
	defer lobby.Close()
	rivals := make(map[peer.ID]seat.Room)
	for {
		wait, enough := context.WithTimeout(ctx, time.Second) // the number of own players changes, too
		change, err := lobby.Next(wait)
		enough()
		switch {
		case err == nil && change.Gone:
			delete(rivals, change.Host)
		case err == nil && change.Host != r.self && change.Version == r.opts.Version:
			rivals[change.Host] = change.Room
		case ctx.Err() != nil || err != nil && !errors.Is(err, context.DeadlineExceeded):
			return
		}
		own := seat.Room{Host: r.self, Listing: r.listing()}
		for _, rival := range rivals {
			if goesBefore(rival, own) {
				r.opts.Logger.Info("a room gives way to another of its name", "room", r.opts.Name, "peer", rival.Host)
				r.Do(func() { r.end(&Moved{Host: rival.Host}) })
				return
			}
		}
	}
}

// goesBefore reports whether room a remains and b gives way: the room with more players
// remains, or with equal numbers the one whose host has the lower peer ID.
func goesBefore(a, b seat.Room) bool {
	return cmp.Or(cmp.Compare(b.Players, a.Players), cmp.Compare(a.Host, b.Host)) < 0
}

// end ends the room because another peer holds it. It is called by the tick.
func (r *Room) end(moved *Moved) {
	if r.moved == nil {
		r.moved = moved
		r.once.Do(func() { close(r.closing) })
	}
}
