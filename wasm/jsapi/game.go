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

// game is a world.Game that JavaScript plays. What happens is told to one function, in
// order, as bytes, and it answers with what it does to the world, as bytes too: one
// call for a tick, and one for each player that joins. See web/src/world/exchange.ts
// for the form.
//
// A tick waits for the answer, so that a page that is slow makes the ticks late. One
// that does not answer, or not as it should, ends the room: that is a panic here.
type game struct {
	step    js.Value
	w       *world.World
	events  []byte
	stepped int
	players []*world.Player // by slot
	whole   [][]byte        // of each entity
	change  [][]byte

	joining int // the slot that awaits its answer, or -1
	answer  []byte
	refusal error

	saved  keptBytes
	boards []*world.Board // by the order in which the page has opened them
}

var (
	_ world.Game   = (*game)(nil)
	_ world.Stayer = (*game)(nil)
)

// What happens.
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

// What JavaScript does.
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

// stepLimit is how long JavaScript may take over a tick.
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

// maxStep bounds what JavaScript answers, in bytes.
const maxStep = 64 << 20

// exchange tells JavaScript what happened, and does what it says.
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

// do takes one instruction. The panics of the world's own methods say what is wrong.
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

// player is the player of a slot; nil where it is gone.
func (g *game) player(in *instructions) *world.Player {
	if slot := in.number(); int64(slot) < int64(len(g.players)) {
		return g.players[slot]
	}
	return nil
}

// instructions are what JavaScript does. They panic where they are cut off.
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
