package world

import (
	"cmp"
	"crypto/hmac"
	"fmt"
	"slices"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// attach makes a new visitor known to the tick. The seats of the peer's earlier visitor
// move to it when the peer asks for them; the visitor before that ends.
func (r *Room) attach(v *visitor, now int64) {
	if v.attached {
		return
	}
	v.attached, v.since = true, now
	r.all = append(r.all, v)
	r.sayLine(v)
	if old := v.before; old != nil {
		if old.before != nil {
			old.before.end()
			old.before = nil
		}
		if len(old.players) == 0 {
			old.end()
			v.before = nil
		}
	}
}

// join answers a peer that asks for a seat.
func (r *Room) join(v *visitor, j wire.Join) {
	key := seatKey{v.peer, j.Seat}
	var kept recalled
	if r.keep != nil && !j.Spectator {
		kept = r.keep.recall(v, j.Seat)
	}
	if p := r.seats[key]; p != nil && p.spectator == j.Spectator {
		if j.Program != p.program {
			p.program, p.seq = j.Program, 0
			if p.walk != nil {
				p.walk.held = nil // of the program before
			}
		}
		r.resume(p, v)
		return
	} else if p != nil {
		if p.visitor != v && p.visitor != nil {
			r.sayOut(p.visitor, p.number, wire.Replaced, "")
		}
		r.remove(p, wire.Replaced)
	}
	if kept.err != nil {
		r.sayOut(v, j.Seat, wire.Refused, unreadable)
		return
	}
	if code, reason := r.mayJoin(v, j); code != 0 {
		r.sayOut(v, j.Seat, code, reason)
		return
	}
	if !j.Spectator {
		defer r.fulfil()
	}
	p := &Player{room: r, peer: v.peer, number: j.Seat, spectator: j.Spectator, kept: kept.data, program: j.Program}
	if kept.last.program == j.Program {
		p.seq = kept.last.seq
	}
	if reason := r.sit(p, v, j.Data); reason != "" {
		r.sayOut(v, j.Seat, wire.Refused, reason)
	}
}

const (
	unreadable = "what is kept of the player cannot be read now"
	manySeats  = "the peer has all the seats that one may have"
)

// sit gives a new player its seat, unless the game refuses it. A reason that is not empty
// says why.
func (r *Room) sit(p *Player, v *visitor, data []byte) (reason string) {
	p.slot, p.visitor = r.takeSlot(), v
	r.players[p.slot] = p
	answer, err := r.game.Join(p, data)
	if err != nil || p.out != 0 {
		r.players[p.slot] = nil
		r.free = append(r.free, p.slot)
		reason = p.reason
		if err != nil {
			reason = err.Error()
		}
		return cmp.Or(reason, wire.Refused.String())
	}
	if len(answer) > maxAnswer {
		panic(fmt.Sprintf("world: an answer of Game.Join has %d bytes; at most %d may be", len(answer), maxAnswer))
	}
	p.answer = slices.Clone(answer)
	r.seats[seatKey{p.peer, p.number}] = p
	if r.keep != nil {
		r.keep.isBack(p)
	}
	r.count(p, 1)
	r.seat(p, v)
	r.welcome(p, false)
	return ""
}

// maxAnswer bounds the game's answer to Join, in bytes.
const maxAnswer = 64 << 10

// mayJoin returns the reason why there is no seat, or zero. If it is zero, a seat is
// promised to the player, unless it only watches.
func (r *Room) mayJoin(v *visitor, j wire.Join) (wire.Code, string) {
	proof := wire.Proof(r.opts.Password, r.opts.Name, r.self, v.peer)
	r.mu.Lock()
	defer r.mu.Unlock()
	taken, most := r.playing+r.promised, r.opts.Players
	if j.Spectator {
		taken, most = r.watching, r.opts.Spectators
	}
	switch {
	case r.opts.Password != "" && !hmac.Equal(proof, j.Proof):
		return wire.Password, ""
	case taken >= most:
		return wire.Full, ""
	case len(v.players) >= r.opts.SeatsPerPeer:
		return wire.Full, manySeats
	case r.shed.level.refuses(taken):
		return wire.Busy, ""
	}
	if !j.Spectator {
		r.promised++
	}
	return 0, ""
}

// resume gives a seat back to the player who had it. If it belonged to another connection
// of the same peer, it leaves that.
func (r *Room) resume(p *Player, v *visitor) {
	if old := p.visitor; old != nil && old != v {
		r.unseat(p)
		r.sayOut(old, p.number, wire.Replaced, "")
	}
	if p.visitor != v {
		r.seat(p, v)
	}
	r.welcome(p, true)
	r.sayWay(p)
}

// welcome tells a player that it has its seat, and makes the next frames start from
// nothing.
func (r *Room) welcome(p *Player, again bool) {
	p.reset, p.looks = true, true
	for i := range p.sight.list {
		e := &p.sight.list[i]
		e.known, e.sent = false, r.world.tick
	}
	r.say(p.visitor, func(out []byte) []byte {
		return wire.AppendWelcome(out, wire.Welcome{
			Seat: p.number, Hz: uint32(r.opts.Hz), Tick: r.world.tick, Again: again, Data: p.answer,
		})
	})
}

func (r *Room) seat(p *Player, v *visitor) {
	p.visitor = v
	v.players = append(v.players, p)
	v.seats.Store(int32(len(v.players)))
}

// unseat detaches a player from its visitor, while it is away.
func (r *Room) unseat(p *Player) {
	v := p.visitor
	v.players = slices.DeleteFunc(v.players, func(q *Player) bool { return q == p })
	v.seats.Store(int32(len(v.players)))
	p.visitor = nil
	clear(p.notes)
	p.notes, p.noteBytes, p.applied = p.notes[:0], 0, false
}

// remove ends a seat, and informs the game.
func (r *Room) remove(p *Player, why Reason) {
	if p.visitor != nil {
		v := p.visitor
		r.unseat(p)
		v.since = r.phases.at[0]
	}
	if p.walk != nil {
		p.walk.end()
		p.walk = nil
	}
	delete(r.seats, seatKey{p.peer, p.number})
	r.players[p.slot] = nil
	r.free = append(r.free, p.slot)
	r.count(p, -1)
	if r.keep != nil {
		r.keep.leaves(p, why)
	}
	r.game.Leave(p, why)
}

// putOut ends the seats of the players that were put out in this tick.
func (r *Room) putOut() {
	for _, p := range r.outs {
		if r.players[p.slot] != p {
			continue // gone, or never seated
		}
		if p.visitor != nil {
			r.sayOut(p.visitor, p.number, p.out, p.reason)
		}
		r.remove(p, p.out)
	}
	clear(r.outs)
	r.outs = r.outs[:0]
}

// letGo handles a visitor that has ended: its players are away, or removed if the peer
// broke the protocol.
func (r *Room) letGo(v *visitor, now int64) {
	r.mu.Lock()
	if r.visitors[v.peer] == v {
		delete(r.visitors, v.peer)
	}
	r.mu.Unlock()
	for len(v.players) > 0 {
		p := v.players[len(v.players)-1]
		if v.broken.Load() {
			r.remove(p, wire.Invalid)
			continue
		}
		r.unseat(p)
		p.away = now
		r.absent = append(r.absent, p)
	}
}

// expire ends the seats of players that have been away for too long.
func (r *Room) expire(now int64) {
	kept := 0
	for _, p := range r.absent {
		switch {
		case p.visitor != nil || r.players[p.slot] != p: // it is back, or gone
		case now-p.away > int64(r.opts.Grace):
			r.remove(p, wire.Lost)
		default:
			r.absent[kept] = p
			kept++
		}
	}
	clear(r.absent[kept:])
	r.absent = r.absent[:kept]
}

func (r *Room) sayOut(v *visitor, seat uint32, code wire.Code, reason string) {
	if reason == "" {
		reason = code.String()
	}
	v.since = max(v.since, r.phases.at[0])
	r.say(v, func(out []byte) []byte {
		return wire.AppendOut(out, wire.Out{Seat: seat, Code: code, Reason: reason})
	})
}

// say adds a message to what a visitor gets next.
func (r *Room) say(v *visitor, add func([]byte) []byte) {
	if v.out = add(v.out); len(v.out) > wire.MaxToPlayer {
		v.end() // it asks, but does not read
	}
}

func (r *Room) takeSlot() int {
	if n := len(r.free); n > 0 {
		slot := r.free[n-1]
		r.free = r.free[:n-1]
		return slot
	}
	r.players = append(r.players, nil)
	return len(r.players) - 1
}

func (r *Room) count(p *Player, by int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.spectator {
		r.watching += by
	} else {
		r.playing += by
	}
}
