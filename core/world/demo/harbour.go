// Package demo is a small game for rooms: a harbour in which each player steers a boat
// among drifting buoys. A boat that reaches a buoy scores, and the buoy moves elsewhere.
// `tombolo room host --demo` hosts this game, and the benchmarks measure it. The page
// plays the same game, and can host it, too.
package demo

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/tombolo-net/tombolo/core/world"
)

const (
	// MaxSize bounds Harbour.Size: a place in Units has 16 bits.
	MaxSize = 4095
	// MaxBuoys bounds Harbour.Buoys.
	MaxBuoys = 100_000
	// amidst is the side of the square in which a player with papers begins, in Units.
	amidst = 24 * 16
)

// Harbour is the game. The zero value is a harbour of 256 by 256 without buoys.
type Harbour struct {
	Size  int // the side of the square, up to MaxSize; if zero, 256
	Buoys int // number of drifting buoys, up to MaxBuoys
	Seed  uint64
	// Sight and SightEnd are the Radius and Leave of the room, for the players to know.
	// If SightEnd is zero, it is 1.2 times Sight, as in a room.
	Sight, SightEnd float32

	w       *world.World
	random  *rand.Rand
	sailors []sailor // by the player's slot
	things  []thing  // by entity
	quay    quay
	sailed  *world.Board
	steps   uint32
}

// sailor is a player with a boat.
type sailor struct {
	player *world.Player // nil if the slot is free, or its player has no boat
	boat   world.Entity
	told   []byte // the scores that were last sent to it
}

// thing is a boat or a buoy, in Units.
type thing struct {
	x, y   int32
	toldX  int32 // as of the last Change
	toldY  int32
	vx, vy int8 // a tick
	hue    byte
	drifts bool // it is a buoy
	// The following fields are used for boats only.
	anew   bool // the next Change must contain everything
	score  uint16
	name   string
	sailed int32 // not on the board yet
}

var _ world.Game = (*Harbour)(nil)

// Start implements world.Game.
func (h *Harbour) Start(w *world.World) {
	if h.Size == 0 {
		h.Size = 256
	}
	if h.SightEnd == 0 {
		h.SightEnd = 1.2 * h.Sight
	}
	h.w, h.random = w, rand.New(rand.NewPCG(h.Seed, 1))
	h.begin()
	h.sailed = openSailed(w)
	if w.Restored() {
		return
	}
	for range h.Buoys {
		x, y := h.anywhere()
		h.spawn(thing{
			x: x, y: y, hue: byte(h.random.UintN(256)), drifts: true,
			vx: int8(h.random.IntN(9) - 4), vy: int8(h.random.IntN(9) - 4),
		})
	}
}

// Join implements world.Game. A player gets its boat as it left it. A new player gets a
// boat around the middle if it has Papers, which are its data, or anywhere if it has none
// or is blind. The answer is an Answer.
func (h *Harbour) Join(p *world.Player, data []byte) ([]byte, error) {
	answer := Answer{Size: h.Size, Sight: h.Sight, SightEnd: h.SightEnd}
	if p.Spectator() {
		p.Look(float32(h.Size)/2, float32(h.Size)/2)
		return answer.append(nil), nil
	}
	papers := Papers{Hue: byte(h.random.UintN(256))}
	if len(data) > 0 {
		var err error
		if papers, err = DecodePapers(data); err != nil {
			return nil, err
		}
	}
	for len(h.sailors) <= p.Slot() {
		h.sailors = append(h.sailors, sailor{})
	}
	boat := h.boatOf(p, papers, len(data) > 0)
	h.sailors[p.Slot()] = sailor{player: p, boat: boat}
	if papers.Blind {
		p.Look(-world.MaxPlace, -world.MaxPlace)
	} else {
		p.Follow(boat)
	}
	answer.Boat, answer.Afloat = uint32(boat), true
	return answer.append(nil), nil
}

// Input implements world.Game. An input is two signed bytes, the speed in Units a tick.
// Anything else is invalid, and the room removes the player.
func (h *Harbour) Input(p *world.Player, data []byte) {
	vx, vy, err := DecodeInput(data)
	if err != nil {
		p.Kick(err.Error())
		return
	}
	t := &h.things[h.sailors[p.Slot()].boat]
	t.vx, t.vy = vx, vy
}

// Tick implements world.Game.
func (h *Harbour) Tick() {
	for e := range h.things {
		if e := world.Entity(e); h.w.Alive(e) {
			h.move(e)
		}
	}
	h.gather()
	if h.steps++; h.steps%scoresEvery == 0 {
		h.tellScores()
	}
	h.logWays()
}

// Halt stops all buoys, and all boats until they are steered again. Call it through
// world.Room.Do.
func (h *Harbour) Halt() {
	for e := range h.things {
		h.things[e].vx, h.things[e].vy = 0, 0
	}
}

// Leave implements world.Game.
func (h *Harbour) Leave(p *world.Player, _ world.Reason) {
	if !p.Spectator() {
		at := h.sailors[p.Slot()]
		h.logWay(at)
		h.w.Remove(at.boat)
		h.sailors[p.Slot()] = sailor{}
	}
}

// Whole implements world.Game. It appends the place in Units as two uint16, and the hue;
// for a boat also the score as a uint16, and the name.
func (h *Harbour) Whole(e world.Entity, dst []byte) []byte {
	t := &h.things[e]
	dst = binary.BigEndian.AppendUint16(dst, uint16(t.x))
	dst = binary.BigEndian.AppendUint16(dst, uint16(t.y))
	dst = append(dst, t.hue)
	if t.drifts {
		return dst
	}
	return append(binary.BigEndian.AppendUint16(dst, t.score), t.name...)
}

// Change implements world.Game. It appends the movement as two signed bytes; if the thing
// moved farther, its place as two uint16; and for a boat that has scored, the same as
// Whole.
func (h *Harbour) Change(e world.Entity, dst []byte) []byte {
	t := &h.things[e]
	dx, dy := t.x-t.toldX, t.y-t.toldY
	t.toldX, t.toldY = t.x, t.y
	if t.anew {
		t.anew = false
		return h.Whole(e, dst)
	}
	if dx == int32(int8(dx)) && dy == int32(int8(dy)) {
		return append(dst, byte(int8(dx)), byte(int8(dy)))
	}
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(dst, uint16(t.x)), uint16(t.y))
}

// anywhere returns a random place in the harbour.
func (h *Harbour) anywhere() (x, y int32) {
	side := int32(h.Size) * 16
	return h.random.Int32N(side), h.random.Int32N(side)
}

// amid returns a random place around the middle, where players find one another.
func (h *Harbour) amid() (x, y int32) {
	side := int32(h.Size) * 16
	wide := min(side, amidst)
	return (side-wide)/2 + h.random.Int32N(wide), (side-wide)/2 + h.random.Int32N(wide)
}

func (h *Harbour) spawn(t thing) world.Entity {
	e := h.w.Spawn(float32(t.x)*Unit, float32(t.y)*Unit)
	h.put(e, t)
	return e
}

func (h *Harbour) put(e world.Entity, t thing) {
	for len(h.things) < h.w.Bound() {
		h.things = append(h.things, thing{})
	}
	t.toldX, t.toldY = t.x, t.y
	h.things[e] = t
}

// move moves a thing by its speed, and back from the walls.
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

// Bounce turns a thing back at a wall. The thing has moved to at with speed v, in Units;
// the walls are at 0 and at side.
func Bounce(at int32, v int8, side int32) (int32, int8) {
	if at < 0 || at > side {
		return min(max(at, 0), side), -max(v, -127)
	}
	return at, v
}
