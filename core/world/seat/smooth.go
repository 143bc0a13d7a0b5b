package seat

import (
	"slices"
	"time"
)

// Behind is how many ticks behind the room an entity is drawn, so that there are
// mostly two records to draw it between: what Source's games do (Bernier, 2001).
const Behind = 2

// Clock tells where a room is between the ticks that come. It follows those that were
// under way for the shortest time, for a late one says nothing of the room. It is used
// by one goroutine.
type Clock struct {
	hz      float64
	began   time.Time
	offset  float64 // the tick less the time, in ticks
	last    float64 // the time of that, in ticks
	newest  uint32
	running bool
}

// NewClock makes the clock of a room with so many ticks a second.
func NewClock(hz int) *Clock { return &Clock{hz: float64(hz)} }

// slack is which part of a tick the clock falls back in each tick in which none comes
// early: it follows a line that has become slower.
const slack = 0.002

// Tick says that a tick of the room has come now. A number that is before the last one is of
// another room, that the player walked to: the clock begins anew.
func (c *Clock) Tick(number uint32, now time.Time) {
	anew := !c.running || number < c.newest
	c.newest = number
	if anew {
		c.began, c.running = now, true
		c.offset, c.last = float64(number), 0
		return
	}
	at := c.ticks(now)
	c.offset = max(c.offset-slack*(at-c.last), float64(number)-at)
	c.last = at
}

// At is the tick at which the room is, by the newest word of it; zero before the first.
func (c *Clock) At(now time.Time) float64 {
	if !c.running {
		return 0
	}
	return c.offset + c.ticks(now)
}

func (c *Clock) ticks(now time.Time) float64 { return now.Sub(c.began).Seconds() * c.hz }

// Path is where an entity was in the last ticks, to draw it between them. It is used by
// one goroutine.
type Path[T any] struct {
	between func(a, b T, share float64) T
	points  []point[T]
}

type point[T any] struct {
	tick uint32
	at   T
}

// pathPoints is how many ticks a path goes back.
const pathPoints = 8

// NewPath makes one of the game's way to go from one T to another; share is from 0 to
// 1.
func NewPath[T any](between func(a, b T, share float64) T) *Path[T] {
	return &Path[T]{between: between}
}

// Add says where the entity is in a tick; the last word on a tick counts.
func (p *Path[T]) Add(tick uint32, at T) {
	if n := len(p.points); n > 0 && tick == p.points[n-1].tick {
		p.points = p.points[:n-1]
	} else if n > 0 && tick < p.points[n-1].tick {
		p.points = p.points[:0] // the room began anew
	}
	if len(p.points) == pathPoints {
		p.points = slices.Delete(p.points, 0, 1)
	}
	p.points = append(p.points, point[T]{tick, at})
}

// At is where the entity was at a tick, mostly that of the clock less Behind. An entity
// stands still before the first record and after the last one. ok is false if there is no
// record.
func (p *Path[T]) At(tick float64) (at T, ok bool) {
	if len(p.points) == 0 {
		return at, false
	}
	for i := len(p.points) - 1; i >= 0; i-- {
		a := p.points[i]
		if tick < float64(a.tick) {
			continue
		}
		if i+1 == len(p.points) {
			return a.at, true
		}
		b := p.points[i+1]
		return p.between(a.at, b.at, (tick-float64(a.tick))/float64(b.tick-a.tick)), true
	}
	return p.points[0].at, true
}

// Prediction shows what a player does before the room has told so: the state that the
// room told last, with the inputs that it had not taken by then. It is used by one
// goroutine.
type Prediction[S, I any] struct {
	apply   func(S, I) S
	told    S
	pending []predicted[I]
}

type predicted[I any] struct {
	seq uint32
	in  I
}

// maxPending is how many inputs are predicted beyond what the room has told.
const maxPending = 256

// NewPrediction begins with a state. apply is what the game does with an input, and
// has to be the same as there.
func NewPrediction[S, I any](state S, apply func(S, I) S) *Prediction[S, I] {
	return &Prediction[S, I]{apply: apply, told: state}
}

// Do says that an input was sent, with the number that Seat.Input returned.
func (p *Prediction[S, I]) Do(seq uint32, in I) {
	if len(p.pending) == maxPending {
		p.pending = slices.Delete(p.pending, 0, 1)
	}
	p.pending = append(p.pending, predicted[I]{seq, in})
}

// Told says what the room told: a state, and the last input that it has taken, which
// is zero where Tick.Applied is.
func (p *Prediction[S, I]) Told(state S, applied uint32) {
	p.told = state
	taken := 0
	for taken < len(p.pending) && p.pending[taken].seq <= applied {
		taken++
	}
	p.pending = slices.Delete(p.pending, 0, taken)
}

// State is what to show.
func (p *Prediction[S, I]) State() S {
	s := p.told
	for _, in := range p.pending {
		s = p.apply(s, in.in)
	}
	return s
}
