package world

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// How a player walks to a room of another host. The game starts the walk, with
// Player.Walk. From then on the player's inputs wait here, and it still sees this room.
// The host asks the other one to expect the player (arrive.go); when it does, the
// player's peer is sent there. When the player has its seat there, it is removed here.
//
// To keep a player from being in no room or in two, a single peer decides: the player's
// own. The player has left when its peer says so, which it does when the other room has
// welcomed it; if the peer says that the player stays, it never asks for that seat again.
// Until then this room keeps the player and all its state. If the peer does not answer,
// the word of the other host counts, which also learns how the walk ended: if a player
// claims to stay but took the seat there, it loses that seat.

const (
	// MaxWalkState bounds the state that a player brings to another room, in bytes.
	MaxWalkState = wire.MaxWalkState
	// acceptLimit is how long the other host may take to accept a player.
	acceptLimit = 2 * time.Second
	// walkLimit is how long a whole walk may take before the player is called back, and
	// recallLimit how long the player's peer may take to answer that.
	walkLimit   = 5 * time.Second
	recallLimit = 2 * time.Second
	// walkAgain is how long a player that could not walk has to wait before it may try
	// again.
	walkAgain = time.Second
	// readyEvery is how often a peer is reminded of a room that its player may walk to,
	// and readyLeast the least time before another room is announced.
	readyEvery = 5 * time.Second
	readyLeast = time.Second
	// maxHeld bounds the inputs of a player that wait while it walks, in bytes, where
	// each input costs heldCost more than its data. The peer itself sends no more than
	// part of this.
	maxHeld  = 256 << 10
	heldCost = 32
)

// opener opens a stream to a peer.
type opener func(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error)

// An Area is a room of this host or another one that players may walk to. The player's
// peer finds the host by its peer ID, as it does for a seat: at a relay that they share,
// through the mesh, or at addresses that it knows.
type Area struct {
	Room string
	Host peer.ID
}

func (a Area) check() {
	if err := CheckName(a.Room); err != nil || a.Host.Validate() != nil {
		panic(fmt.Sprintf("world: a player cannot walk to room %.20q of %s", a.Room, a.Host))
	}
}

func (a Area) String() string { return fmt.Sprintf("room %q of %s", a.Room, a.Host) }

// Arrival is what a player that walked here brings.
type Arrival struct {
	From  Area   // from the game there; must not be changed
	State []byte // what the game there gave it; not to be changed
}

// Arrived returns what the player brought when it walked to this room from another one;
// nil if it joined here.
func (p *Player) Arrived() *Arrival { return p.arrival }

// A Stayer is a Game that is notified when a player could not walk to another room: the
// other host refused the player, could not be reached or was lost, or the player's own
// peer could not reach it. The player continues here, with the inputs that have waited.
// Stays is called between the other calls, before those inputs.
type Stayer interface {
	Stays(p *Player, to Area, why error)
}

// Ready makes the player's peer connect to the host of a room that the player may soon
// walk to, so that the walk does not have to wait for the connection. The game may call
// it in every tick while the player is near the border. It does nothing for a player that
// is away.
func (p *Player) Ready(to Area) {
	to.check()
	now := p.room.phases.at[0]
	wait := readyLeast
	if p.near == to {
		wait = readyEvery
	}
	if p.visitor == nil || p.walk != nil || p.near != (Area{}) && now-p.nearAt < int64(wait) {
		return
	}
	p.near, p.nearAt = to, now
	p.room.say(p.visitor, func(out []byte) []byte {
		return wire.AppendWay(out, wire.Way{Seat: p.number, Direction: wire.Near, Room: to.Room, Host: to.Host})
	})
}

// Walk moves the player to another room, which must allow it: see Options.Neighbours.
// state, of up to MaxWalkState bytes, is what the game there gets from Player.Arrived in
// Join. Walk returns at once.
//
// Until the player has arrived, it stays here: it sees this room, and its inputs wait.
// When it has its seat there, the game gets Leave with the reason Walked, and the other
// room takes those inputs, each once. What SavePlayer has kept of the player is deleted
// here, because the player has its state with it. If the player cannot go, it continues
// here, and a game that is a Stayer gets Stays, after at most seven seconds while the
// player is connected.
//
// While a player walks, and within a second after it could not, Walk does nothing, so a
// game may call it in every tick while the player is beyond the border.
func (p *Player) Walk(to Area, state []byte) {
	to.check()
	if len(state) > MaxWalkState {
		panic(fmt.Sprintf("world: a player takes %d bytes to another room; at most %d may be", len(state), MaxWalkState))
	}
	r, now := p.room, p.room.phases.at[0]
	if p.walk != nil || p.out != 0 || r.seats[seatKey{p.peer, p.number}] != p || p.stayed > 0 && now-p.stayed < int64(walkAgain) {
		return
	}
	if err := r.mayWalk(p, to); err != nil {
		p.stayed = now
		r.Do(func() { r.sayStays(p, to, err) })
		return
	}
	w := &walk{number: rand.Uint32(), to: to, seat: p.number, visitor: p.visitor, began: now, decided: make(chan bool, 1)}
	p.walk = w
	r.walkers = append(r.walkers, p)
	arrival := wire.AppendArrival(nil, wire.Arrival{
		Room: to.Room, Version: r.opts.Version, From: r.opts.Name,
		Player: p.peer, Seat: p.number, Program: p.program, Walk: w.number, Seq: p.seq, State: state,
	})
	r.serving.Go(func() { r.negotiate(p, w, arrival) })
}

// Walking reports whether the player is on its way to another room.
func (p *Player) Walking() bool { return p.walk != nil }

func (r *Room) mayWalk(p *Player, to Area) error {
	switch {
	case p.spectator:
		return errors.New("a spectator does not walk")
	case p.visitor == nil:
		return errors.New("the connection of the player is lost")
	case r.leaving != nil:
		return errors.New("the room is being handed over")
	case to == Area{r.opts.Name, r.self}:
		return errors.New("it is in that room already")
	}
	return nil
}

// walk is a player's walk to another room. Its fields belong to the tick, except for the
// first ones, which do not change.
type walk struct {
	number  uint32
	to      Area
	seat    uint32
	visitor *visitor // the player's visitor when it began
	began   int64
	told    bool      // the player's peer was told to go
	seated  bool      // the other host says that the player has its seat there
	err     error     // why the player is called back; nil until it is
	since   int64     // when it was called back
	gone    bool      // the player was removed because it is in the other room
	decided chan bool // receives once whether it is gone

	held      []heldInput
	heldBytes int
}

// heldInput is an input that waits.
type heldInput struct {
	seq  uint32
	at   int64
	data []byte
}

// negotiate runs the stream to the other host until the walk has ended.
func (r *Room) negotiate(p *Player, w *walk, arrival []byte) {
	s, messages, err := r.announceWalk(w.to.Host, arrival)
	if err != nil {
		err = fmt.Errorf("walk to %v: %w", w.to, err)
		r.Do(func() { r.stay(p, w, err) })
		return
	}
	said := w.visitor.sayNow(w.way(nil, wire.Go)) // its inputs wait for that
	r.Do(func() { r.sendOff(p, w, said) })
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for r.hearOf(p, w, messages) {
		}
	}()
	select {
	case gone := <-w.decided:
		_ = s.SetDeadline(time.Now().Add(time.Second))
		if _, err := s.Write(wire.AppendDecided(nil, wire.Decided{Gone: gone})); err == nil && s.CloseWrite() == nil {
			<-heard
		}
	case <-r.ctx.Done():
	}
	_ = s.Reset()
	<-heard
}

// announceWalk asks the other host to expect the player.
func (r *Room) announceWalk(host peer.ID, arrival []byte) (network.Stream, *wire.Reader, error) {
	ctx, cancel := context.WithTimeoutCause(r.ctx, acceptLimit, fmt.Errorf("it did not answer for %v", acceptLimit))
	defer cancel()
	s, err := r.open(ctx, host, wire.WalkProtocol)
	if err != nil {
		return nil, nil, err
	}
	cut := context.AfterFunc(ctx, func() { _ = s.Reset() })
	messages := wire.NewReader(s, wire.MaxToHost)
	_, err = s.Write(arrival)
	if err == nil {
		_, err = hearArrived(messages)
	}
	if !cut() {
		err = errors.Join(context.Cause(ctx), err)
	}
	if err != nil {
		_ = s.Reset()
		return nil, nil, err
	}
	return s, messages, nil
}

// hearArrived reads an answer of the other host; the error is its refusal.
func hearArrived(messages *wire.Reader) (a wire.Arrived, err error) {
	kind, body, err := messages.Next()
	switch {
	case err != nil:
		return a, err
	case kind == wire.KindArrived:
		return wire.DecodeArrived(body)
	case kind == wire.KindOut:
		o, err := wire.DecodeOut(body)
		if err != nil {
			return a, err
		}
		return a, errors.New(o.Why())
	}
	return a, fmt.Errorf("%w: kind %d", wire.ErrMalformed, kind)
}

// hearOf handles one message of the other host while the player is on its way.
func (r *Room) hearOf(p *Player, w *walk, messages *wire.Reader) bool {
	a, err := hearArrived(messages)
	r.Do(func() {
		if p.walk != w {
			return
		}
		switch {
		case err != nil:
			r.recall(p, fmt.Errorf("walk to %v: %w", w.to, err))
		case a.Seated:
			w.seated = true
		}
	})
	return err == nil
}

// sendOff tells the player's peer to go, unless sayNow has already done so. The other
// host expects the player.
func (r *Room) sendOff(p *Player, w *walk, said bool) {
	if p.walk != w {
		return
	}
	w.told = true
	if !said || p.visitor != w.visitor {
		r.sayWay(p)
	}
}

// recall tells the player's peer to stay.
func (r *Room) recall(p *Player, why error) {
	if w := p.walk; w.err == nil {
		w.err, w.since = why, r.now()
		r.sayWay(p)
	}
}

// sayWay sends a walking player its direction. It is called again when its connection is
// back.
func (r *Room) sayWay(p *Player) {
	w := p.walk
	if w == nil || p.visitor == nil || !w.told {
		return
	}
	direction := wire.Go
	if w.err != nil {
		direction = wire.Stay
	}
	r.say(p.visitor, func(out []byte) []byte { return w.way(out, direction) })
}

// way appends the message for the player's peer.
func (w *walk) way(dst []byte, d wire.Direction) []byte {
	return wire.AppendWay(dst, wire.Way{Seat: w.seat, Walk: w.number, Direction: d, Room: w.to.Room, Host: w.to.Host})
}

// parted handles the decision of the player's peer: the player is gone, or stays.
func (r *Room) parted(p *Player, word wire.Parted) {
	w := p.walk
	switch {
	case w == nil || w.number != word.Walk:
	case word.Gone:
		r.gone(p)
	case w.err != nil:
		r.stay(p, w, w.err)
	default:
		r.stay(p, w, fmt.Errorf("walk to %v: the player's peer: %s", w.to, word.Reason))
	}
}

// gone removes a player that is in the other room.
func (r *Room) gone(p *Player) {
	p.walk.gone = true
	r.remove(p, wire.Walked)
}

// stay makes a player continue here.
func (r *Room) stay(p *Player, w *walk, why error) {
	if p.walk != w {
		return
	}
	w.end()
	p.walk, p.stayed = nil, r.now()
	r.opts.Logger.Info("a player could not walk to another room", "room", r.opts.Name, "peer", p.peer, "error", why)
	r.sayStays(p, w.to, why)
	for _, in := range w.held {
		r.input(p, in.seq, in.data, in.at)
	}
}

func (r *Room) sayStays(p *Player, to Area, why error) {
	if game, ok := r.game.(Stayer); ok && r.players[p.slot] == p {
		game.Stays(p, to, why)
	}
}

// end informs the other host how the walk ended.
func (w *walk) end() { w.decided <- w.gone }

// hold keeps an input of a walking player.
func (r *Room) hold(p *Player, in wire.Input, at int64) {
	w := p.walk
	if n := len(w.held); n > 0 && in.Seq <= w.held[n-1].seq {
		return
	}
	if w.heldBytes += len(in.Data) + heldCost; w.heldBytes > maxHeld {
		p.put(wire.Slow, "too many of its inputs wait while it walks to another room")
		return
	}
	w.held = append(w.held, heldInput{in.Seq, at, append([]byte(nil), in.Data...)})
}

// watchWalks calls back players whose walk takes too long. If a player's peer does not
// answer, or is away, the word of the other host counts.
func (r *Room) watchWalks() {
	now, walkers := r.now(), r.walkers
	r.walkers = r.spareWalkers[:0] // the game may add walkers
	for _, p := range walkers {
		w := p.walk
		if w == nil {
			continue
		}
		r.walkers = append(r.walkers, p)
		if w.told && w.err == nil && now-w.began > int64(walkLimit) {
			r.recall(p, fmt.Errorf("walk to %v: the player was not there after %v", w.to, walkLimit))
		}
		silent := p.visitor == nil || w.err != nil && now-w.since > int64(recallLimit)
		switch {
		case !silent:
		case w.seated:
			if p.visitor != nil {
				r.sayOut(p.visitor, p.number, wire.Walked, "")
			}
			r.gone(p)
		case p.visitor != nil: // otherwise it may be on its way, and its peer will say so when it is back
			r.stay(p, w, w.err)
		}
	}
	clear(walkers)
	r.spareWalkers = walkers
}

// areWalking reports whether players are on their way to another room. The room waits for
// them before it is handed over, but not for those whose connection is lost.
func (r *Room) areWalking() bool {
	for _, p := range r.walkers {
		if p.walk != nil && p.visitor != nil {
			return true
		}
	}
	return false
}
