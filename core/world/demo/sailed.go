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

func openSailed(w *world.World) *world.Board {
	b, err := w.Board(SailedBoard, world.BoardOptions{})
	if err != nil {
		panic(fmt.Errorf("the harbour: %w", err)) // it ends the room
	}
	return b
}

// logWays has the board say how far the boats have sailed whose turn it is.
func (h *Harbour) logWays() {
	for slot, at := range h.sailors {
		if at.player != nil && (h.w.Tick()+uint32(slot))%logEvery == 0 {
			h.logWay(at)
		}
	}
}

func (h *Harbour) logWay(at sailor) {
	boat := &h.things[at.boat]
	if units := boat.sailed / 16; units > 0 {
		h.sailed.Add(at.player.Peer(), int64(units))
		boat.sailed -= 16 * units
	}
}
