package demo

import (
	"fmt"

	"github.com/tombolo-net/tombolo/core/world"
)

// SailedBoard is the board of a harbour that says how far each peer's boats have sailed:
// their ways east and west, north and south, together, in the world's unit.
const SailedBoard = "sailed"

// logEvery is in how many ticks each boat's way gets onto the board.
const logEvery = 16

// fleet keeps the board.
type fleet struct {
	sailed  *world.Board
	players []*world.Player // by slot; nil where the slot is free
}

func openSailed(w *world.World) *world.Board {
	b, err := w.Board(SailedBoard, world.BoardOptions{})
	if err != nil {
		panic(fmt.Errorf("the harbour: %w", err)) // it ends the room
	}
	return b
}

func (f *fleet) join(p *world.Player) {
	for len(f.players) <= p.Slot() {
		f.players = append(f.players, nil)
	}
	f.players[p.Slot()] = p
}

// log has the board say how far the boats have sailed whose turn it is.
func (f *fleet) log(tick uint32, boats []world.Entity, things []thing) {
	for slot, p := range f.players {
		if p != nil && (tick+uint32(slot))%logEvery == 0 {
			f.note(p, &things[boats[slot]])
		}
	}
}

func (f *fleet) note(p *world.Player, boat *thing) {
	if units := boat.sailed / 16; units > 0 {
		f.sailed.Add(p.Peer(), int64(units))
		boat.sailed -= 16 * units
	}
}

func (f *fleet) leave(p *world.Player, boat *thing) {
	f.note(p, boat)
	f.players[p.Slot()] = nil
}
