// Package demo is a small game for rooms: a harbour in which each player steers a
// boat, among buoys that drift. It is what `tombolo room host --demo` holds, what the
// example page plays and what the benchmarks measure.
package demo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/tombolo-net/tombolo/core/world"
)

// Version is the game's version: what travels is as in this file.
const Version = "harbour/1"

const (
	// MaxSize bounds Harbour.Size: a place in Units has 16 bits.
	MaxSize = 4095
	// MaxBuoys bounds Harbour.Buoys.
	MaxBuoys = 100_000
)

// Unit is the smallest step of a place, in the world's unit.
const Unit = 1.0 / 16

// Harbour is the game. The zero value is a harbour of 256 by 256 without buoys.
type Harbour struct {
	Size  int // the side of the square, up to MaxSize; if zero, 256
	Buoys int // what drifts, up to MaxBuoys
	Seed  uint64

	w      *world.World
	random *rand.Rand
	boats  []world.Entity // of each player, by slot
	things []thing        // by entity
	fleet
}

// thing is a boat or a buoy, in Units.
type thing struct {
	x, y   int32
	toldX  int32 // as of the last Change
	toldY  int32
	vx, vy int8 // a tick
	hue    byte
	drifts bool  // it is a buoy
	sailed int32 // of a boat, what is not on the board yet
}

var _ world.Game = (*Harbour)(nil)

// Start implements world.Game.
func (h *Harbour) Start(w *world.World) {
	if h.Size == 0 {
		h.Size = 256
	}
	h.w, h.random = w, rand.New(rand.NewPCG(h.Seed, 1))
	h.begin()
	h.sailed = openSailed(w)
	if w.Restored() {
		return
	}
	for range h.Buoys {
		e := h.spawn(byte(h.random.UintN(256)))
		t := &h.things[e]
		t.vx, t.vy, t.drifts = int8(h.random.IntN(9)-4), int8(h.random.IntN(9)-4), true
	}
}

// Join implements world.Game: a player gets a boat somewhere. The answer is the
// entity of the boat and the size of the harbour.
func (h *Harbour) Join(p *world.Player, _ []byte) ([]byte, error) {
	answer := make([]byte, 0, 8)
	if p.Spectator() {
		p.Look(float32(h.Size)/2, float32(h.Size)/2)
		return binary.BigEndian.AppendUint32(append(answer, 0xff, 0xff, 0xff, 0xff), uint32(h.Size)), nil
	}
	for len(h.boats) <= p.Slot() {
		h.boats = append(h.boats, 0)
	}
	e := h.boatOf(p)
	h.boats[p.Slot()] = e
	h.fleet.join(p)
	p.Follow(e)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(answer, uint32(e)), uint32(h.Size)), nil
}

// Input implements world.Game: two signed bytes, the speed in Units a tick. Anything
// else is no input of this game, and its player is put out.
func (h *Harbour) Input(p *world.Player, data []byte) {
	vx, vy, err := DecodeInput(data)
	if err != nil {
		p.Kick(err.Error())
		return
	}
	t := &h.things[h.boats[p.Slot()]]
	t.vx, t.vy = vx, vy
}

// Tick implements world.Game.
func (h *Harbour) Tick() {
	for e := range h.things {
		if e := world.Entity(e); h.w.Alive(e) {
			h.move(e)
		}
	}
	h.log(h.w.Tick(), h.boats, h.things)
}

// Halt stops everything that drifts, and all boats until they are steered again. It is
// for who runs the game; see world.Room.Do.
func (h *Harbour) Halt() {
	for e := range h.things {
		h.things[e].vx, h.things[e].vy = 0, 0
	}
}

// Leave implements world.Game.
func (h *Harbour) Leave(p *world.Player, _ world.Reason) {
	if !p.Spectator() {
		h.leave(p, &h.things[h.boats[p.Slot()]])
		h.w.Remove(h.boats[p.Slot()])
	}
}

// Whole implements world.Game: the place in Units as two uint16, and the hue.
func (h *Harbour) Whole(e world.Entity, dst []byte) []byte {
	t := &h.things[e]
	dst = binary.BigEndian.AppendUint16(dst, uint16(t.x))
	dst = binary.BigEndian.AppendUint16(dst, uint16(t.y))
	return append(dst, t.hue)
}

// Change implements world.Game: by how much it moved, as two signed bytes; or, if it
// moved farther, its place as two uint16.
func (h *Harbour) Change(e world.Entity, dst []byte) []byte {
	t := &h.things[e]
	dx, dy := t.x-t.toldX, t.y-t.toldY
	t.toldX, t.toldY = t.x, t.y
	if dx == int32(int8(dx)) && dy == int32(int8(dy)) {
		return append(dst, byte(int8(dx)), byte(int8(dy)))
	}
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(dst, uint16(t.x)), uint16(t.y))
}

// spawn puts a thing somewhere.
func (h *Harbour) spawn(hue byte) world.Entity {
	side := int32(h.Size) * 16
	return h.spawnAt(h.random.Int32N(side), h.random.Int32N(side), hue)
}

func (h *Harbour) spawnAt(x, y int32, hue byte) world.Entity {
	e := h.w.Spawn(float32(x)*Unit, float32(y)*Unit)
	h.put(e, thing{x: x, y: y, hue: hue})
	return e
}

func (h *Harbour) put(e world.Entity, t thing) {
	for len(h.things) < h.w.Bound() {
		h.things = append(h.things, thing{})
	}
	t.toldX, t.toldY = t.x, t.y
	h.things[e] = t
}

// move moves a thing on, off the walls.
func (h *Harbour) move(e world.Entity) {
	t := &h.things[e]
	if t.vx == 0 && t.vy == 0 {
		return
	}
	side := int32(h.Size)*16 - 1
	t.x, t.vx = Bounce(t.x+int32(t.vx), t.vx, side)
	t.y, t.vy = Bounce(t.y+int32(t.vy), t.vy, side)
	if !t.drifts {
		t.sailed += int32(max(t.vx, -t.vx)) + int32(max(t.vy, -t.vy))
	}
	h.w.Move(e, float32(t.x)*Unit, float32(t.y)*Unit)
}

// Bounce turns what has sailed to at with speed v, in Units, back at a wall: the walls
// are at 0 and at side.
func Bounce(at int32, v int8, side int32) (int32, int8) {
	if at < 0 || at > side {
		return min(max(at, 0), side), -max(v, -127)
	}
	return at, v
}

// Thing is what a player sees of a boat or a buoy.
type Thing struct {
	X, Y float32
	Hue  byte
}

// ErrMalformed is returned for what is not of this game.
var ErrMalformed = errors.New("not of the harbour's form")

// Decode reads what Whole wrote.
func Decode(data []byte) (Thing, error) {
	if len(data) != 5 {
		return Thing{}, fmt.Errorf("a record of %d bytes: %w", len(data), ErrMalformed)
	}
	return Thing{place(data), place(data[2:]), data[4]}, nil
}

// Apply changes the thing by what Change wrote.
func (t Thing) Apply(data []byte) (Thing, error) {
	switch len(data) {
	case 2:
		t.X += float32(int8(data[0])) * Unit
		t.Y += float32(int8(data[1])) * Unit
	case 4:
		t.X, t.Y = place(data), place(data[2:])
	default:
		return t, fmt.Errorf("a change of %d bytes: %w", len(data), ErrMalformed)
	}
	return t, nil
}

func place(data []byte) float32 { return float32(binary.BigEndian.Uint16(data)) * Unit }

// AppendInput appends the input that sets the boat's speed, in Units a tick.
func AppendInput(dst []byte, vx, vy int8) []byte { return append(dst, byte(vx), byte(vy)) }

// DecodeInput reads what AppendInput wrote.
func DecodeInput(data []byte) (vx, vy int8, err error) {
	if len(data) != 2 {
		return 0, 0, fmt.Errorf("an input of %d bytes: %w", len(data), ErrMalformed)
	}
	return int8(data[0]), int8(data[1]), nil
}

// DecodeAnswer reads what Join answers: the player's boat, and the harbour's size. A
// spectator has no boat.
func DecodeAnswer(data []byte) (boat uint32, afloat bool, size int, err error) {
	if len(data) != 8 {
		return 0, false, 0, fmt.Errorf("an answer of %d bytes: %w", len(data), ErrMalformed)
	}
	boat = binary.BigEndian.Uint32(data)
	return boat, boat != 1<<32-1, int(binary.BigEndian.Uint32(data[4:])), nil
}
