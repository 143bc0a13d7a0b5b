package world

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// DefaultOfferIdle is after what time without players a room closes that was opened for an
// Offer.
const DefaultOfferIdle = time.Minute

// Offer is a node's readiness to hold rooms when somebody wants one; see seat.Place, which
// spreads the rooms over the peers that offer the same kind.
type Offer struct {
	// Kind names the game, and what else the rooms have in common: 1 to 64 bytes.
	Kind string
	// Rooms is how many of them the node holds at a time, 1 to 256. A peer that offers
	// twice as many as another is given twice as many.
	Rooms int
	// Open makes the game of a room that a peer wants, and its options, of which the name
	// is set. An error refuses the peer, which is told it. It may be called by several
	// goroutines at once, and must not block. The tags are what the peer chose.
	Open func(by peer.ID, name string, tags map[string]string) (Game, Options, error)
}

// offer is an Offer that is open.
type offer struct {
	Offer
	rooms *Rooms

	mu   sync.Mutex
	held map[string]*opening // by the names of the rooms
}

// opening is a room that is open, or is about to be.
type opening struct {
	ready chan struct{} // closed when it is open, or could not be opened
	err   error         // why; set before ready is closed
}

// Offer has the node hold rooms of a kind when somebody wants one, until remove is called.
// The rooms stay then. A room that nobody has played in for its Options.Idle, or
// DefaultOfferIdle, closes.
func (rs *Rooms) Offer(o Offer) (remove func(), err error) {
	switch {
	case o.Open == nil:
		return nil, fmt.Errorf("offer rooms of kind %.64q: Open is nil", o.Kind)
	case o.Rooms < 1 || o.Rooms > wire.MaxOffered:
		return nil, fmt.Errorf("offer rooms of kind %.64q: Rooms is %d; it may be from 1 to %d", o.Kind, o.Rooms, wire.MaxOffered)
	case o.Kind == "" || len(o.Kind) > wire.MaxName:
		return nil, fmt.Errorf("offer rooms: the kind %.64q has %d bytes; it may have 1 to %d", o.Kind, len(o.Kind), wire.MaxName)
	}
	offering := &offer{Offer: o, rooms: rs, held: make(map[string]*opening)}
	typ := wire.OfferType(o.Kind)
	unrespond, err := rs.node.Respond(typ, offering.answer)
	if err != nil {
		return nil, fmt.Errorf("offer rooms of kind %q: %w", o.Kind, err)
	}
	found, err := rs.announce(typ)
	if err != nil {
		unrespond()
		return nil, fmt.Errorf("offer rooms of kind %q: %w", o.Kind, err)
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.offers[typ] = offering
	return sync.OnceFunc(func() {
		unrespond()
		_ = found.close() // its only error is that the node is closed
		rs.mu.Lock()
		defer rs.mu.Unlock()
		delete(rs.offers, typ)
	}), nil
}

// answer answers a peer that wants a room, or asks where it would be.
func (o *offer) answer(ctx context.Context, m *message.Message) ([]byte, error) {
	return o.answerTo(ctx, m.From, m.Data)
}

func (o *offer) answerTo(ctx context.Context, by peer.ID, data []byte) ([]byte, error) {
	var q wire.OfferQuestion
	if err := json.Unmarshal(data, &q); err != nil {
		return nil, fmt.Errorf("it is no question for an offer of rooms: %w", err)
	}
	if err := errors.Join(CheckName(q.Name), wire.CheckTags(q.Tags)); err != nil {
		return nil, err
	}
	if q.Open {
		if err := o.want(ctx, by, q); err != nil {
			return nil, err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	offered := wire.Offer{Rooms: len(o.held), MaxRooms: o.Rooms}
	if asked := o.held[q.Name]; asked != nil {
		select {
		case <-asked.ready:
			offered.Holds = asked.err == nil
		default:
		}
	}
	return json.Marshal(offered)
}

// want has the room there that a peer wants: the first who does has it opened, and the
// others wait for that.
func (o *offer) want(ctx context.Context, by peer.ID, q wire.OfferQuestion) error {
	o.mu.Lock()
	wanted := o.held[q.Name]
	switch {
	case wanted != nil:
		o.mu.Unlock()
		select {
		case <-wanted.ready:
			return wanted.err
		case <-ctx.Done():
			return ctx.Err()
		}
	case len(o.held) >= o.Rooms:
		o.mu.Unlock()
		return fmt.Errorf("all %d rooms of kind %q are in use", o.Rooms, o.Kind)
	}
	wanted = &opening{ready: make(chan struct{}), err: errors.New("the room could not be opened")} // if Open panics
	o.held[q.Name] = wanted
	o.mu.Unlock()
	var room *Room
	defer func() {
		if room == nil {
			o.forget(q.Name)
		}
		close(wanted.ready)
	}()
	room, wanted.err = o.open(by, q)
	return wanted.err
}

func (o *offer) open(by peer.ID, q wire.OfferQuestion) (*Room, error) {
	game, opts, err := o.Open(by, q.Name, q.Tags)
	if err != nil {
		return nil, err
	}
	opts.Name, opts.Idle = q.Name, cmp.Or(opts.Idle, DefaultOfferIdle)
	room, err := o.rooms.Host(game, opts)
	if err != nil {
		return nil, err
	}
	go func() {
		<-room.done
		o.forget(q.Name)
	}()
	return room, nil
}

func (o *offer) forget(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.held, name)
}
