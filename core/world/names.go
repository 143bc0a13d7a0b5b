package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// How rooms are found: the peer that holds one is on the type of its name, and on that
// of all rooms, and answers requests of the latter. Who looks for a room watches who
// is on a type, and asks them.

// announced is a node's presence on a type, for as long as it holds a room.
type announced struct{ subs []*dispatch.Subscription }

// announce has the node be found as one that holds the room.
func (rs *Rooms) announce(name string) (*announced, error) {
	a := &announced{}
	for _, typ := range []string{wire.RoomsType, wire.RoomType(name)} {
		// Nobody is to say anything on these types; what somebody does is dropped.
		sub, err := rs.node.Subscribe(typ, dispatch.Buffer(1))
		if err != nil {
			return nil, errors.Join(err, a.close())
		}
		a.subs = append(a.subs, sub)
	}
	return a, nil
}

func (a *announced) close() error {
	var errs []error
	for _, sub := range a.subs {
		errs = append(errs, sub.Close())
	}
	return errors.Join(errs...)
}

// maxListed bounds the rooms that a node tells of.
const maxListed = 256

// list answers who asks which rooms there are.
func (rs *Rooms) list(context.Context, *message.Message) ([]byte, error) {
	data, err := json.Marshal(rs.Listings())
	if err != nil {
		return nil, fmt.Errorf("list rooms: %w", err)
	}
	return data, nil
}

// Listings is what the node tells others of its rooms, in the order of their names.
func (rs *Rooms) Listings() []wire.Listing {
	list := []wire.Listing{}
	for _, r := range rs.Rooms() {
		if r.opts.Hidden {
			continue
		}
		stats := r.Stats()
		list = append(list, wire.Listing{
			Name: r.opts.Name, Version: r.opts.Version, Password: r.opts.Password != "", Hz: r.opts.Hz,
			Players: stats.Players, MaxPlayers: r.opts.Players,
			Spectators: stats.Spectators, MaxSpectators: r.opts.Spectators,
		})
		if len(list) == maxListed {
			break
		}
	}
	return list
}
