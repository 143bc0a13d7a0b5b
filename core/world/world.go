// Package world holds rooms: worlds in which many players play at once, each seeing
// what is near. The peer that hosts a room runs its game, natively or in a tab; the
// players' peers hear what changes. Package seat is a player's side.
//
// A [Game] is what makes a room one's own. Its world is a set of entities, each with
// a place; what else there is to know of them, the game keeps itself, and encodes it
// as bytes of its own. The room does the rest: it runs the game at a fixed rate,
// finds what each player sees, and tells each what changed since it last heard.
//
// The way of an input: a player's stream -> visitor -> the next tick, in which the game
// takes it -> the records of what changed, encoded once -> a frame for each player ->
// one write to each peer.
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

// A Game is the rules of a room. Its methods are called by one goroutine, never
// concurrently, and must not block: the time they take is that of the tick. If one
// panics, the room ends, and Room.Wait returns the panic.
type Game interface {
	// Start is called once, before all else. The game keeps w, and puts into it
	// what is there from the beginning.
	Start(w *World)

	// Join is asked for a seat. The answer, of up to 64 KiB, is told to the player; an
	// error refuses the seat, and is the reason that the player is told. data is what
	// the player gave, up to 32 KiB, and valid during the call.
	Join(p *Player, data []byte) (answer []byte, err error)

	// Input is what a player does. data is valid during the call.
	Input(p *Player, data []byte)

	// Tick moves the world on by one period.
	Tick()

	// Leave is called for a player that is gone: its seat was lost or ended. It is not called
	// for one that Join refused.
	Leave(p *Player, why Reason)

	// Whole appends what an entity looks like to somebody who has not seen it.
	Whole(e Entity, dst []byte) []byte

	// Change appends what has changed of an entity since the last call of Change
	// for it. It is called after Tick, once for each entity that was spawned, moved
	// or touched since the tick before.
	Change(e Entity, dst []byte) []byte
}

// An Ender is a Game that is told when its room ends, such as to save its world. End is
// called once, after all else, by the goroutine of the other calls; Room.Close waits
// for it. why is ErrClosed, what the game panicked with, or a *Moved.
type Ender interface{ End(why error) }

// Reason says why a player is gone.
type Reason = wire.Code

// Player is a seat in a room. Its methods are for the game, within the calls that it
// gets.
type Player struct {
	room      *Room
	peer      peer.ID
	number    uint32
	slot      int
	spectator bool
	answer    []byte // of the game, to the player who joined
	kept      []byte // what was last saved of it
	unsaved   bool   // that has not been in a moment yet

	visitor *visitor // nil while the player is away
	away    int64    // since when, in ns of the room's clock
	sight   sight
	looks   bool // the sight is to be brought up to date in this tick
	reset   bool // the player is to forget what it knew

	applied bool // an input was taken since the last frame
	program uint32
	seq     uint32
	fed     uint32 // the input that the standbys were last told of
	took    uint32 // the tick in which it was taken
	waited  int64  // how long that one waited, in ns

	notes     [][]byte
	noteBytes int

	arrival   *Arrival // if it walked here
	arrivedBy uint32   // the number of that walk
	walk      *walk    // to another room
	stayed    int64    // when it last could not walk
	near      Area     // that its peer was last told of
	nearAt    int64

	out    Reason // zero: stays
	reason string
}

// Peer is the player's peer.
func (p *Player) Peer() peer.ID { return p.peer }

// Number tells the seats of one peer apart. The peer chose it.
func (p *Player) Number() uint32 { return p.number }

// Slot is a small number that no other player has at the same time, so that a game
// can keep what it knows of its players in a slice.
func (p *Player) Slot() int { return p.slot }

// Spectator says that the player only watches: it has no inputs.
func (p *Player) Spectator() bool { return p.spectator }

// Away says that the player's connection is lost, and its seat kept for a while.
func (p *Player) Away() bool { return p.visitor == nil }

// Follow has the player see what is around an entity, wherever it goes. The player
// hears of that one before all others.
func (p *Player) Follow(e Entity) {
	p.room.world.check(e)
	p.sight.follow, p.sight.follows = e, true
}

// Look has the player see what is around a place.
func (p *Player) Look(x, y float32) {
	checkPlace(x, y)
	p.sight.x, p.sight.y, p.sight.follows = x, y, false
}

// maxNotes bounds what waits for one player that takes nothing, in bytes.
const maxNotes = 64 << 10

// Tell sends bytes to this player alone, in order, with its next frame. It keeps a
// copy. A player for whom over 64 KiB wait is put out, for being too slow. Notes to a
// player that is away are not kept.
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

// Kick puts the player out, at the end of the tick.
func (p *Player) Kick(reason string) { p.put(wire.Kicked, reason) }

func (p *Player) put(why Reason, reason string) {
	if p.out == 0 {
		p.out, p.reason = why, reason
		p.room.outs = append(p.room.outs, p)
	}
}
