package world

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// DefaultOfferIdle is how long a room that was opened for an Offer stays open without
// players.
const DefaultOfferIdle = time.Minute

// Offer describes the rooms that a node holds on demand; see seat.Place, which spreads the
// rooms over the peers that offer the same kind.
type Offer struct {
	// Kind names the game, and what else the rooms have in common: 1 to 64 bytes.
	Kind string
	// Rooms is the maximum number of such rooms at a time, 1 to 256. A peer that offers
	// twice as many as another gets twice as many.
	Rooms int
	// Open returns the game of a room that a peer wants, and its options; the name is set
	// afterwards. An error refuses the peer, which receives its text. Several goroutines
	// may call Open at once, and it must not block. The peer chose the name and the tags.
	Open func(Wanted) (Game, Options, error)
}

// Wanted is a room that a peer wants opened.
type Wanted struct {
	By   peer.ID
	Name string
	Tags map[string]string
}

// Offering is an Offer of a running node. All methods may be called concurrently.
type Offering struct {
	offer  Offer
	rooms  *Rooms
	remove func()

	mu   sync.Mutex
	held map[string]*opening // by room name
}

// opening is a room that is open or being opened.
type opening struct {
	ready chan struct{} // closed when it is open, or could not be opened
	room  *Room         // both are set before ready is closed
	err   error
}

// Offer makes the node hold rooms of a kind on demand. A room closes after it has been
// empty for its Options.Idle, or for DefaultOfferIdle if that is zero.
func (rs *Rooms) Offer(o Offer) (*Offering, error) {
	switch {
	case o.Open == nil:
		return nil, fmt.Errorf("offer rooms of kind %.64q: Open is nil", o.Kind)
	case o.Rooms < 1 || o.Rooms > wire.MaxOffered:
		return nil, fmt.Errorf("offer rooms of kind %.64q: Rooms is %d; it may be from 1 to %d", o.Kind, o.Rooms, wire.MaxOffered)
	case o.Kind == "" || len(o.Kind) > wire.MaxName:
		return nil, fmt.Errorf("offer rooms: the kind %.64q has %d bytes; it may have 1 to %d", o.Kind, len(o.Kind), wire.MaxName)
	}
	offering := &Offering{offer: o, rooms: rs, held: make(map[string]*opening)}
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
	offering.remove = sync.OnceFunc(func() {
		unrespond()
		_ = found.close() // its only error is that the node is closed
		rs.mu.Lock()
		defer rs.mu.Unlock()
		delete(rs.offers, typ)
	})
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.offers[typ] = offering
	return offering, nil
}

// Close withdraws the offer. Rooms that were opened for it stay open. It may be called
// more than once.
func (o *Offering) Close() error {
	o.remove()
	return nil
}

// Rooms returns the open rooms of the offer, in the order of their names.
func (o *Offering) Rooms() []*Room {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []*Room
	for _, name := range slices.Sorted(maps.Keys(o.held)) {
		if wanted := o.held[name]; wanted.isReady() && wanted.room != nil {
			list = append(list, wanted.room)
		}
	}
	return list
}

func (o *opening) isReady() bool {
	select {
	case <-o.ready:
		return true
	default:
		return false
	}
}

// answer answers a peer that wants a room, or asks who would hold it.
func (o *Offering) answer(ctx context.Context, m *message.Message) ([]byte, error) {
	return o.answerTo(ctx, m.From, m.Data)
}

func (o *Offering) answerTo(ctx context.Context, by peer.ID, data []byte) ([]byte, error) {
	var q wire.OfferQuestion
	if err := json.Unmarshal(data, &q); err != nil {
		return nil, fmt.Errorf("this is not a query for an offer of rooms: %w", err)
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
	offered := wire.Offer{Rooms: len(o.held), MaxRooms: o.offer.Rooms}
	if asked := o.held[q.Name]; asked != nil && asked.isReady() {
		offered.Holds = asked.room != nil
	}
	return json.Marshal(offered)
}

// want opens the room that a peer wants. If the room is already being opened, want waits
// for that.
func (o *Offering) want(ctx context.Context, by peer.ID, q wire.OfferQuestion) error {
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
	case len(o.held) >= o.offer.Rooms:
		o.mu.Unlock()
		return fmt.Errorf("all %d rooms of kind %q are in use", o.offer.Rooms, o.offer.Kind)
	}
	wanted = &opening{ready: make(chan struct{}), err: errors.New("the room could not be opened")} // if Open panics
	o.held[q.Name] = wanted
	o.mu.Unlock()
	defer func() {
		if wanted.room == nil {
			o.forget(q.Name)
		}
		close(wanted.ready)
	}()
	wanted.room, wanted.err = o.open(by, q)
	return wanted.err
}

func (o *Offering) open(by peer.ID, q wire.OfferQuestion) (*Room, error) {
	game, opts, err := o.offer.Open(Wanted{by, q.Name, q.Tags})
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

func (o *Offering) forget(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.held, name)
}
