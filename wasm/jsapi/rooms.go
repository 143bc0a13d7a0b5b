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

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// rooms are those of the node, made when they are first asked for.
func (n *node) rooms() (*world.Rooms, error) {
	n.roomsMu.Lock()
	defer n.roomsMu.Unlock()
	if n.held == nil {
		held, err := world.New(n.Node)
		if err != nil {
			return nil, err
		}
		n.held = held
	}
	return n.held, nil
}

// closeRooms ends them, if there are any.
func (n *node) closeRooms() {
	n.roomsMu.Lock()
	held := n.held
	n.roomsMu.Unlock()
	if held != nil {
		_ = held.Close() // which cannot fail
	}
}

// room is a world.Room that JavaScript holds.
type room struct {
	*world.Room
	node   *node
	object js.Value
}

var heldRooms *class[*room]

func init() {
	heldRooms = newClass(&class[*room]{
		name:   "a room",
		parent: "Object",
		methods: map[string]func(*room, []js.Value) (any, error){
			"close": func(r *room, _ []js.Value) (any, error) {
				heldRooms.open.Drop(r.object)
				return nil, r.Close()
			},
			"stats": func(r *room, _ []js.Value) (any, error) { return statsObject(r.Stats()), nil },
			"kick":  func(r *room, args []js.Value) (any, error) { return r.put(args, r.Kick) },
			"ban":   func(r *room, args []js.Value) (any, error) { return r.put(args, r.Ban) },
			"unban": func(r *room, args []js.Value) (any, error) {
				p, err := peerArgument(argument(args, 0))
				if err == nil {
					r.Unban(p)
				}
				return nil, err
			},
		},
		ended: func(_ js.Value, method string) (any, error) {
			if method == "close" {
				return nil, nil
			}
			return nil, &coded{codeClosed, errors.New("the room is closed")}
		},
	})
}

func (r *room) put(args []js.Value, put func(p peer.ID, reason string)) (any, error) {
	p, err := peerArgument(argument(args, 0))
	if err != nil {
		return nil, err
	}
	reason, _ := jsio.Text(argument(args, 1))
	put(p, reason)
	return nil, nil
}

func statsObject(s world.Stats) map[string]any {
	return map[string]any{
		"tick": float64(s.Tick), "players": s.Players, "away": s.Away, "spectators": s.Spectators, "peers": s.Peers, "entities": s.Entities,
		"median": milliseconds(s.Median), "p99": milliseconds(s.P99), "longest": milliseconds(s.Longest),
		"skipped": float64(s.Skipped), "load": s.Load, "shedding": s.Shedding.String(),
		"frames": float64(s.Frames), "passed": float64(s.Passed), "updates": float64(s.Updates), "entered": float64(s.Entered),
		"held": float64(s.Held), "bytes": float64(s.Bytes),
	}
}

// roomOptions are what hostRoom takes.
var roomOptions = []string{
	"budget", "grace", "hidden", "hz", "inputSize", "inputs", "leave", "password", "players", "radius", "seatsPerPeer", "spectators",
	"version", "visible",
}

func (n *node) jsHostRoom(args []js.Value) (any, error) {
	name, err := stringArgument(argument(args, 0), "name", "a string")
	if err != nil {
		return nil, err
	}
	step, err := functionArgument(argument(args, 1), "game")
	if err != nil {
		return nil, err
	}
	opts, err := parseRoom(argument(args, 2))
	if err != nil {
		return nil, err
	}
	opts.Name = name
	rooms, err := n.rooms()
	if err != nil {
		return nil, err
	}
	r, err := rooms.Host(&game{step: step}, opts)
	switch {
	case errors.Is(err, world.ErrNameTaken):
		return nil, &coded{codeTaken, err}
	case err != nil && !errors.Is(err, world.ErrClosed):
		return nil, &coded{codeArgument, err}
	case err != nil:
		return nil, &coded{codeClosed, err}
	}
	n.events.Go(func() {
		if err := r.Wait(context.Background()); !errors.Is(err, world.ErrClosed) {
			n.dispatch("error", map[string]any{"message": err.Error()})
		}
	})
	held := &room{r, n, newObject(map[string]any{"name": name})}
	return heldRooms.object(held.object, held), nil
}

func parseRoom(raw js.Value) (opts world.Options, err error) {
	o, err := readOptions(raw, roomOptions...)
	if err != nil {
		return opts, err
	}
	for name, to := range map[string]*int{
		"hz": &opts.Hz, "players": &opts.Players, "spectators": &opts.Spectators, "seatsPerPeer": &opts.SeatsPerPeer,
		"visible": &opts.Visible, "budget": &opts.Budget, "inputs": &opts.Inputs, "inputSize": &opts.InputSize,
	} {
		count, err := o.count(name, 0, world.MaxEntities)
		if err != nil {
			return opts, err
		}
		*to = int(count)
	}
	for name, to := range map[string]*float32{"radius": &opts.Radius, "leave": &opts.Leave} {
		if !o.given(name) {
			continue
		}
		if jsio.TypeOf(o[name]) != js.TypeNumber {
			return opts, o.bad(name, "a number")
		}
		*to = float32(o[name].Float())
	}
	grace, err := o.count("grace", 0, 86_400_000)
	if err != nil {
		return opts, err
	}
	opts.Grace = time.Duration(grace) * time.Millisecond
	if opts.Hidden, err = o.flag("hidden", false); err != nil {
		return opts, err
	}
	if opts.Password, err = o.words("password", "a string"); err != nil {
		return opts, err
	}
	opts.Version, err = o.words("version", "a string")
	return opts, err
}

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
}

var _ world.Game = (*game)(nil)

// What happens.
const (
	eventStart byte = iota
	eventJoin
	eventInput
	eventLeave
	eventTick
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
)

// stepLimit is how long JavaScript may take over a tick.
const stepLimit = 10 * time.Second

func (g *game) Start(w *world.World) {
	g.w, g.joining = w, -1
	g.events = append(g.events, eventStart)
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
	default:
		panic(fmt.Sprintf("the game of the page gave instruction %d", op))
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
func (in *instructions) bytes() []byte        { return in.take(in.number()) }

// jsRooms lists the rooms of the mesh, as far as they are found within the wait.
func (n *node) jsRooms(args []js.Value) (any, error) {
	o, err := readOptions(argument(args, 0), "signal", "wait")
	if err != nil {
		return nil, err
	}
	wait, err := o.count("wait", 1, 60_000)
	if err != nil {
		return nil, err
	}
	if wait == 0 {
		wait = 2000
	}
	ctx, cancel, err := o.context()
	if err != nil {
		return nil, err
	}
	defer cancel()
	rooms, err := n.rooms()
	if err != nil {
		return nil, err
	}
	limited, end := context.WithTimeout(ctx, time.Duration(wait)*time.Millisecond)
	defer end()
	list := []any{}
	err = seat.List(limited, rooms, func(r seat.Room) bool {
		list = append(list, map[string]any{
			"name": r.Name, "host": r.Host.String(), "version": r.Version, "password": r.Password, "hz": r.Hz,
			"players": r.Players, "maxPlayers": r.MaxPlayers, "spectators": r.Spectators, "maxSpectators": r.MaxSpectators,
		})
		return true
	})
	return list, errors.Join(err, ctx.Err())
}
