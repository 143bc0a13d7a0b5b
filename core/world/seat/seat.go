// Package seat is a player's side of a room; package world is the host's side.
//
// [Join] takes a seat, and [Seat.Ticks] yields what the player sees, tick by tick. A lost
// connection is restored, and the seat with it: the player then receives everything anew.
// [View] keeps the entities in sight, [Path] shows them smoothly, and [Prediction] shows
// the player's own inputs at once.
package seat

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// Options configure a seat.
type Options struct {
	// Host is the peer that holds the room. If empty, Join looks for the room in the
	// mesh; see Find.
	Host peer.ID
	// Version is the version of the game. It has to be the version of the room.
	Version string
	// Reconnect is how long the seat tries to restore a lost connection before it ends. If
	// zero, DefaultReconnect.
	Reconnect time.Duration
	// Spectator asks for a seat that only watches.
	Spectator bool
	// Password is the password of the room, if it has one.
	Password string
	// Data is passed to the game, up to 32 KiB.
	Data []byte
	// StreamOnly turns datagrams off. Otherwise, if the connection has datagrams, urgent
	// data travels in them: on a direct connection over QUIC or WebTransport.
	StreamOnly bool
	// Each, if set, is called with every tick, in order; Next and Ticks then yield none.
	// It must not block, because the other seats of the visit wait for it. The tick and
	// its contents are valid during the call.
	Each func(*Tick)
}

// Tick is what a player receives in one tick of the room.
type Tick struct {
	// Number counts the ticks of the room. It never goes back, until the player walks to
	// another room, which has its own count. Ticks without changes are left out, but a
	// player receives at least two a second. If the connection has datagrams, two ticks
	// may have the same number: one with the urgent data, and one with the rest.
	Number uint32
	// Reset means that the connection is a new one, and that the host or the room may
	// have changed: discard everything known.
	Reset bool
	// Applied is the number of the last input that the game has taken, if it took one
	// since the tick before; otherwise zero. Waited is how long that input waited for its
	// tick. A client that wants its inputs to be in time keeps Waited small and above
	// zero.
	Applied uint32
	Waited  time.Duration
	// Left lists the entities that the player no longer sees, in the order of their
	// numbers, and Updates those that are new or have changed.
	Left    []uint32
	Updates []Update
	// Notes are what the game sent to this player alone, by Player.Tell.
	Notes [][]byte
}

// Update is what a player receives of an entity.
type Update struct {
	Entity uint32
	New    bool   // it came into sight
	Whole  bool   // Data is the whole record; otherwise only the changes since the last update
	Data   []byte // in the game's own encoding
}

// Out is the error of a seat that was refused or has ended.
type Out struct {
	Code   wire.Code
	Reason string
}

func (o *Out) Error() string {
	return wire.Out{Code: o.Code, Reason: o.Reason}.Why()
}

// Seat is a seat in a room. All methods may be called concurrently.
type Seat struct {
	visit   *Visit
	opts    Options
	number  uint32
	program uint32
	ticks   chan *Tick // nil if Each is set
	joined  chan struct{}
	ended   chan struct{}

	// The following fields are guarded by the visit's mutex.
	welcome *wire.Welcome
	err     error
	seq     uint32
	sent    []sent // inputs that the host has not confirmed
	// sentBytes is the size of sent.
	sentBytes int

	// The following fields belong to the visit's reader.
	known   []uint32
	at      []uint32 // of each known entity: the tick of the newest record
	since   uint32   // the tick of the last Reset
	newest  uint32   // the last tick
	applied uint32   // the last input that was confirmed
	tick    Tick
}

// Join takes a seat in a room. ctx bounds the time that takes. If the host or its game
// refuses, the error is an *Out.
func Join(ctx context.Context, node interface {
	Node
	Finder
}, room string, opts Options) (*Seat, error) {
	if opts.Host == "" {
		host, err := Find(ctx, node, room)
		if err != nil {
			return nil, fmt.Errorf("join: %w", err)
		}
		opts.Host = host
	}
	v, err := Connect(ctx, node, room, opts)
	if err != nil {
		return nil, err
	}
	v.single = true
	s, err := v.Sit(ctx, 0, opts)
	if err != nil {
		_ = v.Close()
		return nil, err
	}
	return s, nil
}

// Beside takes another seat for this peer over the same connection, which stays open as
// long as any of its seats. No other seat of the peer may have the same number; the one
// that Join took has 0. opts are as for Visit.Sit. A seat whose ticks are not read holds
// up the others.
func (s *Seat) Beside(ctx context.Context, number uint32, opts Options) (*Seat, error) {
	return s.visit.Sit(ctx, number, opts)
}

// Answer returns what the game answered when the player last took the seat. There is a
// new answer, before a Tick with Reset, after the connection was lost, the room has moved
// to another host, or the player has walked to another room.
func (s *Seat) Answer() []byte {
	s.visit.mu.Lock()
	defer s.visit.mu.Unlock()
	return slices.Clone(s.welcome.Data)
}

// Room returns the name of the room. It changes when the player walks to another one.
func (s *Seat) Room() string {
	s.visit.mu.Lock()
	defer s.visit.mu.Unlock()
	return s.visit.room
}

// Hz returns the number of ticks a second of the room.
func (s *Seat) Hz() int {
	s.visit.mu.Lock()
	defer s.visit.mu.Unlock()
	return int(s.welcome.Hz)
}

// Host returns the peer that holds the room, or held it last. It changes when the room
// moves.
func (s *Seat) Host() peer.ID {
	s.visit.mu.Lock()
	defer s.visit.mu.Unlock()
	return s.visit.host
}

// ErrAway is returned by Input while the connection is lost. The input was not sent.
var ErrAway = errors.New("the connection to the room is lost, and is being made again")

// ErrBehind is returned by Input while too many inputs wait to be sent, because the room
// takes fewer in a second. The input was not sent.
var ErrBehind = errors.New("too many inputs wait to be sent to the room")

// Input sends an input to the game, and returns its number, which Tick.Applied later
// confirms. The error is ErrAway, ErrBehind, or the error of Err.
func (s *Seat) Input(data []byte) (seq uint32, err error) {
	return s.visit.input(s, data)
}

// Next waits for the next tick. After the end of the seat it returns the error of Err. If
// the player reads late, the host sends it fewer ticks, and the newest ones. With
// Options.Each, Next only waits for the end of the seat.
func (s *Seat) Next(ctx context.Context) (*Tick, error) {
	select {
	case t := <-s.ticks:
		return t, nil
	default:
	}
	select {
	case t := <-s.ticks:
		return t, nil
	case <-s.ended:
		return nil, s.Err()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Ticks yields ticks until the seat or ctx ends.
func (s *Seat) Ticks(ctx context.Context) iter.Seq[*Tick] {
	return func(yield func(*Tick) bool) {
		for {
			t, err := s.Next(ctx)
			if err != nil || !yield(t) {
				return
			}
		}
	}
}

// Done returns a channel that is closed when the seat has ended.
func (s *Seat) Done() <-chan struct{} { return s.ended }

// Err returns the reason why the seat has ended, or nil: an *Out if the host ended it,
// ErrLeft after Leave, otherwise the reason why the connection could not be restored.
func (s *Seat) Err() error {
	s.visit.mu.Lock()
	defer s.visit.mu.Unlock()
	return s.err
}

// ErrLeft is the error of a seat that was left.
var ErrLeft = errors.New("the seat was left")

// Leave gives the seat up. It returns after the message was sent to the host, or after a
// second.
func (s *Seat) Leave() error { return s.visit.leave(s) }

// take applies a section that the host sent.
func (s *Seat) take(number uint32, sec *wire.Section) error {
	s.begin(number, sec)
	t := &s.tick
	if sec.Reset {
		s.known, s.at, s.since = s.known[:0], s.at[:0], number
	}
	if err := s.takeLeft(sec.Left); err != nil {
		return err
	}
	for _, u := range sec.Updates {
		if int64(u.Place) >= int64(len(s.known)) {
			return fmt.Errorf("%w: an update of entity %d of %d", wire.ErrMalformed, u.Place, len(s.known))
		}
		if s.at[u.Place] > number {
			continue // a datagram was faster
		}
		s.at[u.Place] = number
		t.Updates = append(t.Updates, Update{Entity: s.known[u.Place], Whole: u.Whole, Data: u.Data})
	}
	if err := s.takeEntered(number, sec.Entered); err != nil {
		return err
	}
	return s.deliver()
}

// begin starts a tick with everything but the entities.
func (s *Seat) begin(number uint32, sec *wire.Section) {
	t := &s.tick
	s.newest = max(s.newest, number)
	*t = Tick{Number: s.newest, Reset: sec.Reset, Left: t.Left[:0], Updates: t.Updates[:0], Notes: sec.Notes}
	if sec.Applied && sec.Seq > s.applied {
		s.applied = sec.Seq
		s.visit.mu.Lock()
		s.took(sec.Seq)
		s.visit.mu.Unlock()
		t.Applied, t.Waited = sec.Seq, time.Duration(sec.Waited)*time.Millisecond
	}
}

// takeLoose applies a section of a datagram: the records of known entities that are newer
// than what is known.
func (s *Seat) takeLoose(number uint32, sec *wire.Section) error {
	if number < s.since {
		return nil
	}
	s.begin(number, &wire.Section{Applied: sec.Applied, Seq: sec.Seq, Waited: sec.Waited})
	t := &s.tick
	for _, e := range sec.Entered {
		if i, ok := slices.BinarySearch(s.known, e.ID); ok && s.at[i] < number {
			s.at[i] = number
			t.Updates = append(t.Updates, Update{Entity: e.ID, Whole: true, Data: e.Data})
		}
	}
	if len(t.Updates) == 0 && t.Applied == 0 {
		return nil
	}
	return s.deliver()
}

func (s *Seat) takeLeft(left []uint32) error {
	if len(left) == 0 {
		return nil
	}
	if last := left[len(left)-1]; int64(last) >= int64(len(s.known)) {
		return fmt.Errorf("%w: entity %d of %d left", wire.ErrMalformed, last, len(s.known))
	}
	kept := int(left[0])
	for i := kept; i < len(s.known); i++ {
		if len(left) > 0 && uint32(i) == left[0] {
			s.tick.Left = append(s.tick.Left, s.known[i])
			left = left[1:]
			continue
		}
		s.known[kept], s.at[kept] = s.known[i], s.at[i]
		kept++
	}
	s.known, s.at = s.known[:kept], s.at[:kept]
	return nil
}

// maxKnown bounds the entities that one seat knows, whatever a host sends.
const maxKnown = 64 << 10

func (s *Seat) takeEntered(number uint32, entered []wire.Entered) error {
	old := len(s.known)
	if old+len(entered) > maxKnown {
		return fmt.Errorf("%w: over %d entities in sight", wire.ErrMalformed, maxKnown)
	}
	for _, e := range entered {
		s.known, s.at = append(s.known, e.ID), append(s.at, number)
		s.tick.Updates = append(s.tick.Updates, Update{Entity: e.ID, New: true, Whole: true, Data: e.Data})
	}
	for i, j, to := old-1, len(entered)-1, len(s.known)-1; j >= 0; to-- { // both are sorted
		switch id := entered[j].ID; {
		case i >= 0 && s.known[i] == id:
			return fmt.Errorf("%w: entity %d came into sight twice", wire.ErrMalformed, id)
		case i >= 0 && s.known[i] > id:
			s.known[to], s.at[to] = s.known[i], s.at[i]
			i--
		default:
			s.known[to], s.at[to] = id, number
			j--
		}
	}
	return nil
}

// deliver passes the tick to the player.
func (s *Seat) deliver() error {
	if s.opts.Each != nil {
		s.opts.Each(&s.tick)
		return nil
	}
	select {
	case s.ticks <- s.tick.clone():
		return nil
	case <-s.ended:
		return nil
	case <-s.visit.closing:
		return context.Canceled
	}
}

// clone returns a copy of the tick with its own memory.
func (t *Tick) clone() *Tick {
	c := *t
	c.Left, c.Updates, c.Notes = slices.Clone(t.Left), slices.Clone(t.Updates), slices.Clone(t.Notes)
	size := 0
	for _, u := range c.Updates {
		size += len(u.Data)
	}
	for _, n := range c.Notes {
		size += len(n)
	}
	all := make([]byte, 0, size)
	own := func(b []byte) []byte {
		from := len(all)
		all = append(all, b...)
		return all[from:len(all):len(all)]
	}
	for i := range c.Updates {
		c.Updates[i].Data = own(c.Updates[i].Data)
	}
	for i := range c.Notes {
		c.Notes[i] = own(c.Notes[i])
	}
	return &c
}
