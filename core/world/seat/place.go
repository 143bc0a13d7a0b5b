package seat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// Placer is the part of a node that places a room. *core.Node implements it, and so does
// *world.Rooms, which may offer rooms itself.
type Placer interface {
	Finder
	Request(ctx context.Context, p peer.ID, typ string, data []byte) ([]byte, error)
}

const (
	// quietFor is how long no further answer must come before all peers that offer rooms
	// count as found: twice as long as a peer may take that first answers another query.
	quietFor = 2 * time.Second
	// offerLimit is how long a peer may take to answer.
	offerLimit = 5 * time.Second
	// asksAtOnce is how many peers are asked at a time.
	asksAtOnce = 16
)

// Place finds the peer that holds a room of a kind among those that offer rooms of this
// kind (see world.Rooms.Offer), or makes one of them open it. Which one follows from the
// name of the room and from what the peers offer, so that two callers that want the same
// room at the same time come together; see wire.Rank. If a peer refuses because all its
// rooms are in use, Place asks the next. The tags are for the game of a room that is
// opened. ctx bounds the whole call. Opening a room takes two seconds, in which the peers
// are found.
//
// Two callers that know different peers may get different rooms of the same name.
func Place(ctx context.Context, node Placer, kind, room string, tags map[string]string) (peer.ID, error) {
	offers, err := offersOf(ctx, node, kind, room)
	if err != nil {
		return "", fmt.Errorf("place room %q: %w", room, err)
	}
	ranked := wire.Rank(kind, room, offers)
	for _, p := range ranked {
		if offers[p].Holds {
			return p, nil
		}
	}
	var errs []error
	for _, p := range ranked {
		offer, err := askOffer(ctx, node, p, kind, wire.OfferQuestion{Name: room, Open: true, Tags: tags})
		if err == nil && offer.Holds {
			return p, nil
		}
		if ctx.Err() != nil {
			break
		}
		errs = append(errs, fmt.Errorf("%s: %w", p, err))
	}
	return "", fmt.Errorf("place room %q: no peer that offers rooms of kind %q opens it: %w", room, kind, errors.Join(append(errs, ctx.Err())...))
}

// offersOf asks every peer that offers rooms of a kind.
func offersOf(ctx context.Context, node Placer, kind, room string) (map[peer.ID]wire.Offer, error) {
	presence, err := node.Presence(wire.OfferType(kind))
	if err != nil {
		return nil, err
	}
	defer presence.Close()
	var mu sync.Mutex
	offers := make(map[peer.ID]wire.Offer)
	looking, found := context.WithCancel(ctx)
	defer found()
	quiet := time.AfterFunc(time.Hour, found) // restarted by each answer
	defer quiet.Stop()
	slots := make(chan struct{}, asksAtOnce)
	var asking sync.WaitGroup
	ask := func(p peer.ID) {
		asking.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			offer, err := askOffer(ctx, node, p, kind, wire.OfferQuestion{Name: room})
			if err != nil {
				return // it offers nothing, or no longer does
			}
			mu.Lock()
			defer mu.Unlock()
			offers[p] = offer
			quiet.Reset(quietFor)
			if offer.Holds {
				found() // no further offers are needed
			}
		})
	}
	asked := map[peer.ID]struct{}{node.ID(): {}}
	ask(node.ID())
	for len(asked) <= mostHosts {
		change, err := presence.Next(looking)
		if err != nil {
			break
		}
		if _, again := asked[change.Peer]; !again && change.Joined {
			asked[change.Peer] = struct{}{}
			ask(change.Peer)
		}
	}
	asking.Wait()
	if len(offers) == 0 {
		return nil, fmt.Errorf("no peer of the mesh that could be found offers rooms of kind %q: %w", kind, ctx.Err())
	}
	return offers, nil
}

func askOffer(ctx context.Context, node Placer, p peer.ID, kind string, q wire.OfferQuestion) (offer wire.Offer, err error) {
	ctx, cancel := context.WithTimeout(ctx, offerLimit)
	defer cancel()
	data, err := json.Marshal(q)
	if err != nil {
		return offer, err
	}
	if data, err = node.Request(ctx, p, wire.OfferType(kind), data); err != nil {
		return offer, err
	}
	if err = json.Unmarshal(data, &offer); err != nil {
		return offer, fmt.Errorf("what it says of its offer: %w", err)
	}
	return offer, nil
}
