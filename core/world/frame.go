package world

import (
	"math/bits"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// records holds the records of a tick, each encoded once for all players.
type records struct {
	game  Game
	w     *World
	bytes []byte
	tick  uint32
	first []span // of each entity: the change in this tick
	whole []span
	stamp []uint32 // the tick in which whole was encoded
}

type span struct{ from, to uint32 }

// begin encodes what changed in this tick. Whole records are encoded when they are
// needed.
func (r *records) begin() {
	r.bytes, r.tick = r.bytes[:0], r.w.tick
	n := len(r.w.x)
	for len(r.first) < n {
		r.first, r.whole, r.stamp = append(r.first, span{}), append(r.whole, span{}), append(r.stamp, 0)
	}
	for _, e := range r.w.dirty {
		if r.w.of[e].alive {
			from := len(r.bytes)
			r.bytes = r.game.Change(e, r.bytes)
			r.first[e] = r.span(from)
		}
	}
	r.w.dirty = r.w.dirty[:0]
}

func (r *records) wholeOf(e Entity) span {
	if r.stamp[e] != r.tick {
		from := len(r.bytes)
		r.bytes = r.game.Whole(e, r.bytes)
		r.whole[e], r.stamp[e] = r.span(from), r.tick
	}
	return r.whole[e]
}

func (r *records) span(from int) span {
	if n := len(r.bytes) - from; n < 0 || n > MaxRecord {
		panic("world: a record has to be appended, and to have at most 1024 bytes")
	}
	return span{uint32(from), uint32(len(r.bytes))}
}

func (r *records) at(s span) []byte { return r.bytes[s.from:s.to] }

// framer makes the sections of the players, one after another.
type framer struct {
	records *records
	budget  int  // bytes of records for each player and tick
	slower  uint // how many times the rates of the tiers beyond the first are halved
	settled bool // changes go in datagrams, so include only entities that have stopped changing

	due     []due
	section wire.Section
	stats   frameStats
}

// due is a record that a player should get in this tick.
type due struct {
	at    uint32 // in the list
	span  span
	whole bool
	level uint8 // how urgent it is
}

type frameStats struct {
	updates, entered uint64
	held             uint64 // records that did not fit into a player's budget
}

// fill puts the entity records that the player should get into f.section.
func (f *framer) fill(s *sight) {
	f.section.Left, f.section.Updates, f.section.Entered = f.section.Left[:0], f.section.Updates[:0], f.section.Entered[:0]
	if size := f.collect(s); size > f.budget {
		f.choose()
	}
	f.emit(s)
}

// collect removes from the list what is out of sight, lists what is due, and returns the
// size of that in bytes.
func (f *framer) collect(s *sight) (size int) {
	f.due = f.due[:0]
	of, tick := f.records.w.of, f.records.w.tick
	kept, place := 0, uint32(0)
	for i := range s.list {
		e := &s.list[i]
		st := &of[e.id]
		known := e.known
		if e.gone || !st.alive || st.gen != e.gen {
			if known {
				f.section.Left = append(f.section.Left, place)
				place++
			}
			continue
		}
		if known {
			place++
		}
		if kept != i {
			s.list[kept] = *e
			e = &s.list[kept]
		}
		kept++
		whole := !known
		if known {
			if e.sent >= st.changed || f.settled && tick-st.changed < wire.Settled || f.rests(e) {
				continue
			}
			whole = st.changed != tick || e.sent < st.before // it missed a change, so the whole is due
		}
		d := due{at: uint32(kept - 1), whole: whole, level: 7}
		if d.whole {
			d.span = f.records.wholeOf(e.id)
		} else {
			d.span = f.records.first[e.id]
		}
		if !s.follows || e.id != s.follow {
			d.level = min(6, uint8(bits.Len32((tick-e.sent)<<(2-e.tier))))
		}
		size += int(d.span.to - d.span.from)
		f.due = append(f.due, d)
	}
	s.list = s.list[:kept]
	return size
}

// rests reports whether the player does not get an entity in this tick because it is far
// away.
func (f *framer) rests(e *seen) bool {
	return e.tier > tierNear && (f.records.w.tick+uint32(e.id))&(1<<(uint(e.tier)+f.slower)-1) != 0
}

// choose keeps the most urgent records that fit into the budget. The others become more
// urgent with each tick.
func (f *framer) choose() {
	var levels [8]int
	for _, d := range f.due {
		levels[d.level] += int(d.span.to - d.span.from)
	}
	left, lowest := f.budget, 7
	for lowest > 0 && levels[lowest] <= left {
		left -= levels[lowest]
		lowest--
	}
	kept := 0
	for _, d := range f.due {
		n := int(d.span.to - d.span.from)
		if int(d.level) < lowest || int(d.level) == lowest && n > left {
			f.stats.held++
			continue
		}
		if int(d.level) == lowest {
			left -= n
		}
		f.due[kept] = d
		kept++
	}
	f.due = f.due[:kept]
}

// emit moves what is due into the section.
func (f *framer) emit(s *sight) {
	place, next := uint32(0), 0
	for i := range s.list {
		if next == len(f.due) {
			break
		}
		e := &s.list[i]
		known := e.known
		if f.due[next].at == uint32(i) {
			d := f.due[next]
			next++
			data := f.records.at(d.span)
			if known {
				f.section.Updates = append(f.section.Updates, wire.Update{Place: place, Whole: d.whole, Data: data})
				f.stats.updates++
			} else {
				f.section.Entered = append(f.section.Entered, wire.Entered{ID: uint32(e.id), Data: data})
				f.stats.entered++
			}
			e.known, e.sent = true, f.records.tick
		}
		if known {
			place++
		}
	}
}
