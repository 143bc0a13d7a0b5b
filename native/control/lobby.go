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

// RoomListCall asks for rooms of the mesh.
type RoomListCall struct {
	RoomFilter
	// Wait is for how long hosts are looked for, in seconds. If zero, 2.
	Wait float64 `json:"wait,omitempty"`
}

// RoomFilter says which rooms are asked for: all, if it is empty.
type RoomFilter = seat.Filter

// ListedRoom is a room of the mesh.
type ListedRoom = seat.Room

// RoomChange is a room of the mesh that is new, has changed, or is gone.
type RoomChange = seat.Change

// RoomInviteCall asks for an invitation to a room that the daemon holds.
type RoomInviteCall struct {
	Name string `json:"name"`
	// Page is the page that the link opens, if not empty; the invitation is in the fragment.
	Page string `json:"page,omitempty"`
}

// RoomInvitation is an invitation: whoever has the link can join.
type RoomInvitation struct {
	Link string `json:"link"`
}

// RoomOfferCall has the daemon hold rooms of the demo when somebody wants one, for as long
// as the call lasts. The name is that of the kind; the options are those of each room.
type RoomOfferCall struct {
	RoomHostCall
	// Rooms is how many there are at a time. If zero, 8.
	Rooms int `json:"rooms,omitempty"`
}

// roomOffer tells of the rooms that are open, again and again.
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
