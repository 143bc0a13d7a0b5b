package control

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/core/world/seat"
)

// RoomListCall asks for the rooms of the mesh.
type RoomListCall struct {
	RoomFilter
	// Wait is the time to look for hosts, in seconds. If zero, 2.
	Wait float64 `json:"wait,omitempty"`
}

// RoomFilter selects rooms; an empty one selects all.
type RoomFilter = seat.Filter

// ListedRoom is a room of the mesh.
type ListedRoom = seat.Room

// RoomChange is a change in the list of rooms: one is new, has changed, or has ended.
type RoomChange = seat.Change

// RoomInviteCall asks for an invitation to a room that the daemon holds.
type RoomInviteCall struct {
	Name string `json:"name"`
	// Page is the page that the link opens, if not empty; the invitation is in the URL's
	// fragment.
	Page string `json:"page,omitempty"`
}

// RoomInvitation is an invitation. Anyone who has the link can join.
type RoomInvitation struct {
	Link string `json:"link"`
}

// RoomOfferCall makes the daemon host rooms of the demo on demand, for as long as the
// call lasts. Name is the kind of room; the options apply to each room.
type RoomOfferCall struct {
	RoomHostCall
	// Rooms is the maximum number of rooms at a time. If zero, 8.
	Rooms int `json:"rooms,omitempty"`
}

// roomOffer reports the states of the open rooms, at intervals.
func (s *Server) roomOffer(ctx context.Context, q RoomOfferCall, tell func(any) error) error {
	opts, every, err := s.roomOptions(q.RoomHostCall)
	if err != nil {
		return err
	}
	if err := q.checkDemo(); err != nil {
		return err
	}
	offering, err := s.opts.Rooms.Offer(world.Offer{
		Kind: q.Name, Rooms: cmp.Or(q.Rooms, 8),
		Open: func(world.Wanted) (world.Game, world.Options, error) {
			return &demo.Harbour{Size: q.Size, Buoys: q.Buoys}, opts, nil
		},
	})
	if err != nil {
		return badRequest{err}
	}
	defer func() {
		_ = offering.Close()
		for _, r := range offering.Rooms() {
			_ = r.Close()
		}
	}()
	return s.tellOfRooms(ctx, every, offering.Rooms, tell)
}

func (s *Server) roomList(ctx context.Context, q RoomListCall) ([]ListedRoom, error) {
	wait := cmp.Or(q.Wait, 2)
	if wait < 0 || wait > 60 {
		return nil, badRequest{fmt.Errorf("wait: %v s is not from 0 to 60", q.Wait)}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(wait*float64(time.Second)))
	defer cancel()
	if err := q.RoomFilter.Check(); err != nil {
		return nil, badRequest{err}
	}
	list := []ListedRoom{}
	add := func(r seat.Room) bool {
		list = append(list, r)
		return true
	}
	if err := seat.List(ctx, s.opts.Rooms, q.RoomFilter, add); err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b ListedRoom) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Host, b.Host))
	})
	return list, nil
}

func (s *Server) roomWatch(ctx context.Context, f RoomFilter, tell func(any) error) error {
	if err := f.Check(); err != nil {
		return badRequest{err}
	}
	lobby, err := seat.Watch(s.opts.Rooms, f)
	if err != nil {
		return err
	}
	defer lobby.Close()
	for {
		change, err := lobby.Next(ctx)
		if err != nil {
			return err
		}
		if err := tell(change); err != nil {
			return err
		}
	}
}

func (s *Server) roomInvite(_ context.Context, q RoomInviteCall) (RoomInvitation, error) {
	invitation, err := s.opts.Rooms.Invite(q.Name)
	if err != nil {
		return RoomInvitation{}, err
	}
	link, err := invitation.Link(q.Page)
	return RoomInvitation{link}, err
}
