package world

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// How a player arrives that walks here from another room: see walk.go. Its host announces
// it, and a seat is kept for it until the announced peer asks for it. No other peer can,
// because the connection proves the peer's identity.

const (
	// expectLimit is how long a seat is kept for a player on its way, and decideLimit how
	// long the host that it comes from may take to say how the walk ended.
	expectLimit = 10 * time.Second
	decideLimit = 15 * time.Second
	// mostExpected bounds the players that are expected at the same time.
	mostExpected = 256
)

// expected is a player that is on its way here.
type expected struct {
	key     seatKey
	program uint32
	walk    uint32
	seq     uint32 // the last input that was taken
	arrival *Arrival
	seated  chan error // receives one value: nil if it has its seat
	player  *Player    // set once it has its seat
}

// NameNeighbours names the hosts from whose rooms players may walk to this room, in place
// of those named before. A neighbour decides what state its players bring, so name only
// hosts that you would let host this room. Rooms of the same node need not be named.
func (r *Room) NameNeighbours(hosts ...peer.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.neighbours = slices.Clone(hosts)
}

// serveWalk runs the stream on which another host announces a player.
func (rs *Rooms) serveWalk(s network.Stream) { rs.serveWalkFrom(s.Conn().RemotePeer(), s) }

func (rs *Rooms) serveWalkFrom(host peer.ID, s network.Stream) {
	messages, a, ok := readFirst(s, wire.MaxToHost, wire.KindArrival, wire.DecodeArrival)
	if !ok {
		return
	}
	rs.mu.Lock()
	r := rs.rooms[a.Room]
	rs.mu.Unlock()
	if r == nil {
		refuse(s, wire.NoRoom)
		return
	}
	e, code := r.expect(host, a)
	if code != 0 {
		r.opts.Logger.Info("a player of another room is refused", "room", a.Room, "host", host, "code", code)
		refuse(s, code)
		return
	}
	defer r.serving.Done()
	r.receive(e, s, messages)
}

// expect keeps a seat for a player that walks here. A code other than zero is the reason
// why not. If it is zero, the caller must call r.serving.Done at the end.
func (r *Room) expect(host peer.ID, a wire.Arrival) (*expected, wire.Code) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := seatKey{a.Player, a.Seat}
	_, banned := r.banned[a.Player]
	before := r.expected[key]
	taken := r.playing + r.promised
	if before != nil {
		taken--
	}
	switch {
	case r.ended:
		return nil, wire.Closed
	case host != r.self && !slices.Contains(r.neighbours, host):
		return nil, wire.Refused
	case r.opts.Version != a.Version:
		return nil, wire.Version
	case banned:
		return nil, wire.Banned
	case taken >= r.opts.Players:
		return nil, wire.Full
	case r.stats.Shedding.refuses(taken), before == nil && len(r.expected) >= mostExpected:
		return nil, wire.Busy
	}
	if before != nil {
		before.seated <- errors.New("it was announced again")
		r.promised--
	}
	e := &expected{
		key: key, program: a.Program, walk: a.Walk, seq: a.Seq, seated: make(chan error, 1),
		arrival: &Arrival{From: Area{a.From, host}, State: slices.Clone(a.State)},
	}
	if r.expected == nil {
		r.expected = make(map[seatKey]*expected)
	}
	r.expected[key] = e
	r.promised++
	r.serving.Add(1)
	return e, 0
}

// unexpect gives the seat up, and returns false if the player has already come.
func (r *Room) unexpect(e *expected) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.expected[e.key] != e {
		return false
	}
	delete(r.expected, e.key)
	r.promised--
	return true
}

// expects reports whether a player of the peer is on its way here; mu is held.
func (r *Room) expects(p peer.ID) bool {
	for key := range r.expected {
		if key.peer == p {
			return true
		}
	}
	return false
}

// takeExpected returns the player that asks for its seat, or nil. The seat is still
// promised.
func (r *Room) takeExpected(key seatKey, a wire.Arrive) *expected {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.expected[key]
	if e == nil || e.program != a.Program || e.walk != a.Walk {
		return nil
	}
	delete(r.expected, key)
	return e
}

// receive runs the stream to the host that a player comes from until it is known how the
// walk ended. If that host is lost before, the player may still come: its own peer knows
// whether it should.
func (r *Room) receive(e *expected, s network.Stream, messages *wire.Reader) {
	decided := make(chan wire.Decided, 1)
	var hearing sync.WaitGroup
	defer hearing.Wait()
	defer func() { _ = s.Reset() }()
	_ = s.SetWriteDeadline(time.Now().Add(decideLimit))
	if _, err := s.Write(wire.AppendArrived(nil, wire.Arrived{})); err != nil {
		r.unexpect(e)
		return // that host does not know that it may send the player
	}
	hearing.Go(func() {
		if kind, body, err := messages.Next(); err == nil && kind == wire.KindDecided {
			if d, err := wire.DecodeDecided(body); err == nil {
				decided <- d
			}
		}
	})
	late := time.NewTimer(expectLimit)
	defer late.Stop()
	var refusal error
	select {
	case refusal = <-e.seated:
	case d := <-decided:
		if r.unexpect(e) {
			return
		}
		if r.awaitSeated(e) == nil && !d.Gone {
			r.giveBack(e)
		}
		return
	case <-late.C:
		if r.unexpect(e) {
			_, _ = s.Write(wire.AppendOut(nil, wire.Out{Code: wire.Lost, Reason: "the player did not come"}))
			return
		}
		refusal = r.awaitSeated(e)
	case <-r.ctx.Done():
		return
	}
	if refusal != nil {
		_, _ = s.Write(wire.AppendOut(nil, wire.Out{Code: wire.Refused, Reason: refusal.Error()}))
		_ = s.CloseWrite()
	} else {
		_, _ = s.Write(wire.AppendArrived(nil, wire.Arrived{Seated: true}))
	}
	late.Reset(decideLimit)
	select {
	case d := <-decided:
		if refusal == nil && !d.Gone {
			r.giveBack(e)
		}
	case <-late.C:
	case <-r.ctx.Done():
	}
}

// awaitSeated waits for a seat that is being taken in this tick.
func (r *Room) awaitSeated(e *expected) error {
	select {
	case err := <-e.seated:
		return err
	case <-r.ctx.Done():
		return ErrClosed
	}
}

// giveBack ends the seat of a player that the other room keeps.
func (r *Room) giveBack(e *expected) {
	r.Do(func() {
		p := e.player
		if r.players[p.slot] != p {
			return
		}
		if p.visitor != nil {
			r.sayOut(p.visitor, p.number, wire.Walked, fmt.Sprintf("%v keeps the player", e.arrival.From))
		}
		r.remove(p, wire.Walked)
	})
}

// arrive answers a player that walked here and asks for its seat.
func (r *Room) arrive(v *visitor, a wire.Arrive) {
	key := seatKey{v.peer, a.Seat}
	var kept recalled
	if r.keep != nil {
		kept = r.keep.recall(v, a.Seat)
	}
	old := r.seats[key]
	if old != nil && old.arrival != nil && old.arrivedBy == a.Walk && old.program == a.Program {
		r.resume(old, v) // its stream was lost before it received that
		return
	}
	e := r.takeExpected(key, a)
	if e == nil {
		r.sayOut(v, a.Seat, wire.Refused, "no such player is expected from another room")
		return
	}
	defer r.fulfil()
	if old != nil {
		if old.walk != nil {
			old.walk.gone = true // it left, and is already back
		}
		r.remove(old, wire.Replaced)
	}
	p := &Player{
		room: r, peer: v.peer, number: a.Seat, program: a.Program, seq: e.seq, kept: kept.data,
		arrival: e.arrival, arrivedBy: e.walk,
	}
	reason := ""
	switch {
	case kept.err != nil:
		reason = unreadable
	case len(v.players) >= r.opts.SeatsPerPeer:
		reason = manySeats
	default:
		reason = r.sit(p, v, nil)
	}
	if reason != "" {
		r.sayOut(v, a.Seat, wire.Refused, reason)
		e.seated <- errors.New(reason)
		return
	}
	e.player = p
	e.seated <- nil
}

// fulfil ends the promise of a seat: the player has it, or will not get it.
func (r *Room) fulfil() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.promised--
}
