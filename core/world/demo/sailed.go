package demo

import (
	"fmt"

	"github.com/tombolo-net/tombolo/core/world"
)

// SailedBoard is the board of a harbour that ranks how far each peer's boats have sailed:
// east and west, north and south, added up, in the world's unit.
const SailedBoard = "sailed"

// logEvery is the number of ticks in which each boat's distance is added to the board
// once.
const logEvery = 16

func openSailed(w *world.World) *world.Board {
	b, err := w.Board(SailedBoard, world.BoardOptions{})
	if err != nil {
		panic(fmt.Errorf("the harbour: %w", err)) // it ends the room
	}
	return b
}

// logWays adds to the board the distances of the boats whose turn it is.
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
