package world

import "fmt"

const (
	// MaxEntities bounds the entities of a room.
	MaxEntities = 1 << 20
	// MaxPlace bounds the coordinates of an entity, in each direction from the origin.
	MaxPlace = 1 << 24
)

// Entity is a thing in the world of a room. It is a small number, so that a game can use
// it to index slices. The number of an entity that was removed is used again.
type Entity uint32

// World holds the entities of a room: where each is, and whether it changed. Everything
// else about them belongs to the game. Only the game may use it, and only within its own
// methods.
type World struct {
	tick   uint32
	x, y   []float32
	of     []state
	free   []Entity
	dirty  []Entity // changed in this tick
	steps  int
	count  int
	own    map[string][]byte // the game's own values, by name
	keep   *keep             // nil if the game is not a Keeper
	boards *boards
}

// state holds what every frame looks up about an entity.
type state struct {
	changed uint32 // the last tick in which it changed
	before  uint32 // the tick before that in which it changed
	gen     uint16 // distinguishes an entity from an earlier one with the same number
	alive   bool
}

// Tick returns the number of this tick; the first is 1.
func (w *World) Tick() uint32 { return w.tick }

// Steps returns how many times Game.Tick is called in this tick: once, or twice to catch
// up.
func (w *World) Steps() int { return w.steps }

// Len returns the number of entities.
func (w *World) Len() int { return w.count }

// Bound returns a number greater than that of every entity: a slice of this length can be
// indexed by all of them.
func (w *World) Bound() int { return len(w.x) }

// Alive reports whether the entity exists.
func (w *World) Alive(e Entity) bool { return int(e) < len(w.of) && w.of[e].alive }

// At returns the place of the entity.
func (w *World) At(e Entity) (x, y float32) {
	w.check(e)
	return w.x[e], w.y[e]
}

// Spawn puts a new entity into the world. It panics if there are MaxEntities already, or if
// x or y is beyond MaxPlace.
func (w *World) Spawn(x, y float32) Entity {
	checkPlace(x, y)
	var e Entity
	if n := len(w.free); n > 0 {
		e = w.free[n-1]
		w.free = w.free[:n-1]
	} else {
		if len(w.x) == MaxEntities {
			panic(fmt.Sprintf("world: over %d entities", MaxEntities))
		}
		e = Entity(len(w.x))
		w.x, w.y, w.of = append(w.x, 0), append(w.y, 0), append(w.of, state{})
	}
	w.place(e, x, y)
	return e
}

// SpawnAs spawns an entity with a number that the game has chosen. A game uses either
// Spawn or SpawnAs. SpawnAs panics if the entity exists, if e is MaxEntities or above, or
// if x or y is beyond MaxPlace.
func (w *World) SpawnAs(e Entity, x, y float32) {
	checkPlace(x, y)
	if e >= MaxEntities || w.Alive(e) {
		panic(fmt.Sprintf("world: entity %d is there already, or not below %d", e, MaxEntities))
	}
	for int(e) >= len(w.x) {
		w.x, w.y, w.of = append(w.x, 0), append(w.y, 0), append(w.of, state{})
	}
	w.place(e, x, y)
}

func (w *World) place(e Entity, x, y float32) {
	w.x[e], w.y[e] = x, y
	w.of[e] = state{gen: w.of[e].gen, alive: true}
	w.count++
	w.Touch(e)
}

// Move moves the entity, and marks it as changed. It panics if x or y is beyond MaxPlace.
func (w *World) Move(e Entity, x, y float32) {
	checkPlace(x, y)
	w.Touch(e)
	w.x[e], w.y[e] = x, y
}

// Touch marks the entity as changed, so that players receive its new state.
func (w *World) Touch(e Entity) {
	w.check(e)
	if s := &w.of[e]; s.changed != w.tick {
		s.before, s.changed = s.changed, w.tick
		w.dirty = append(w.dirty, e)
	}
	if w.keep != nil { // also in Start, before the first tick
		w.keep.mark(e)
	}
}

// Remove removes the entity from the world.
func (w *World) Remove(e Entity) {
	w.check(e)
	w.of[e].alive = false
	w.of[e].gen++
	w.count--
	w.free = append(w.free, e)
	if w.keep != nil {
		w.keep.mark(e)
	}
}

func (w *World) check(e Entity) {
	if !w.Alive(e) {
		panic(fmt.Sprintf("world: there is no entity %d", e))
	}
}

func checkPlace(x, y float32) {
	if !isPlace(x, y) {
		panic(fmt.Sprintf("world: an entity cannot be at (%v, %v): the world ends at %v", x, y, float32(MaxPlace)))
	}
}

func isPlace(x, y float32) bool {
	return -MaxPlace <= x && x <= MaxPlace && -MaxPlace <= y && y <= MaxPlace // false for NaN
}
