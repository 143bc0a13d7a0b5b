//go:build js

package jsapi

import (
	"context"
	"errors"
	"syscall/js"
	"time"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/core/world/wire"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// lobby is a seat.Lobby that JavaScript reads in batches.
type lobby struct {
	*seat.Lobby
	node   *node
	object js.Value
}

var lobbies *class[*lobby]

func init() {
	lobbies = newClass(&class[*lobby]{
		name:   "a lobby",
		parent: "Object",
		methods: map[string]func(*lobby, []js.Value) (any, error){
			"next": (*lobby).next,
			"rooms": func(l *lobby, _ []js.Value) (any, error) {
				list := []any{}
				for _, r := range l.Rooms() {
					list = append(list, roomObject(r))
				}
				return list, nil
			},
			"close": func(l *lobby, _ []js.Value) (any, error) {
				lobbies.open.Drop(l.object)
				return nil, l.Close()
			},
		},
		ended: func(_ js.Value, method string) (any, error) {
			if method == "rooms" {
				return []any{}, nil
			}
			return nil, nil
		},
	})
}

// next resolves to a list with one change, or to null once the lobby is closed.
func (l *lobby) next([]js.Value) (any, error) {
	change, err := l.Next(context.Background())
	switch {
	case errors.Is(err, seat.ErrLobbyClosed):
		lobbies.open.Drop(l.object)
		return nil, nil
	case err != nil:
		return nil, err
	}
	object := roomObject(change.Room)
	object["gone"] = change.Gone
	return []any{object}, nil
}

func roomObject(r seat.Room) map[string]any {
	tags := make(map[string]any, len(r.Tags))
	for name, value := range r.Tags {
		tags[name] = value
	}
	return map[string]any{
		"name": r.Name, "host": r.Host.String(), "version": r.Version, "tags": tags, "password": r.Password, "hz": r.Hz,
		"players": r.Players, "maxPlayers": r.MaxPlayers, "spectators": r.Spectators, "maxSpectators": r.MaxSpectators,
	}
}

// roomFilters are the option names of a filter.
var roomFilters = []string{"free", "name", "open", "players", "tags", "version"}

func parseFilter(o options) (f seat.Filter, err error) {
	if f.Name, err = o.words("name", "a string"); err != nil {
		return f, err
	}
	if f.Version, err = o.words("version", "a string"); err != nil {
		return f, err
	}
	for name, to := range map[string]*int{"free": &f.Free, "players": &f.Players} {
		count, err := o.count(name, 0, world.MaxEntities)
		if err != nil {
			return f, err
		}
		*to = int(count)
	}
	if f.Open, err = o.flag("open", false); err != nil {
		return f, err
	}
	if f.Tags, err = tagsArgument(o["tags"]); err != nil {
		return f, err
	}
	if err := f.Check(); err != nil {
		return f, &coded{codeOption, err}
	}
	return f, nil
}

// tagsArgument reads the tags of a room. It returns none for undefined.
func tagsArgument(v js.Value) (map[string]string, error) {
	bad := &jsio.ArgumentError{Name: "tags", Want: "an object of strings", Got: v}
	if v.IsUndefined() {
		return nil, nil
	}
	if jsio.TypeOf(v) != js.TypeObject {
		return nil, bad
	}
	keys, err := jsio.Call(js.Global().Get("Object"), "keys", v)
	if err != nil {
		return nil, &jsio.ArgumentError{Name: "tags", Err: err}
	}
	tags := make(map[string]string)
	for i := range min(keys.Length(), wire.MaxTags+1) { // one above the maximum is enough to be refused
		name, ok := jsio.Text(keys.Index(i))
		if !ok {
			return nil, bad
		}
		value, err := jsio.Get(v, name)
		if err != nil {
			return nil, &jsio.ArgumentError{Name: "tags", Err: err}
		}
		if tags[name], ok = jsio.Text(value); !ok {
			return nil, bad
		}
	}
	return tags, nil
}

func (n *node) jsWatchRooms(args []js.Value) (any, error) {
	o, err := readOptions(argument(args, 0), roomFilters...)
	if err != nil {
		return nil, err
	}
	filter, err := parseFilter(o)
	if err != nil {
		return nil, err
	}
	rooms, err := n.rooms()
	if err != nil {
		return nil, err
	}
	l, err := seat.Watch(rooms, filter)
	if err != nil {
		return nil, err
	}
	object := newObject(nil)
	return lobbies.object(object, &lobby{l, n, object}), nil
}

// jsRooms lists the rooms of the mesh that are found within the option wait (milliseconds,
// 2000 by default).
func (n *node) jsRooms(args []js.Value) (any, error) {
	o, err := readOptions(argument(args, 0), append([]string{"signal", "wait"}, roomFilters...)...)
	if err != nil {
		return nil, err
	}
	filter, err := parseFilter(o)
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
	err = seat.List(limited, rooms, filter, func(r seat.Room) bool {
		list = append(list, roomObject(r))
		return true
	})
	return list, errors.Join(err, ctx.Err())
}

// placeTimeout bounds the placing of a room, unless a signal ends it earlier.
const placeTimeout = 10 * time.Second

// jsPlaceRoom asks a peer that offers rooms of the kind to open one, unless a peer already
// hosts it.
func (n *node) jsPlaceRoom(args []js.Value) (any, error) {
	kind, err := stringArgument(argument(args, 0), "kind", "a string")
	if err != nil {
		return nil, err
	}
	name, err := stringArgument(argument(args, 1), "name", "a string")
	if err != nil {
		return nil, err
	}
	if err := world.CheckName(name); err != nil {
		return nil, &coded{codeArgument, err}
	}
	o, err := readOptions(argument(args, 2), "signal", "tags")
	if err != nil {
		return nil, err
	}
	tags, err := tagsArgument(o["tags"])
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := o.context()
	if err != nil {
		return nil, err
	}
	defer cancel()
	ctx, end := context.WithTimeout(ctx, placeTimeout)
	defer end()
	rooms, err := n.rooms()
	if err != nil {
		return nil, err
	}
	host, err := seat.Place(ctx, rooms, kind, name, tags)
	return host.String(), err
}
