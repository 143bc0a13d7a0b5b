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
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/core/world/wire"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// sitting is a seat.Seat that JavaScript reads in batches.
type sitting struct {
	*seat.Seat
	node   *node
	object js.Value
}

var sittings *class[*sitting]

func init() {
	sittings = newClass(&class[*sitting]{
		name:   "a seat",
		parent: "Object",
		methods: map[string]func(*sitting, []js.Value) (any, error){
			"next":  (*sitting).next,
			"input": (*sitting).input,
			"about": func(s *sitting, _ []js.Value) (any, error) {
				return map[string]any{"name": s.Room(), "host": s.Host().String(), "hz": s.Hz(), "answer": jsio.Uint8Array(s.Answer())}, nil
			},
			"close": func(s *sitting, _ []js.Value) (any, error) {
				s.drop()
				return nil, s.Leave()
			},
		},
		ended: func(_ js.Value, method string) (any, error) {
			switch method {
			case "close", "next":
				return nil, nil
			}
			return nil, errSeatLeft
		},
	})
}

var errSeatLeft error = &coded{codeClosed, errors.New("the seat was left")}

// maxSeatData bounds the data that a player joins with, and each input, in bytes.
const maxSeatData = 32 << 10

// joinTimeout bounds joining a room, unless a signal ends it earlier.
const joinTimeout = 30 * time.Second

func (n *node) jsJoinRoom(args []js.Value) (any, error) {
	name, err := stringArgument(argument(args, 0), "name", "a string")
	if err != nil {
		return nil, err
	}
	o, err := readOptions(argument(args, 1), "data", "host", "invitation", "number", "password", "reconnect", "signal", "spectator", "version")
	if err != nil {
		return nil, err
	}
	var opts seat.Options
	if o.given("host") {
		if opts.Host, err = peerArgument(o["host"]); err != nil {
			return nil, o.bad("host", "a peer id")
		}
	}
	if o.given("data") {
		if opts.Data, err = bytesArgument(o["data"], "option data", "a Uint8Array", maxSeatData); err != nil {
			return nil, err
		}
	}
	reconnect, err := o.count("reconnect", 1, 86_400_000)
	if err != nil {
		return nil, err
	}
	opts.Reconnect = time.Duration(reconnect) * time.Millisecond
	if opts.Password, err = o.words("password", "a string"); err != nil {
		return nil, err
	}
	if opts.Version, err = o.words("version", "a string"); err != nil {
		return nil, err
	}
	if opts.Spectator, err = o.flag("spectator", false); err != nil {
		return nil, err
	}
	number, err := o.count("number", 0, math.MaxUint32)
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := o.context()
	if err != nil {
		return nil, err
	}
	defer cancel()
	ctx, end := context.WithTimeout(ctx, joinTimeout)
	defer end()
	joined, err := n.sit(ctx, name, uint32(number), o, opts)
	if err != nil {
		return nil, err
	}
	s := &sitting{joined, n, newObject(map[string]any{"name": name})}
	return sittings.object(s.object, s), nil
}

// takeSeat joins a room by its name or, if given, by the option invitation.
func takeSeat(ctx context.Context, rooms *world.Rooms, name string, o options, opts seat.Options) (*seat.Seat, error) {
	if !o.given("invitation") {
		return seat.Join(ctx, rooms, name, opts)
	}
	link, ok := jsio.Text(o["invitation"])
	if !ok {
		return nil, o.bad("invitation", "a string")
	}
	invitation, err := wire.ParseInvitation(link)
	if err != nil {
		return nil, &coded{codeArgument, err}
	}
	return seat.Accept(ctx, rooms, invitation, opts)
}

// sit takes a seat in a room. Seat 0 opens a connection to the room; seats with other
// numbers share it.
func (n *node) sit(ctx context.Context, room string, number uint32, o options, opts seat.Options) (*seat.Seat, error) {
	if number > 0 {
		n.roomsMu.Lock()
		first := n.first[room]
		n.roomsMu.Unlock()
		if first == nil {
			return nil, &coded{codeArgument, fmt.Errorf("join room %q: this node has no seat 0 there, beside which it could take seat %d", room, number)}
		}
		return first.Beside(ctx, number, opts)
	}
	rooms, err := n.rooms()
	if err != nil {
		return nil, err
	}
	s, err := takeSeat(ctx, rooms, room, o, opts)
	if err != nil {
		return nil, err
	}
	n.roomsMu.Lock()
	defer n.roomsMu.Unlock()
	if n.first == nil {
		n.first = make(map[string]*seat.Seat)
	}
	n.first[room] = s
	return s, nil
}

// drop forgets a seat that was left or has ended.
func (s *sitting) drop() {
	sittings.open.Drop(s.object)
	s.node.roomsMu.Lock()
	defer s.node.roomsMu.Unlock()
	for room, first := range s.node.first {
		if first == s.Seat {
			delete(s.node.first, room)
		}
	}
}

func (s *sitting) input(args []js.Value) (any, error) {
	data, err := bytesArgument(argument(args, 0), "input", "a Uint8Array", maxSeatData)
	if err != nil {
		return nil, err
	}
	seq, err := s.Input(data)
	if errors.Is(err, seat.ErrBehind) || errors.Is(err, seat.ErrAway) {
		err = &coded{codeQueueFull, err}
	}
	return float64(seq), err
}

// next resolves to the ticks received so far, or to null once the seat was left.
func (s *sitting) next([]js.Value) (any, error) {
	t, err := s.Next(context.Background())
	if errors.Is(err, seat.ErrLeft) {
		return nil, nil
	}
	if err != nil {
		s.drop()
		return nil, err
	}
	var batch []byte
	ended, stop := context.WithCancel(context.Background())
	stop()
	for err == nil {
		batch = appendTick(batch, t)
		t, err = s.Next(ended) // only ticks received already
	}
	return jsio.Uint8Array(batch), nil
}

const (
	updateNew = 1 << iota
	updateWhole
)

// appendTick appends a tick in the format that web/src/world/seat.ts reads. Numbers are
// little-endian and have 32 bits; bytes are preceded by their length.
func appendTick(b []byte, t *seat.Tick) []byte {
	le := binary.LittleEndian
	bytes := func(data []byte) { b = append(le.AppendUint32(b, uint32(len(data))), data...) }
	reset := uint32(0)
	if t.Reset {
		reset = 1
	}
	for _, n := range []uint32{t.Number, reset, t.Applied, uint32(t.Waited.Milliseconds()), uint32(len(t.Left))} {
		b = le.AppendUint32(b, n)
	}
	for _, e := range t.Left {
		b = le.AppendUint32(b, e)
	}
	b = le.AppendUint32(b, uint32(len(t.Updates)))
	for _, u := range t.Updates {
		flags := uint32(0)
		if u.New {
			flags |= updateNew
		}
		if u.Whole {
			flags |= updateWhole
		}
		b = le.AppendUint32(le.AppendUint32(b, u.Entity), flags)
		bytes(u.Data)
	}
	b = le.AppendUint32(b, uint32(len(t.Notes)))
	for _, note := range t.Notes {
		bytes(note)
	}
	return b
}
