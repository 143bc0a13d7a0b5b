//go:build js

package jsapi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"syscall/js"
	"time"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// game is a world.Game implemented in JavaScript. One function of the page gets the
// events in order, encoded as bytes, and returns its changes to the world, also as bytes.
// It is called once a tick and once for each player that joins. See
// web/src/world/exchange.ts for the format.
//
// A tick waits for the answer, so a slow page makes the ticks late. An answer that is
// missing or malformed ends the room: the game panics.
type game struct {
	step    js.Value
	w       *world.World
	events  []byte
	stepped int
	players []*world.Player // by slot
	whole   [][]byte        // of each entity
	change  [][]byte

	joining int // the slot that waits for an answer, or -1
	answer  []byte
	refusal error

	saved  keptBytes
	boards []*world.Board // in the order in which the page opened them
}

var (
	_ world.Game   = (*game)(nil)
	_ world.Stayer = (*game)(nil)
)

// Events that JavaScript gets.
const (
	eventStart byte = iota
	eventJoin
	eventInput
	eventLeave
	eventTick
	eventRestore
	eventSave
	eventStays
)

// Instructions that JavaScript returns.
const (
	doSpawn byte = iota + 1
	doMove
	doTouch
	doRemove
	doFollow
	doLook
	doTell
	doKick
	doSeat
	doRefuse
	doRecord
	doSave
	doSavePlayer
	doKeep
	doForget
	doAnew
	doBoard
	doScore
	doReady
	doWalk
)

// stepLimit is how long JavaScript may take for one exchange.
const stepLimit = 10 * time.Second

func (g *game) Start(w *world.World) {
	g.w, g.joining = w, -1
	g.started()
	g.exchange()
}

func (g *game) Join(p *world.Player, data []byte) ([]byte, error) {
	for len(g.players) <= p.Slot() {
		g.players = append(g.players, nil)
	}
	g.players[p.Slot()] = p
	g.about(eventJoin, p)
	g.events = binary.LittleEndian.AppendUint32(g.events, p.Number())
	spectator := byte(0)
	if p.Spectator() {
		spectator = 1
	}
	g.events = append(g.events, spectator)
	g.bytes([]byte(p.Peer().String()))
	g.bytes(data)
	g.bytes(p.Kept())
	g.arrival(p.Arrived())
	g.joining, g.answer, g.refusal = p.Slot(), nil, errors.New("the game did not answer")
	g.exchange()
	g.joining = -1
	if g.refusal != nil {
		g.players[p.Slot()] = nil
	}
	return g.answer, g.refusal
}

func (g *game) Input(p *world.Player, data []byte) {
	g.about(eventInput, p)
	g.bytes(data)
}

func (g *game) Leave(p *world.Player, why world.Reason) {
	g.about(eventLeave, p)
	g.bytes([]byte(why.Name()))
	g.players[p.Slot()] = nil
}

func (g *game) Tick() {
	g.saved.fresh = false
	g.stepped++
	last := byte(0)
	if g.stepped >= g.w.Steps() {
		g.stepped, last = 0, 1
	}
	g.events = binary.LittleEndian.AppendUint32(append(g.events, eventTick), g.w.Tick())
	g.events = append(g.events, last)
	if last == 1 {
		g.exchange()
	}
}

func (g *game) Whole(e world.Entity, dst []byte) []byte {
	if int(e) < len(g.whole) {
		dst = append(dst, g.whole[e]...)
	}
	return dst
}

func (g *game) Change(e world.Entity, dst []byte) []byte {
	if int(e) < len(g.change) {
		dst = append(dst, g.change[e]...)
	}
	return dst
}

func (g *game) about(event byte, p *world.Player) {
	g.saved.fresh = false
	g.events = binary.LittleEndian.AppendUint32(append(g.events, event), uint32(p.Slot()))
}

func (g *game) bytes(b []byte) {
	g.events = append(binary.LittleEndian.AppendUint32(g.events, uint32(len(b))), b...)
}

// maxStep bounds an answer of JavaScript, in bytes.
const maxStep = 64 << 20

// exchange passes the events to JavaScript and carries out the instructions it returns.
func (g *game) exchange() {
	ctx, cancel := context.WithTimeoutCause(context.Background(), stepLimit, errors.New("it did not answer in 10 s"))
	defer cancel()
	v, err := callFunction(ctx, g.step, jsio.Uint8Array(g.events))
	g.events = g.events[:0]
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var answer []byte
	if err == nil {
		answer, err = bytesArgument(v, "what the game answered", "a Uint8Array", maxStep)
	}
	if err != nil {
		panic(fmt.Sprintf("the game of the page: %v", err))
	}
	for todo := (&instructions{rest: answer}); len(todo.rest) > 0; {
		g.do(todo)
	}
}

// do carries out one instruction. If it is wrong, a method of the world panics and says why.
func (g *game) do(in *instructions) {
	switch op := in.byte(); op {
	case doSpawn:
		g.w.SpawnAs(in.entity(), in.float(), in.float())
	case doMove:
		g.w.Move(in.entity(), in.float(), in.float())
	case doTouch:
		g.w.Touch(in.entity())
	case doRemove:
		g.w.Remove(in.entity())
	case doFollow:
		p, e := g.player(in), in.entity()
		if p != nil {
			p.Follow(e)
		}
	case doLook:
		p, x, y := g.player(in), in.float(), in.float()
		if p != nil {
			p.Look(x, y)
		}
	case doTell:
		p, data := g.player(in), in.bytes()
		if p != nil {
			p.Tell(data)
		}
	case doKick:
		p, reason := g.player(in), in.bytes()
		if p != nil {
			p.Kick(string(reason))
		}
	case doSeat, doRefuse:
		slot, data := in.number(), in.bytes()
		if int(slot) != g.joining {
			panic(fmt.Sprintf("the game of the page answered for player %d, who does not join", slot))
		}
		g.answer, g.refusal = append([]byte(nil), data...), nil
		if op == doRefuse {
			g.answer, g.refusal = nil, errors.New(string(data))
		}
	case doRecord:
		e, change, whole := in.entity(), in.bytes(), in.bytes()
		if e >= world.MaxEntities {
			panic(fmt.Sprintf("the game of the page has an entity %d", e))
		}
		for len(g.whole) <= int(e) {
			g.whole, g.change = append(g.whole, nil), append(g.change, nil)
		}
		g.whole[e] = append(g.whole[e][:0], whole...)
		g.change[e] = append(g.change[e][:0], change...)
	case doBoard, doScore:
		g.doBoard(op, in)
	case doReady:
		p, to := g.player(in), in.area()
		if p != nil {
			p.Ready(to)
		}
	case doWalk:
		p, to, state := g.player(in), in.area(), in.bytes()
		if p != nil {
			p.Walk(to, state)
		}
	default:
		g.keep(op, in)
	}
}

// player returns the player of a slot, or nil if the player has left.
func (g *game) player(in *instructions) *world.Player {
	if slot := in.number(); int64(slot) < int64(len(g.players)) {
		return g.players[slot]
	}
	return nil
}

// instructions decodes an answer of JavaScript. Its methods panic if the answer is cut off.
type instructions struct{ rest []byte }

func (in *instructions) take(n uint32) []byte {
	if int64(n) > int64(len(in.rest)) {
		panic("the game of the page gave an instruction that is cut off")
	}
	b := in.rest[:n]
	in.rest = in.rest[n:]
	return b
}

func (in *instructions) byte() byte           { return in.take(1)[0] }
func (in *instructions) number() uint32       { return binary.LittleEndian.Uint32(in.take(4)) }
func (in *instructions) entity() world.Entity { return world.Entity(in.number()) }
func (in *instructions) float() float32       { return math.Float32frombits(in.number()) }
func (in *instructions) long() int64          { return int64(binary.LittleEndian.Uint64(in.take(8))) }
func (in *instructions) bytes() []byte        { return in.take(in.number()) }
