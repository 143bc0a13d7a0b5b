package seat

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Find looks for a peer of the mesh that holds a room of this name, until ctx ends. If
// several peers hold one, it returns the first that it finds: anybody may hold a room of
// any name. If node is a *world.Rooms, the peer may be the node itself.
func Find(ctx context.Context, node Finder, name string) (peer.ID, error) {
	var found peer.ID
	err := look(ctx, node, Filter{Name: name}, func(r Room) bool {
		found = r.Host
		return false
	})
	switch {
	case found != "":
		return found, nil
	case errors.Is(err, context.DeadlineExceeded):
		return "", fmt.Errorf("no peer of the mesh that could be found holds a room %q: %w", name, err)
	}
	return "", fmt.Errorf("find room %q: %w", name, err)
}

// List calls each for every room of the mesh that passes the filter, once, when it is
// found, until ctx ends or each returns false. Watch also reports changes.
func List(ctx context.Context, node Finder, f Filter, each func(Room) bool) error {
	err := look(ctx, node, f, each)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func look(ctx context.Context, node Finder, f Filter, each func(Room) bool) error {
	lobby, err := Watch(node, f)
	if err != nil {
		return err
	}
	defer lobby.Close()
	seen := make(map[place]struct{})
	for {
		change, err := lobby.Next(ctx)
		if err != nil {
			return err
		}
		at := place{change.Host, change.Name}
		if _, again := seen[at]; again || change.Gone {
			continue
		}
		seen[at] = struct{}{}
		if !each(change.Room) {
			return nil
		}
	}
}
