//go:build js

package jsapi

import (
	"context"
	"errors"
	"syscall/js"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/seat"
)

// standby is a world.Standby that JavaScript holds. Once the node hosts the room, the
// object has the methods of a room, too.
type standby struct {
	*world.Standby
	node   *node
	name   string
	object js.Value
}

var standbys *class[*standby]

func init() {
	c := &class[*standby]{
		name:   "a standby",
		parent: "Object",
		methods: map[string]func(*standby, []js.Value) (any, error){
			"state": (*standby).state,
			"held":  (*standby).held,
			"close": (*standby).close,
		},
		ended: func(_ js.Value, method string) (any, error) {
			if method == "close" {
				return nil, nil
			}
			return nil, &coded{codeClosed, errors.New("the standby is closed")}
		},
	}
	for _, method := range []string{"stats", "kick", "ban", "unban", "save", "nameStandbys", "nameNeighbours", "handOver", "setTags", "invite"} {
		c.methods[method] = func(s *standby, args []js.Value) (any, error) {
			r := s.Room()
			if r == nil {
				return nil, &coded{codeArgument, errors.New("the node does not hold the room")}
			}
			return heldRooms.methods[method](&room{r, s.node, s.object}, args)
		}
	}
	standbys = newClass(c)
}

func (n *node) jsStandByRoom(args []js.Value) (any, error) {
	plan, err := n.parseRoom(args)
	if err != nil {
		return nil, err
	}
	game, ok := plan.game.(world.Keeper)
	if !ok {
		return nil, &coded{codeArgument, errors.New("the game keeps nothing: it has no save, restore and savePlayer")}
	}
	ctx, cancel, err := plan.others.context()
	if err != nil {
		return nil, err
	}
	defer cancel()
	ctx, end := context.WithTimeout(ctx, joinTimeout)
	defer end()
	var host peer.ID
	if plan.others.given("host") {
		if host, err = peerArgument(plan.others["host"]); err != nil {
			return nil, plan.others.bad("host", "a peer id")
		}
	} else if host, err = seat.Find(ctx, plan.rooms, plan.opts.Name); err != nil {
		return nil, err
	}
	standing, err := plan.rooms.StandBy(host, game, plan.opts)
	if err != nil {
		return nil, roomError(err)
	}
	s := &standby{standing, n, plan.opts.Name, newObject(map[string]any{"name": plan.opts.Name})}
	n.events.Go(func() {
		if r, err := standing.Wait(context.Background()); err == nil {
			n.watchRoom(r)
		} else if !errors.Is(err, world.ErrClosed) {
			n.dispatch("error", map[string]any{"message": err.Error()})
		}
	})
	return standbys.object(s.object, s), nil
}

func (s *standby) state([]js.Value) (any, error) {
	ready, reason := s.Ready()
	state := map[string]any{"host": s.Host().String(), "ready": ready, "reason": "", "tick": float64(s.Tick()), "waiting": s.Waiting()}
	if reason != nil {
		state["reason"] = reason.Error()
	}
	return state, nil
}

// held resolves to true once the node hosts the room, or to false if the standby is closed
// before that.
func (s *standby) held([]js.Value) (any, error) {
	_, err := s.Wait(context.Background())
	if errors.Is(err, world.ErrClosed) {
		return false, nil
	}
	return err == nil, err
}

func (s *standby) close([]js.Value) (any, error) {
	standbys.open.Drop(s.object)
	if r := s.Room(); r != nil {
		return nil, r.Close()
	}
	return nil, s.Close()
}
