package world

import (
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/tombolo-net/tombolo/core/datagram"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// If a peer's connection has datagrams, changes and inputs travel in them, too: see
// package wire.

// repeats is the number of ticks after a change in which datagrams carry an entity's
// record, or the number of an input, so that the next one makes up for a lost one.
const repeats = 3

// inputsAhead bounds the inputs that were taken from datagrams and have not come on the
// stream yet. The stream limits their rate.
const inputsAhead = 64

// early is what a visitor's datagrams have brought before its stream.
type early struct {
	on     bool              // the peer has asked for datagrams
	newest map[uint32]uint32 // by seat, the number of the last input that was taken
	ahead  int
}

// isNew handles a message of the stream. It returns false for an input that came in a
// datagram before.
func (e *early) isNew(kind wire.Kind, body []byte) bool {
	switch kind {
	case wire.KindInput:
		if !e.on {
			return true
		}
		in, err := wire.DecodeInput(body)
		last, seated := e.newest[in.Seat]
		if err != nil || !seated {
			return true
		}
		if in.Seq <= last {
			e.ahead = max(e.ahead-1, 0)
			return false
		}
		e.newest[in.Seat] = in.Seq
	case wire.KindJoin:
		if j, err := wire.DecodeJoin(body); err == nil {
			e.begin(j.Seat)
		}
	case wire.KindArrive:
		if a, err := wire.DecodeArrive(body); err == nil {
			e.begin(a.Seat)
		}
	case wire.KindLeave:
		if l, err := wire.DecodeLeave(body); err == nil {
			delete(e.newest, l.Seat)
		}
	}
	return true
}

// begin allows the inputs of a seat to come in datagrams.
func (e *early) begin(seat uint32) {
	if len(e.newest) >= maxEarly {
		return
	}
	if e.newest == nil {
		e.newest = make(map[uint32]uint32)
	}
	e.newest[seat] = 0
}

// maxEarly bounds the seats of a peer whose inputs may come in datagrams.
const maxEarly = 4096

// openLane starts to use the visitor's datagrams, once.
func (v *visitor) openLane(id uint32) {
	s, ok := v.stream.(interface{ Conn() network.Conn })
	if !ok || s.Conn() == nil || v.early.on { // only this goroutine sets it
		return
	}
	v.mu.Lock()
	v.early.on = true
	v.mu.Unlock()
	lane, err := datagram.Open(s.Conn(), id, datagram.Opened, v.takeDatagram)
	if err != nil {
		v.room.opts.Logger.Warn("a player's peer asks for datagrams that it cannot have", "room", v.room.opts.Name, "peer", v.peer, "error", err)
		return
	}
	v.loose.lane.Store(lane)
}

// takeDatagram takes the inputs that directly follow those already taken. Others will
// come on the stream.
func (v *visitor) takeDatagram(data []byte) {
	for kind, body := range wire.Split(data) {
		in, err := wire.DecodeInput(body)
		if kind != wire.KindInput || err != nil {
			return
		}
		v.mu.Lock()
		last, seated := v.early.newest[in.Seat]
		if !seated || in.Seq != last+1 || len(in.Data) > v.room.opts.InputSize ||
			v.early.ahead == inputsAhead || len(v.queue.bytes)+len(body) > maxQueue {
			v.mu.Unlock()
			continue
		}
		v.early.newest[in.Seat] = in.Seq
		v.early.ahead++
		v.enqueue(kind, body)
	}
}

// looseOut is what a visitor gets in datagrams. All fields but lane belong to the tick.
type looseOut struct {
	lane     atomic.Pointer[datagram.Lane] // nil without datagrams
	out      []byte
	sections []byte // of the datagram that is being filled
	bytes    uint64 // sent in this tick
	busy     bool   // some could not be sent
}

func (l *looseOut) close() {
	if lane := l.lane.Load(); lane != nil {
		lane.Close()
	}
}

// cut sends the datagram that is being filled.
func (l *looseOut) cut(tick uint32) {
	if len(l.sections) == 0 {
		return
	}
	l.out = wire.AppendTick(l.out[:0], tick, l.sections)
	l.sections = l.sections[:0]
	if err := l.lane.Load().Send(l.out); err != nil {
		l.busy = true
		return
	}
	l.bytes += uint64(len(l.out))
}

// looseHeads bounds what a datagram holds besides records: the head of the tick and the
// head of one section. looseHead is the overhead of each record.
const (
	looseHeads = 40
	looseHead  = 7
)

// add puts a section into datagrams, as many as it takes.
func (l *looseOut) add(tick uint32, s *wire.Section) {
	entered, size := s.Entered, 0
	for from, to := 0, 0; ; to++ {
		if to < len(entered) {
			n := looseHead + len(entered[to].Data)
			if looseHeads+len(l.sections)+size+n <= datagram.MaxSize {
				size += n
				continue
			}
		}
		if s.Entered = entered[from:to]; !s.Empty() {
			l.sections = wire.AppendSection(l.sections, s)
		}
		if to == len(entered) {
			s.Entered = entered
			return
		}
		l.cut(tick)
		s.Applied = false // only in the first
		from, size = to, looseHead+len(entered[to].Data)
	}
}

// frameLoose makes the datagrams of a visitor for this tick.
func (r *Room) frameLoose(v *visitor) {
	l := &v.loose
	l.bytes, l.busy = 0, false
	f := &r.framer
	s := &f.section
	s.Reset, s.Left, s.Updates, s.Notes = false, s.Left[:0], s.Updates[:0], nil
	for _, p := range v.players {
		s.Seat, s.Seq, s.Waited = p.number, p.seq, uint32(p.waited/1e6)
		s.Applied = p.seq > 0 && r.world.tick-p.took < repeats
		f.recent(&p.sight)
		if !s.Empty() {
			l.add(r.world.tick, s)
		}
	}
	l.cut(r.world.tick)
	if l.busy {
		r.phases.busy++
	}
	if l.bytes > 0 {
		v.told = r.world.tick
		r.phases.bytes += l.bytes
		r.phases.frames++
	}
}

// recent puts the records of the entities that changed lately into f.section. If they do
// not fit into the budget, it takes every second or third of them, and different ones in
// the next tick.
func (f *framer) recent(s *sight) {
	f.section.Entered = f.section.Entered[:0]
	of, tick := f.records.w.of, f.records.w.tick
	size := 0
	for i := range s.list {
		e := &s.list[i]
		st := &of[e.id]
		if !e.known || e.gone || !st.alive || st.gen != e.gen || tick-st.changed >= repeats || f.rests(e) {
			continue
		}
		data := f.records.at(f.records.wholeOf(e.id))
		size += len(data) + looseHead
		f.section.Entered = append(f.section.Entered, wire.Entered{ID: uint32(e.id), Data: data})
	}
	if size > f.budget {
		f.thin(s, uint32(size/f.budget+1))
	}
	f.stats.updates += uint64(len(f.section.Entered))
}

// thin keeps one record in of, and that of the entity that the player follows.
func (f *framer) thin(s *sight, of uint32) {
	kept := f.section.Entered[:0]
	for i, e := range f.section.Entered {
		if (uint32(i)+f.records.w.tick)%of == 0 || s.follows && Entity(e.ID) == s.follow {
			kept = append(kept, e)
		} else {
			f.stats.held++
		}
	}
	f.section.Entered = kept
}
