package seat

import (
	"slices"
	"time"
)

// Behind is how many ticks behind the room an entity is drawn, so that there are usually
// two records to draw it between, as in the games of the Source engine (Bernier, 2001).
const Behind = 2

// Clock estimates the position of a room between the ticks that come. It follows the
// ticks that took the shortest time to arrive, because a late one says nothing about the
// room. It must be used by one goroutine.
type Clock struct {
	hz      float64
	began   time.Time
	offset  float64 // the tick minus the time, in ticks
	last    float64 // the time of the last tick, in ticks
	newest  uint32
	running bool
}

// NewClock makes the clock of a room with hz ticks a second.
func NewClock(hz int) *Clock { return &Clock{hz: float64(hz)} }

// slack is how far, in ticks, the clock falls back per tick while no tick comes early, so
// that it follows a path that has become slower.
const slack = 0.002

// Tick records that a tick of the room has come now. A number below the last one belongs
// to another room, to which the player walked: the clock then starts anew.
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

// At returns the tick at which the room is at a time, estimated from the ticks that came;
// zero before the first.
func (c *Clock) At(now time.Time) float64 {
	if !c.running {
		return 0
	}
	return c.offset + c.ticks(now)
}

func (c *Clock) ticks(now time.Time) float64 { return now.Sub(c.began).Seconds() * c.hz }

// Path keeps where an entity was in the last ticks, to draw it between them. It must be
// used by one goroutine.
type Path[T any] struct {
	between func(a, b T, share float64) T
	points  []point[T]
}

type point[T any] struct {
	tick uint32
	at   T
}

// pathPoints is how many records a path keeps.
const pathPoints = 8

// NewPath makes a path. between returns the T at a share, from 0 to 1, of the way from a to
// b.
func NewPath[T any](between func(a, b T, share float64) T) *Path[T] {
	return &Path[T]{between: between}
}

// Add records where the entity is in a tick. A later call for the same tick replaces it.
func (p *Path[T]) Add(tick uint32, at T) {
	if n := len(p.points); n > 0 && tick == p.points[n-1].tick {
		p.points = p.points[:n-1]
	} else if n > 0 && tick < p.points[n-1].tick {
		p.points = p.points[:0] // the room started anew
	}
	if len(p.points) == pathPoints {
		p.points = slices.Delete(p.points, 0, 1)
	}
	p.points = append(p.points, point[T]{tick, at})
}

// At returns where the entity was at a tick, usually the tick of the clock minus Behind.
// An entity stands still before the first record and after the last one. ok is false if
// there is no record.
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

// Prediction shows a player's own inputs before the room confirms them: it applies to the
// last state from the room the inputs that the room had not taken by then. It must be
// used by one goroutine.
type Prediction[S, I any] struct {
	apply   func(S, I) S
	told    S
	pending []predicted[I]
}

type predicted[I any] struct {
	seq uint32
	in  I
}

// maxPending is how many inputs are predicted beyond the last state from the room.
const maxPending = 256

// NewPrediction makes a prediction that starts with a state. apply applies an input to a
// state, exactly as the game does.
func NewPrediction[S, I any](state S, apply func(S, I) S) *Prediction[S, I] {
	return &Prediction[S, I]{apply: apply, told: state}
}

// Do records that an input was sent, with the number that Seat.Input returned.
func (p *Prediction[S, I]) Do(seq uint32, in I) {
	if len(p.pending) == maxPending {
		p.pending = slices.Delete(p.pending, 0, 1)
	}
	p.pending = append(p.pending, predicted[I]{seq, in})
}

// Told records a state that came from the room, and the number of the last input that the
// room has taken: Tick.Applied, zero included.
func (p *Prediction[S, I]) Told(state S, applied uint32) {
	p.told = state
	taken := 0
	for taken < len(p.pending) && p.pending[taken].seq <= applied {
		taken++
	}
	p.pending = slices.Delete(p.pending, 0, taken)
}

// State returns the state to show.
func (p *Prediction[S, I]) State() S {
	s := p.told
	for _, in := range p.pending {
		s = p.apply(s, in.in)
	}
	return s
}
