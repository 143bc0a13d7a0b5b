package demo

import (
	"encoding/binary"
	"fmt"

	"github.com/tombolo-net/tombolo/core/world"
)

// What is kept of a harbour, where its room has a store or a standby: its size, and how far
// players see; the buoys, and how they drift; and of each player where its boat was left,
// its hue, its score and its speed. A tab keeps the same, so that it may stand by for a
// native peer, and the other way round.

var _ world.Keeper = (*Harbour)(nil)

const sizeName = "size"

// begin gives a harbour the size and the sight that it had.
func (h *Harbour) begin() {
	if kept := h.w.Kept(sizeName); len(kept) == 12 {
		at := func(i int) uint32 { return binary.BigEndian.Uint32(kept[4*i:]) }
		h.Size, h.Sight, h.SightEnd = int(min(max(at(0), 1), MaxSize)), float32(at(1))*Unit, float32(at(2))*Unit
		return
	}
	kept := binary.BigEndian.AppendUint32(nil, uint32(h.Size))
	kept = binary.BigEndian.AppendUint32(kept, uint32(h.Sight/Unit))
	h.w.Keep(sizeName, binary.BigEndian.AppendUint32(kept, uint32(h.SightEnd/Unit)))
}

// Save implements world.Keeper: a buoy's speed and hue. A boat is its player's.
func (h *Harbour) Save(e world.Entity, dst []byte) ([]byte, bool) {
	t := &h.things[e]
	return append(dst, byte(t.vx), byte(t.vy), t.hue), t.drifts
}

// Restore implements world.Keeper.
func (h *Harbour) Restore(e world.Entity, data []byte) error {
	if len(data) != 3 {
		return fmt.Errorf("what is kept of a buoy has %d bytes: %w", len(data), ErrMalformed)
	}
	x, y := h.w.At(e)
	h.put(e, thing{x: int32(x / Unit), y: int32(y / Unit), vx: int8(data[0]), vy: int8(data[1]), hue: data[2], drifts: true})
	return nil
}

// keptBoat is how many bytes SavePlayer appends.
const keptBoat = boatBytes + 2

// SavePlayer implements world.Keeper: as Whole without the name, and the speed. The name
// comes with its player.
func (h *Harbour) SavePlayer(p *world.Player, dst []byte) []byte {
	boat := h.sailors[p.Slot()].boat
	t := &h.things[boat]
	return append(h.Whole(boat, dst)[:len(dst)+boatBytes], byte(t.vx), byte(t.vy))
}

// boatOf is a boat for a player: as it was left, or a new one; in the colour of its papers,
// where it has any.
func (h *Harbour) boatOf(p *world.Player, papers Papers, given bool) world.Entity {
	kept := p.Kept()
	if len(kept) != keptBoat {
		x, y := h.anywhere()
		if given && !papers.Blind {
			x, y = h.amid()
		}
		return h.spawn(thing{x: x, y: y, hue: papers.Hue, name: papers.Name})
	}
	side := int32(h.Size)*16 - 1
	at := func(i int) int32 { return min(int32(binary.BigEndian.Uint16(kept[i:])), side) }
	t := thing{
		x: at(0), y: at(2), hue: kept[4], score: binary.BigEndian.Uint16(kept[buoyBytes:]),
		vx: int8(kept[boatBytes]), vy: int8(kept[boatBytes+1]), name: papers.Name,
	}
	if given {
		t.hue = papers.Hue
	}
	return h.spawn(t)
}
