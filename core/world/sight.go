package world

import (
	"cmp"
	"slices"
)

// Tiers are how often a player gets an entity, by its distance: every tick up to half of
// the radius, every second up to three quarters, every fourth beyond.
const (
	tierNear = iota
	tierMiddle
	tierFar
)

// seen is what the host remembers of one entity that a player sees.
type seen struct {
	id    Entity
	sent  uint32 // the tick of the last record; before the first, the tick in which it came into sight
	gen   uint16
	tier  uint8
	known bool // the player has received it
	gone  bool // the player has yet to receive that it left
}

// sight is what one player sees: the entities within the room's radius of a point, in the
// order of their numbers. An entity comes into sight within the radius and leaves it
// beyond a larger one, so that it does not flicker at the edge.
type sight struct {
	x, y    float32
	follow  Entity // the point is its place, if follows is set
	follows bool
	list    []seen
}

// eyes finds what the players of a room see, one player after another.
type eyes struct {
	w      *World
	grid   grid
	radius float32 // zero: everybody sees everything
	leave  float32
	most   int // entities that one player sees

	mark  []uint32 // of each entity, the last look that found it in the list
	look  uint32
	fresh []Entity
	near  []distant
}

type distant struct {
	e  Entity
	d2 float32
}

// lookFactor, times the most that a player may see, bounds the entities that one look
// goes through: otherwise the cost of a crowd in one place would grow with the square of
// its size.
const lookFactor = 8

// prepare prepares the looks of a tick.
func (v *eyes) prepare() {
	if v.radius > 0 {
		v.grid.build(v.w, v.radius/2)
	}
	for len(v.mark) < len(v.w.x) {
		v.mark = append(v.mark, 0)
	}
}

// around updates a player's list.
func (v *eyes) around(s *sight) {
	w := v.w
	if s.follows && w.Alive(s.follow) {
		s.x, s.y = w.x[s.follow], w.y[s.follow]
	}
	if v.look++; v.look == 0 { // it wrapped
		clear(v.mark)
		v.look = 1
	}
	there := 0
	for i := range s.list {
		e := &s.list[i]
		v.mark[e.id] = v.look
		if e.gen != w.of[e.id].gen || !w.of[e.id].alive {
			e.gone = true
			continue
		}
		d2 := v.distance2(s, e.id)
		e.gone = v.radius > 0 && d2 > v.leave*v.leave
		e.tier = v.tier(d2)
		if !e.gone {
			there++
		}
	}
	v.find(s)
	if there+len(v.fresh) > v.most {
		v.nearest(s)
	}
	v.merge(s)
}

// find collects what came near since the last look.
func (v *eyes) find(s *sight) {
	v.fresh = v.fresh[:0]
	left := v.most * lookFactor
	enter2 := v.radius * v.radius
	check := func(es []Entity) bool {
		if len(es) > left {
			es = es[:left]
		}
		left -= len(es)
		for _, e := range es {
			if v.mark[e] != v.look && v.distance2(s, e) <= enter2 {
				v.fresh = append(v.fresh, e)
			}
		}
		return left > 0
	}
	if v.radius > 0 {
		v.grid.near(s.x, s.y, v.radius, check)
	} else {
		for e := range v.w.of {
			if v.w.of[e].alive && v.mark[e] != v.look {
				v.fresh = append(v.fresh, Entity(e))
				if len(v.fresh) == v.most {
					break
				}
			}
		}
	}
	slices.Sort(v.fresh)
}

// nearest keeps only the nearest entities in sight, if there are more than a player may
// see.
func (v *eyes) nearest(s *sight) {
	v.near = v.near[:0]
	for i := range s.list {
		if e := &s.list[i]; !e.gone {
			v.near = append(v.near, distant{e.id, v.distance2(s, e.id)})
		}
	}
	for _, e := range v.fresh {
		v.near = append(v.near, distant{e, v.distance2(s, e)})
	}
	slices.SortFunc(v.near, func(a, b distant) int { return cmp.Or(cmp.Compare(a.d2, b.d2), cmp.Compare(a.e, b.e)) })
	v.look++
	for _, d := range v.near[:v.most] {
		v.mark[d.e] = v.look
	}
	for i := range s.list {
		e := &s.list[i]
		e.gone = e.gone || v.mark[e.id] != v.look
	}
	v.fresh = slices.DeleteFunc(v.fresh, func(e Entity) bool { return v.mark[e] != v.look })
}

// merge adds what came into sight, which is sorted, to the list.
func (v *eyes) merge(s *sight) {
	fresh, old := v.fresh, len(s.list)
	for range fresh {
		s.list = append(s.list, seen{})
	}
	for i, j, to := old-1, len(fresh)-1, len(s.list)-1; j >= 0; to-- {
		if i >= 0 && s.list[i].id > fresh[j] {
			s.list[to] = s.list[i]
			i--
			continue
		}
		e := fresh[j]
		s.list[to] = seen{id: e, gen: v.w.of[e].gen, tier: v.tier(v.distance2(s, e)), sent: v.w.tick}
		j--
	}
}

func (v *eyes) distance2(s *sight, e Entity) float32 {
	dx, dy := v.w.x[e]-s.x, v.w.y[e]-s.y
	return dx*dx + dy*dy
}

func (v *eyes) tier(d2 float32) uint8 {
	switch r2 := v.radius * v.radius; {
	case d2 <= r2/4 || r2 == 0:
		return tierNear
	case d2 <= r2*9/16:
		return tierMiddle
	}
	return tierFar
}
