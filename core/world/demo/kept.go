package demo

import (
	"encoding/binary"
	"fmt"

	"github.com/tombolo-net/tombolo/core/world"
)

// What is kept of a harbour, if its room has a store or a standby: its size, and how far
// players see; the buoys, and how they drift; and for each player where its boat was
// left, its hue, score and speed. A tab keeps the same, so that it can stand by for a
// native peer, and the other way round.

var _ world.Keeper = (*Harbour)(nil)

const sizeName = "size"

// begin restores the harbour's size and sight, or stores them.
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

// Save implements world.Keeper. It appends a buoy's speed and hue. A boat is saved with
// its player.
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

// SavePlayer implements world.Keeper. It appends what Whole does, without the name, and
// the speed. The name comes with the player.
func (h *Harbour) SavePlayer(p *world.Player, dst []byte) []byte {
	boat := h.sailors[p.Slot()].boat
	t := &h.things[boat]
	return append(h.Whole(boat, dst)[:len(dst)+boatBytes], byte(t.vx), byte(t.vy))
}

// boatOf spawns a player's boat: as it was left, or a new one. Its hue is that of the
// papers, if given.
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
