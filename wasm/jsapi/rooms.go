//go:build js

package jsapi

import (
	"context"
	"errors"
	"reflect"
	"syscall/js"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/wasm/datastore"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// rooms returns the rooms of the node. The first call makes them.
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

// closeRooms closes the rooms and their store, if they were opened.
func (n *node) closeRooms() {
	n.roomsMu.Lock()
	held, kept := n.held, n.kept
	n.roomsMu.Unlock()
	if held != nil {
		if err := held.Close(); err != nil {
			n.dispatch("error", map[string]any{"message": err.Error()})
		}
	}
	if kept != nil {
		_ = kept.Close() // last, because the rooms use it until they are closed
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
			"stats": (*room).stats,
			"kick":  func(r *room, args []js.Value) (any, error) { return r.put(args, r.Kick) },
			"ban":   func(r *room, args []js.Value) (any, error) { return r.put(args, r.Ban) },
			"unban": (*room).unban,
			"save": func(r *room, _ []js.Value) (any, error) {
				return nil, r.Flush(context.Background())
			},
			"nameStandbys":   (*room).nameStandbys,
			"nameNeighbours": (*room).nameNeighbours,
			"handOver":       (*room).handOver,
			"invite":         (*room).invite,
			"setTags":        (*room).setTags,
		},
		ended: func(_ js.Value, method string) (any, error) {
			if method == "close" {
				return nil, nil
			}
			return nil, &coded{codeClosed, errors.New("the room is closed")}
		},
	})
}

func (r *room) stats([]js.Value) (any, error) {
	s := statsObject(r.Stats())
	s["epoch"] = float64(r.Epoch())
	s["standbys"] = peerList(r.Standbys())
	return s, nil
}

func peerList(peers []peer.ID) []any {
	list := make([]any, len(peers))
	for i, p := range peers {
		list[i] = p.String()
	}
	return list
}

func (r *room) unban(args []js.Value) (any, error) {
	p, err := peerArgument(argument(args, 0))
	if err == nil {
		r.Unban(p)
	}
	return nil, err
}

func (r *room) nameStandbys(args []js.Value) (any, error) {
	peers, err := peersArgument("standbys", argument(args, 0))
	if err != nil {
		return nil, err
	}
	if err := r.NameStandbys(peers...); err != nil {
		return nil, &coded{codeArgument, err}
	}
	return nil, nil
}

func (r *room) nameNeighbours(args []js.Value) (any, error) {
	peers, err := peersArgument("neighbours", argument(args, 0))
	if err == nil {
		r.NameNeighbours(peers...)
	}
	return nil, err
}

func (r *room) handOver([]js.Value) (any, error) {
	to, err := r.HandOver(context.Background())
	return to.String(), err
}

func (r *room) setTags(args []js.Value) (any, error) {
	tags, err := tagsArgument(argument(args, 0))
	if err != nil {
		return nil, err
	}
	if err := r.SetTags(tags); err != nil {
		return nil, &coded{codeArgument, err}
	}
	return nil, nil
}

// invite resolves to an invitation link.
func (r *room) invite(args []js.Value) (any, error) {
	page, ok := jsio.Text(argument(args, 0))
	if !ok {
		return nil, &jsio.ArgumentError{Name: "page", Want: "a string", Got: argument(args, 0)}
	}
	rooms, err := r.node.rooms()
	if err != nil {
		return nil, err
	}
	invitation, err := rooms.Invite(r.Name())
	if err != nil {
		return nil, &coded{codeClosed, err}
	}
	link, err := invitation.Link(page)
	if err != nil {
		return nil, &coded{codeArgument, err}
	}
	return link, nil
}

// peersArgument reads a list of peer IDs.
func peersArgument(name string, v js.Value) (peers []peer.ID, err error) {
	items, err := itemsArgument(name, "a list of peer ids", v)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		p, err := peerArgument(item)
		if err != nil {
			return nil, err
		}
		peers = append(peers, p)
	}
	return peers, nil
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
		"held": float64(s.Held), "bytes": float64(s.Bytes), "phases": plain(reflect.ValueOf(s.Phases)),
	}
}

// roomOptions are the options of hostRoom and standByRoom. With keeps, the game implements
// saving and restoring its world; with keep, the world is stored, too.
var roomOptions = []string{
	"budget", "giveWay", "grace", "hidden", "host", "hz", "inputSize", "inputs", "keep", "keeps", "leave", "neighbours", "password", "players",
	"private", "radius", "seatsPerPeer", "signal", "spectators", "standbys", "tags", "version", "visible",
}

func (n *node) jsHostRoom(args []js.Value) (any, error) {
	plan, err := n.parseRoom(args)
	if err != nil {
		return nil, err
	}
	r, err := plan.rooms.Host(plan.game, plan.opts)
	if err != nil {
		return nil, roomError(err)
	}
	n.watchRoom(r)
	held := &room{r, n, newObject(map[string]any{"name": r.Name()})}
	return heldRooms.object(held.object, held), nil
}

func roomError(err error) error {
	switch {
	case errors.Is(err, world.ErrNameTaken):
		return &coded{codeTaken, err}
	case errors.Is(err, world.ErrClosed):
		return &coded{codeClosed, err}
	}
	return &coded{codeArgument, err}
}

// watchRoom dispatches an event when a room of the page ends, unless the page closed it.
func (n *node) watchRoom(r *world.Room) {
	n.events.Go(func() {
		err := r.Wait(context.Background())
		var moved *world.Moved
		switch {
		case errors.As(err, &moved):
			n.dispatch("room:moved", map[string]any{"name": r.Name(), "host": moved.Host.String(), "epoch": float64(moved.Epoch)})
		case !errors.Is(err, world.ErrClosed):
			n.dispatch("error", map[string]any{"message": err.Error()})
		}
	})
}

// roomPlan describes a room that the page wants to host or stand by for.
type roomPlan struct {
	rooms  *world.Rooms
	game   world.Game
	opts   world.Options
	others options // all options, those that are not the room's included
}

// parseRoom reads the name of a room, its game and its options.
func (n *node) parseRoom(args []js.Value) (*roomPlan, error) {
	name, err := stringArgument(argument(args, 0), "name", "a string")
	if err != nil {
		return nil, err
	}
	step, err := functionArgument(argument(args, 1), "game")
	if err != nil {
		return nil, err
	}
	o, err := readOptions(argument(args, 2), roomOptions...)
	if err != nil {
		return nil, err
	}
	opts, err := parseRoomOptions(o)
	if err != nil {
		return nil, err
	}
	opts.Name = name
	played := &game{step: step}
	plan := &roomPlan{game: played, opts: opts, others: o}
	keeps, err := o.flag("keeps", false)
	if err != nil {
		return nil, err
	}
	if keeps {
		plan.game = keeper{played}
	}
	if plan.rooms, err = n.rooms(); err != nil {
		return nil, err
	}
	keep, err := o.flag("keep", false)
	if err == nil && keep {
		plan.opts.Store, err = n.worlds()
	}
	return plan, err
}

// worlds returns the store of kept rooms. The first call opens it.
func (n *node) worlds() (*datastore.Datastore, error) {
	n.roomsMu.Lock()
	defer n.roomsMu.Unlock()
	if n.kept == nil {
		ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
		defer cancel()
		opened, err := datastore.Open(ctx, "tombolo rooms of "+n.ID().String())
		if err != nil {
			return nil, &coded{codeOption, optionError("keep", err)}
		}
		n.kept = opened
	}
	return n.kept, nil
}

// openTimeout bounds the opening of a database.
const openTimeout = 10 * time.Second

func parseRoomOptions(o options) (opts world.Options, err error) {
	for name, to := range map[string]*[]peer.ID{"neighbours": &opts.Neighbours, "standbys": &opts.Standbys} {
		if !o.given(name) {
			continue
		}
		if *to, err = peersArgument(name, o[name]); err != nil {
			return opts, err
		}
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
	if opts.GiveWay, err = o.flag("giveWay", false); err != nil {
		return opts, err
	}
	if opts.Private, err = o.flag("private", false); err != nil {
		return opts, err
	}
	if opts.Tags, err = tagsArgument(o["tags"]); err != nil {
		return opts, err
	}
	if opts.Password, err = o.words("password", "a string"); err != nil {
		return opts, err
	}
	opts.Version, err = o.words("version", "a string")
	return opts, err
}
