package world

import (
	"slices"
	"time"
)

// Stats holds the numbers of a room.
type Stats struct {
	Tick       uint32
	Players    int // seats, including those that are Away
	Spectators int
	Away       int
	Peers      int
	Entities   int

	// Ticks is the number of ticks that ran, and Skipped the number of ticks left out
	// because the host was late.
	Ticks, Skipped uint64
	// Median, P99 and Longest are durations of the ticks of the last minute; at most
	// 1,200 of them.
	Median, P99, Longest time.Duration
	// Phases is how long each part of the last tick took.
	Phases Phases
	// Load is the share of its period that a tick took lately, and Shedding what the room
	// does less often because of it.
	Load     float64
	Shedding Shedding

	// Frames is the number of frames written, one for each peer and tick. Passed is the
	// number of frames left out because the peer had not finished reading the one before.
	Frames, Passed uint64
	// Updates counts records of known entities that were sent to players, Entered records
	// of new entities, and Held records that had to wait for budget.
	Updates, Entered, Held uint64
	// Bytes is the number of bytes written.
	Bytes uint64

	// Stored is the number of records of the world that were stored: see Keeper.
	// StoreFailures is the number of batches that the store did not take, which are
	// retried. Lost is the number of times that the state of a player was given up,
	// because the store took nothing for too long or because too many players are kept.
	Stored, StoreFailures, Lost uint64
}

// Phases holds the durations of the parts of a tick, in their order.
type Phases struct{ Inputs, Game, Encoding, Looking, Telling time.Duration }

// Shedding says what a room does less often when its ticks take more than 70 % of their
// period. Each step includes the ones before. The game's own tick and the inputs are
// never shed.
type Shedding int

const (
	ShedNothing Shedding = iota
	shedTiers            // far entities are sent half as often
	shedLooks            // sights are updated half as often
	shedFrames           // each player gets a frame every second tick
	shedJoins            // nobody may join, except the first few
)

// few is how many players may join in any case. If a room with so few has late ticks, the
// machine is busy with something else, or the game itself is slow: one more player makes
// no difference.
const few = 16

// refuses reports whether the room refuses one more player when taken seats are in use.
func (s Shedding) refuses(taken int) bool { return s >= shedJoins && taken >= few }

func (s Shedding) String() string {
	return [...]string{"nothing", "far entities", "looking around", "every second tick", "joins"}[s]
}

const (
	shedAbove = 0.7 // a share of the period
	shedBelow = 0.5
	shedAfter = 8  // ticks above, before the next step
	easeAfter = 40 // ticks below, before a step is taken back
	loadOver  = 8  // ticks over which the load is averaged
)

type shed struct {
	level Shedding
	load  float64
	since int // ticks above if positive, below if negative
}

// note records the load of a tick: the share of its period that it took.
func (s *shed) note(load float64) (changed bool) {
	s.load += (load - s.load) / loadOver
	switch {
	case s.load > shedAbove:
		s.since = max(s.since, 0) + 1
	case s.load < shedBelow:
		s.since = min(s.since, 0) - 1
	default:
		s.since = 0
	}
	switch {
	case s.since >= shedAfter && s.level < shedJoins:
		s.level++
	case s.since <= -easeAfter && s.level > ShedNothing:
		s.level--
	default:
		return false
	}
	s.since = 0
	return true
}

// lastTicks is the number of ticks that Stats covers.
const lastTicks = 1200

// phases counts ticks and what they took.
type phases struct {
	at             [6]int64 // the beginning of the tick, and the end of each part
	ticks, skipped uint64
	frames         uint64
	busy           uint64
	bytes          uint64
	last           [lastTicks]int64 // ns; a ring
}

// count records a tick that began behind periods late.
func (ph *phases) count(r *Room, period, behind int64) {
	took := ph.at[5] - ph.at[0]
	if r.shed.note(float64(took) / float64(period)) {
		r.opts.Logger.Info("the load of a room changed", "room", r.opts.Name, "shedding", r.shed.level.String(), "load", r.shed.load)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	ph.last[ph.ticks%lastTicks] = took
	ph.ticks++
	ph.skipped += uint64(max(behind-1, 0))
	part := func(i int) time.Duration { return time.Duration(ph.at[i+1] - ph.at[i]) }
	r.stats = Stats{
		Tick: r.world.tick, Players: r.playing, Spectators: r.watching, Away: len(r.absent),
		Peers: len(r.all), Entities: r.world.count,
		Ticks: ph.ticks, Skipped: ph.skipped,
		Phases:   Phases{part(0), part(1), part(2), part(3), part(4)},
		Load:     r.shed.load,
		Shedding: r.shed.level,
		Frames:   ph.frames, Passed: ph.busy,
		Updates: r.framer.stats.updates, Entered: r.framer.stats.entered, Held: r.framer.stats.held,
		Bytes: ph.bytes,
	}
}

// Stats returns a snapshot as of the last tick.
func (r *Room) Stats() Stats {
	r.mu.Lock()
	s := r.stats
	last := slices.Clone(r.phases.last[:min(s.Ticks, lastTicks)])
	r.mu.Unlock()
	if len(last) > 0 {
		slices.Sort(last)
		at := func(q float64) time.Duration { return time.Duration(last[int(q*float64(len(last)-1)+0.5)]) }
		s.Median, s.P99, s.Longest = at(0.5), at(0.99), at(1)
	}
	if r.keep != nil {
		r.keep.mu.Lock()
		s.Stored, s.StoreFailures, s.Lost = r.keep.count.Written, r.keep.count.Failures, r.keep.lost
		r.keep.mu.Unlock()
	}
	return s
}
