// Package world hosts rooms: worlds that many players share, and in which each player
// sees what is near. The peer that hosts a room runs its game, natively or in a tab; the
// players' peers receive what changes. Package seat is a player's side.
//
// You write a [Game]. Its world is a set of entities, each with a place. The game keeps
// everything else about them itself, and encodes it as bytes of its own. The room does the
// rest: it runs the game at a fixed rate, finds what each player sees, and sends each
// player what changed since its last frame.
//
// An input takes this path: a player's stream -> visitor -> the next tick, in which the
// game takes it -> the records of what changed, encoded once -> a frame for each player
// -> one write to each peer.
//
// One goroutine runs all ticks of a room, and only it touches the world, so a game
// needs no locks.
package world

import (
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// MaxRecord bounds what Game.Whole and Game.Change append, in bytes.
const MaxRecord = 1024

// A Game holds the rules of a room. One goroutine calls its methods, never concurrently.
// They must not block, because their time is part of the tick. If one panics, the room
// ends, and Room.Wait returns the panic.
type Game interface {
	// Start is called once, before all other methods. The game keeps w, and spawns the
	// entities that are in the world from the beginning.
	Start(w *World)

	// Join is called when a player asks for a seat. The answer, of up to 64 KiB, is sent to
	// the player. An error refuses the seat, and its text is sent as the reason. data comes
	// from the player, has up to 32 KiB, and is valid during the call.
	Join(p *Player, data []byte) (answer []byte, err error)

	// Input is called with an input of a player. data is valid during the call.
	Input(p *Player, data []byte)

	// Tick advances the world by one period.
	Tick()

	// Leave is called after a player's seat was lost or ended. It is not called for a
	// player that Join refused.
	Leave(p *Player, why Reason)

	// Whole appends the encoding of an entity for a player that has not seen it.
	Whole(e Entity, dst []byte) []byte

	// Change appends what has changed about an entity since the last call of Change for it.
	// It is called after Tick, once for each entity that was spawned, moved or touched
	// since the tick before.
	Change(e Entity, dst []byte) []byte
}

// An Ender is a Game whose method End is called when its room ends, for example to save
// its world. End is called once, after all other methods and by the same goroutine;
// Room.Close waits for it. why is ErrClosed, the value with which the game panicked, or a
// *Moved.
type Ender interface{ End(why error) }

// Reason says why a player left.
type Reason = wire.Code

// Player is a seat in a room. Its methods are for the game, which may call them only
// within its own methods.
type Player struct {
	room      *Room
	peer      peer.ID
	number    uint32
	slot      int
	spectator bool
	answer    []byte // the game's answer to Join
	kept      []byte // what was last saved of the player
	unsaved   bool   // kept has not been in a moment yet

	visitor *visitor // nil while the player is away
	away    int64    // since when, in ns of the room's clock
	sight   sight
	looks   bool // update the sight in this tick
	reset   bool // the player has to forget what it knew

	applied bool // an input was taken since the last frame
	program uint32
	seq     uint32
	fed     uint32 // the input that was last reported to the standbys
	took    uint32 // the tick in which the last input was taken
	waited  int64  // how long the last input waited, in ns

	notes     [][]byte
	noteBytes int

	arrival   *Arrival // nil unless it walked here
	arrivedBy uint32   // the number of that walk
	walk      *walk    // to another room
	stayed    int64    // when it was last unable to walk
	near      Area     // the area that was last announced to its peer
	nearAt    int64

	out    Reason // zero while the player stays
	reason string
}

// Peer returns the player's peer.
func (p *Player) Peer() peer.ID { return p.peer }

// Number returns a number that distinguishes the seats of one peer. The peer chose it.
func (p *Player) Number() uint32 { return p.number }

// Slot returns a small number that no other player has at the same time, so that a game
// can use it to index a slice of its players.
func (p *Player) Slot() int { return p.slot }

// Spectator reports whether the player only watches: it has no inputs.
func (p *Player) Spectator() bool { return p.spectator }

// Away reports whether the player's connection is lost while its seat is kept.
func (p *Player) Away() bool { return p.visitor == nil }

// Follow makes the player see the surroundings of an entity, wherever the entity goes.
// That entity comes before all others in each frame.
func (p *Player) Follow(e Entity) {
	p.room.world.check(e)
	p.sight.follow, p.sight.follows = e, true
}

// Look makes the player see the surroundings of a place.
func (p *Player) Look(x, y float32) {
	checkPlace(x, y)
	p.sight.x, p.sight.y, p.sight.follows = x, y, false
}

// maxNotes bounds the notes that wait for a player that does not read, in bytes.
const maxNotes = 64 << 10

// Tell sends bytes to this player alone, in order, with its next frame. It keeps a copy. A
// player for whom more than 64 KiB wait is removed as too slow. Notes to a player that is
// away are not kept.
func (p *Player) Tell(data []byte) {
	if p.visitor == nil {
		return
	}
	if p.noteBytes += len(data) + 16; p.noteBytes > maxNotes {
		p.put(wire.Slow, "too much waits for it")
		return
	}
	p.notes = append(p.notes, append([]byte(nil), data...))
}

// Kick removes the player at the end of the tick.
func (p *Player) Kick(reason string) { p.put(wire.Kicked, reason) }

func (p *Player) put(why Reason, reason string) {
	if p.out == 0 {
		p.out, p.reason = why, reason
		p.room.outs = append(p.room.outs, p)
	}
}
