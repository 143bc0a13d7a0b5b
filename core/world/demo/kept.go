package demo

import (
	"encoding/binary"
	"fmt"

	"github.com/tombolo-net/tombolo/core/world"
)

// What is kept of a harbour, where its room has a store or a standby: its size; the buoys,
// and how they drift; and of each player where its boat was left, its hue and its speed.

var _ world.Keeper = (*Harbour)(nil)

const sizeName = "size"

// begin gives a harbour the size that it had.
func (h *Harbour) begin() {
	if kept := h.w.Kept(sizeName); len(kept) == 2 {
		h.Size = int(binary.BigEndian.Uint16(kept))
		return
	}
	h.w.Keep(sizeName, binary.BigEndian.AppendUint16(nil, uint16(h.Size)))
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
const keptBoat = 7

// SavePlayer implements world.Keeper: as Whole, and the speed.
func (h *Harbour) SavePlayer(p *world.Player, dst []byte) []byte {
	boat := h.boats[p.Slot()]
	t := &h.things[boat]
	return append(h.Whole(boat, dst), byte(t.vx), byte(t.vy))
}

// boatOf is a boat for a player: as it was left, or anywhere.
func (h *Harbour) boatOf(p *world.Player) world.Entity {
	kept := p.Kept()
	if len(kept) != keptBoat {
		return h.spawn(byte(h.random.UintN(256)))
	}
	left, _ := Decode(kept[:keptBoat-2])
	size := float32(h.Size)
	boat := h.spawnAt(int32(min(left.X, size)/Unit), int32(min(left.Y, size)/Unit), left.Hue)
	h.things[boat].vx, h.things[boat].vy = int8(kept[keptBoat-2]), int8(kept[keptBoat-1])
	return boat
}
