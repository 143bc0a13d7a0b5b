package seat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// Finder is what finding rooms takes of a node. *core.Node is one.
type Finder interface {
	ID() peer.ID
	Presence(typ string) (*mesh.Presence, error)
	Request(ctx context.Context, p peer.ID, typ string, data []byte) ([]byte, error)
}

// Room is a room of the mesh, as its host tells.
type Room struct {
	Host peer.ID
	wire.Listing
}

const (
	// askFor is how long a host may take to tell of its rooms.
	askFor = 5 * time.Second
	// maxAnswer bounds what is read of its answer, in rooms.
	maxAnswer = 256
	// askAtOnce is how many hosts are asked at a time.
	askAtOnce = 16
)

// Find looks for a peer of the mesh that holds a room of this name, until ctx ends. Of
// several, it is the first that answers: anybody may hold a room of any name.
func Find(ctx context.Context, node Finder, name string) (peer.ID, error) {
	for _, own := range ask(ctx, node, node.ID()) { // which only *world.Rooms answers
		if own.Name == name {
			return own.Host, nil
		}
	}
	var found peer.ID
	err := eachRoom(ctx, node, wire.RoomType(name), func(r Room) bool {
		if r.Name == name && found == "" {
			found = r.Host
		}
		return found == ""
	})
	switch {
	case found != "":
		return found, nil
	case errors.Is(err, context.DeadlineExceeded):
		return "", fmt.Errorf("no peer of the mesh that could be found holds a room %q: %w", name, err)
	}
	return "", fmt.Errorf("find room %q: %w", name, err)
}

// List yields the node's own rooms, where node is a *world.Rooms, and those of the mesh as their hosts are found and answer, until ctx ends
// or each returns false. Each is called by one goroutine at a time.
func List(ctx context.Context, node Finder, each func(Room) bool) error {
	for _, own := range ask(ctx, node, node.ID()) {
		if !each(own) {
			return nil
		}
	}
	err := eachRoom(ctx, node, wire.RoomsType, each)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// eachRoom asks every peer that is or comes on a type for its rooms.
func eachRoom(ctx context.Context, node Finder, typ string, each func(Room) bool) error {
	presence, err := node.Presence(typ)
	if err != nil {
		return err
	}
	defer presence.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	enough := errors.New("enough")
	var telling sync.Mutex
	var asking sync.WaitGroup
	defer asking.Wait()
	slots := make(chan struct{}, askAtOnce)
	for {
		change, err := presence.Next(ctx)
		if err != nil {
			if errors.Is(context.Cause(ctx), enough) {
				return nil
			}
			return err
		}
		if !change.Joined {
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		asking.Go(func() {
			defer func() { <-slots }()
			for _, room := range ask(ctx, node, change.Peer) {
				telling.Lock()
				if ctx.Err() == nil && !each(room) {
					cancel(enough)
				}
				telling.Unlock()
			}
		})
	}
}

// ask asks one peer for its rooms. One that does not answer as it should has none.
func ask(ctx context.Context, node Finder, p peer.ID) []Room {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	data, err := node.Request(ctx, p, wire.RoomsType, nil)
	if err != nil {
		return nil
	}
	var listings []wire.Listing
	if json.Unmarshal(data, &listings) != nil || len(listings) > maxAnswer {
		return nil
	}
	listings = slices.DeleteFunc(listings, func(l wire.Listing) bool {
		return l.Name == "" || len(l.Name) > wire.MaxName || len(l.Version) > wire.MaxName
	})
	var rooms []Room
	for _, l := range listings {
		rooms = append(rooms, Room{p, l})
	}
	return rooms
}
