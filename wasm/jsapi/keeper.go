//go:build js

package jsapi

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/tombolo-net/tombolo/core/world"
)

// keeper is a game whose world is kept. For each save, it asks the page for all state in
// one exchange.
type keeper struct{ *game }

var _ world.Preparer = keeper{}

// keptBytes holds the state that the page returned for the last save.
type keptBytes struct {
	fresh    bool // no event has happened since
	entities map[world.Entity][]byte
	players  map[uint32][]byte // by slot
}

// started adds the event that the room starts, with the values kept so far.
func (g *game) started() {
	restored := byte(0)
	if g.w.Restored() {
		restored = 1
	}
	g.events = append(g.events, eventStart, restored)
	count := uint32(0)
	for range g.w.AllKept() {
		count++
	}
	g.events = binary.LittleEndian.AppendUint32(g.events, count)
	for name, value := range g.w.AllKept() {
		g.bytes([]byte(name))
		g.bytes(value)
	}
}

// Restore implements world.Keeper. The page gets the entity with the next exchange.
func (k keeper) Restore(e world.Entity, data []byte) error {
	x, y := k.w.At(e)
	k.events = binary.LittleEndian.AppendUint32(append(k.events, eventRestore), uint32(e))
	k.events = binary.LittleEndian.AppendUint32(k.events, math.Float32bits(x))
	k.events = binary.LittleEndian.AppendUint32(k.events, math.Float32bits(y))
	k.bytes(data)
	return nil
}

// Prepare implements world.Preparer. It asks the page for the state of the entities and of
// all players.
func (k keeper) Prepare(entities []world.Entity) { k.ask(entities, k.players) }

func (g *game) ask(entities []world.Entity, players []*world.Player) {
	g.saved = keptBytes{fresh: true, entities: make(map[world.Entity][]byte, len(entities)), players: make(map[uint32][]byte)}
	alive := entities[:0:0]
	for _, e := range entities {
		if g.w.Alive(e) {
			alive = append(alive, e)
		}
	}
	g.events = binary.LittleEndian.AppendUint32(append(g.events, eventSave), uint32(len(alive)))
	for _, e := range alive {
		g.events = binary.LittleEndian.AppendUint32(g.events, uint32(e))
	}
	var slots []uint32
	for _, p := range players {
		if p != nil && !p.Spectator() {
			slots = append(slots, uint32(p.Slot()))
		}
	}
	g.events = binary.LittleEndian.AppendUint32(g.events, uint32(len(slots)))
	for _, slot := range slots {
		g.events = binary.LittleEndian.AppendUint32(g.events, slot)
	}
	g.exchange()
}

// Save implements world.Keeper.
func (k keeper) Save(e world.Entity, dst []byte) ([]byte, bool) {
	data, kept := k.saved.entities[e]
	return append(dst, data...), kept
}

// SavePlayer implements world.Keeper. For a player that leaves, it asks the page for that
// player's state alone.
func (k keeper) SavePlayer(p *world.Player, dst []byte) []byte {
	if !k.saved.fresh {
		k.ask(nil, []*world.Player{p})
		k.saved.fresh = false
	}
	return append(dst, k.saved.players[uint32(p.Slot())]...)
}

// keep carries out one instruction about kept state.
func (g *game) keep(op byte, in *instructions) {
	switch op {
	case doSave:
		e, data := in.entity(), in.bytes()
		g.saved.entities[e] = append([]byte{}, data...)
	case doSavePlayer:
		slot, data := in.number(), in.bytes()
		g.saved.players[slot] = append([]byte{}, data...)
	case doKeep:
		name, value := string(in.bytes()), in.bytes()
		g.w.Keep(name, append([]byte{}, value...))
	case doForget:
		g.w.Keep(string(in.bytes()), nil)
	case doAnew:
		g.w.Anew()
	default:
		panic(fmt.Sprintf("the game of the page gave instruction %d", op))
	}
}
