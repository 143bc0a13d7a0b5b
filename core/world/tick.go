package world

import (
	"time"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// ticks runs a tick each period until the room closes. If a tick is late by more than a
// period, the game advances twice in it; further periods are skipped and counted.
func (r *Room) ticks() {
	period := int64(time.Second) / int64(r.opts.Hz)
	due := r.now() + period
	timer := time.NewTimer(time.Duration(period))
	defer timer.Stop()
	for {
		r.due.Store(due)
		timer.Reset(time.Duration(due - r.now()))
		for r.now() < due {
			select {
			case <-timer.C:
			case <-r.wake:
			case <-r.closing:
				return
			}
		}
		now := r.now()
		behind := (now - due) / period
		r.world.tick += uint32(behind)
		r.step(now, behind > 0)
		due += (behind + 1) * period
		r.phases.count(r, period, behind)
		r.closeIdle(now)
		if r.leaving != nil && !r.areWalking() {
			r.handOver()
		}
		select {
		case <-r.closing:
			return
		default:
		}
	}
}

// closeIdle closes a room that has been empty for long enough.
func (r *Room) closeIdle(now int64) {
	if r.opts.Idle == 0 {
		return
	}
	r.mu.Lock()
	promised := r.promised
	r.mu.Unlock()
	if r.playing+r.watching+promised > 0 {
		r.peopled = now
	}
	if now-r.peopled >= int64(r.opts.Idle) {
		r.once.Do(func() { close(r.closing) })
	}
}

// step runs one tick: it takes what came, advances the game, and sends each player what
// changed. To catch up, the game advances twice.
func (r *Room) step(now int64, catchUp bool) {
	at := &r.phases.at
	at[0] = now
	r.world.tick++
	r.world.steps = 1
	if catchUp {
		r.world.steps = 2
	}
	r.takeCalls()
	r.takeInputs(now)
	r.watchWalks()
	r.expire(now)
	at[1] = r.now()
	for range r.world.steps {
		r.game.Tick()
	}
	r.putOut()
	at[2] = r.now()
	r.records.begin()
	at[3] = r.now()
	r.lookAround()
	at[4] = r.now()
	r.tell(now)
	if r.keep != nil {
		r.keep.tick(now)
	}
	at[5] = r.now()
}

func (r *Room) takeCalls() {
	r.mu.Lock()
	r.calls, r.spareCalls = r.spareCalls[:0], r.calls
	r.mu.Unlock()
	for i, f := range r.spareCalls {
		f()
		r.spareCalls[i] = nil
	}
}

// takeInputs passes the game what came since the last tick.
func (r *Room) takeInputs(now int64) {
	r.mu.Lock()
	r.ready, r.spareReady = r.spareReady[:0], r.ready
	r.mu.Unlock()
	for _, v := range r.spareReady {
		r.attach(v, now)
		ended := v.isEnded() // checked before its last messages are taken
		in := v.take()
		for _, m := range in.messages {
			if !r.takeMessage(v, m.kind, in.body(m), m.at) {
				v.broken.Store(true)
				v.end()
				break
			}
		}
		if ended {
			r.letGo(v, now)
		}
	}
	clear(r.spareReady)
}

// takeMessage returns false if the message is malformed.
func (r *Room) takeMessage(v *visitor, kind wire.Kind, body []byte, at int64) bool {
	switch kind {
	case wire.KindInput:
		in, err := wire.DecodeInput(body)
		if err != nil || len(in.Data) > r.opts.InputSize {
			return false
		}
		v.seen.Store(in.Seen)
		p := r.seats[seatKey{v.peer, in.Seat}]
		if p == nil || p.visitor != v || p.spectator || in.Seq <= p.seq {
			return true // it was sent before the seat ended, or was taken already
		}
		if p.walk != nil {
			r.hold(p, in, at)
			return true
		}
		r.input(p, in.Seq, in.Data, at)
	case wire.KindArrive:
		a, err := wire.DecodeArrive(body)
		if err != nil {
			return false
		}
		r.arrive(v, a)
	case wire.KindParted:
		word, err := wire.DecodeParted(body)
		if err != nil {
			return false
		}
		if p := r.seats[seatKey{v.peer, word.Seat}]; p != nil && p.visitor == v {
			r.parted(p, word)
		}
	case wire.KindJoin:
		j, err := wire.DecodeJoin(body)
		if err != nil {
			return false
		}
		r.join(v, j)
	case wire.KindLeave:
		leave, err := wire.DecodeLeave(body)
		if err != nil {
			return false
		}
		if p := r.seats[seatKey{v.peer, leave.Seat}]; p != nil && p.visitor == v {
			r.remove(p, wire.Left)
		}
	}
	return true
}

// input passes the game an input of a player, which arrived at the time at.
func (r *Room) input(p *Player, seq uint32, data []byte, at int64) {
	p.applied, p.seq, p.took, p.waited = true, seq, r.world.tick, r.phases.at[0]-at
	r.game.Input(p, data)
}

// lookEvery is the number of ticks in which each player's sight is updated once; it is a
// power of two.
const lookEvery = 4

func (r *Room) lookAround() {
	r.eyes.prepare()
	every := uint32(lookEvery)
	if r.shed.level >= shedLooks {
		every *= 2
	}
	for _, p := range r.players {
		if p == nil || p.visitor == nil {
			continue
		}
		if p.looks || (r.world.tick+uint32(p.slot))%every == 0 {
			r.eyes.around(&p.sight)
			p.looks = false
		}
	}
}

// tell makes a frame for each peer that has finished reading the last one.
func (r *Room) tell(now int64) {
	r.framer.slower = 0
	if r.shed.level >= shedTiers {
		r.framer.slower = 1
	}
	kept := 0
	for _, v := range r.all {
		if v.isEnded() {
			continue // letGo has been called for it
		}
		r.all[kept] = v
		kept++
		turn := r.isTurn(v)
		switch {
		case v.writing.Load():
			r.phases.busy++
			if now-v.since > int64(stallLimit) {
				v.end()
			}
		case turn:
			r.frame(v, now)
		case len(v.out) > 0:
			v.flush(now)
		}
		if turn && v.loose.lane.Load() != nil {
			r.frameLoose(v)
		}
		if len(v.players) == 0 && now-v.since > int64(seatlessLimit) && !v.writing.Load() {
			v.end()
		}
	}
	clear(r.all[kept:])
	r.all = r.all[:kept]
}

const (
	// stallLimit is how long a peer may take to read one frame.
	stallLimit = 10 * time.Second
	// seatlessLimit is how long a peer may be connected without a seat.
	seatlessLimit = 10 * time.Second
	// farBehind is how many ticks a peer may lag behind before it gets fewer frames,
	// because what is sent to it waits on the path.
	farBehind = 10
)

// isTurn reports whether the visitor gets a frame in this tick. A visitor that is far
// behind gets only every second or fourth; when the room sheds load, all get at most
// every second.
func (r *Room) isTurn(v *visitor) bool {
	every := uint32(1)
	if r.shed.level >= shedFrames {
		every = 2
	}
	if seen := v.seen.Load(); seen > 0 && v.told > seen {
		switch behind := v.told - seen; {
		case behind > 4*farBehind:
			every = 4
		case behind > farBehind:
			every = 2
		}
	}
	return (r.world.tick+uint32(len(v.peer))+uint32(v.peer[len(v.peer)-1]))%every == 0
}

// fullMessage is the size, in bytes, from which on a message takes no further seat.
const fullMessage = 16 << 10

// frame makes and writes the frame of this tick for the seats of a peer.
func (r *Room) frame(v *visitor, now int64) {
	v.sections = v.sections[:0]
	f := &r.framer
	f.settled = v.loose.lane.Load() != nil
	for _, p := range v.players {
		f.section.Seat, f.section.Reset = p.number, p.reset
		f.section.Applied = p.applied && (!f.settled || r.world.tick-p.took >= wire.Settled)
		f.section.Seq, f.section.Waited = p.seq, uint32(p.waited/1e6)
		f.section.Notes = p.notes
		f.fill(&p.sight)
		if f.section.Empty() {
			continue
		}
		v.sections = wire.AppendSection(v.sections, &f.section)
		if len(v.sections) > fullMessage {
			v.out = wire.AppendTick(v.out, r.world.tick, v.sections)
			v.sections = v.sections[:0]
		}
		p.reset, p.applied = false, p.applied && !f.section.Applied
		clear(p.notes)
		p.notes, p.noteBytes = p.notes[:0], 0
	}
	quiet := uint32(r.opts.Hz+1) / 2 // the players' clocks depend on regular ticks
	if len(v.sections) > 0 || len(v.players) > 0 && r.world.tick-v.told >= quiet {
		v.out = wire.AppendTick(v.out, r.world.tick, v.sections)
		v.told = r.world.tick
		r.phases.frames++
	}
	r.phases.bytes += uint64(len(v.out))
	v.flush(now)
}
