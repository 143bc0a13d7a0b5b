package demo

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/tombolo-net/tombolo/core/world"
)

const (
	// reach is how near a boat comes to a buoy to take it, in Units.
	reach = 40
	// cell is the side of a cell of the quay, in Units: more than reach.
	cell = 128
	// scoresEvery is the number of ticks after which players get the scores, if they have
	// changed.
	scoresEvery = 20
	// scoresAnyway is the number of ticks after which players get them in any case: a
	// page that was reloaded has its seat again, but no scores.
	scoresAnyway = 10 * scoresEvery
)

// quay finds the boats near a buoy: it has, for each cell of the harbour, the slots of
// its boats.
type quay struct {
	wide  int32
	first []int32 // by cell: a slot plus 1, or 0
	next  []int32 // by slot: the same, of the next boat in the cell
	used  []int32 // the cells with boats
}

// moor updates the quay.
func (h *Harbour) moor() {
	q := &h.quay
	if q.first == nil {
		q.wide = int32(h.Size)*16/cell + 1
		q.first = make([]int32, q.wide*q.wide)
	}
	for _, c := range q.used {
		q.first[c] = 0
	}
	q.used = q.used[:0]
	q.next = append(q.next[:0], make([]int32, len(h.sailors))...)
	for slot := range h.sailors {
		if s := &h.sailors[slot]; s.player != nil {
			t := &h.things[s.boat]
			c := t.y/cell*q.wide + t.x/cell
			q.next[slot] = q.first[c]
			q.first[c] = int32(slot) + 1
			q.used = append(q.used, c)
		}
	}
}

// gather gives each buoy that a boat has reached to that boat, and moves it elsewhere.
func (h *Harbour) gather() {
	h.moor()
	if len(h.quay.used) == 0 {
		return
	}
	for e := range h.things {
		t := &h.things[e]
		if !t.drifts || !h.w.Alive(world.Entity(e)) {
			continue
		}
		boat, ok := h.boatBeside(t.x, t.y)
		if !ok {
			continue
		}
		b := &h.things[boat]
		b.score = min(b.score, 1<<16-2) + 1
		b.anew = true
		h.w.Touch(boat)
		t.x, t.y = h.anywhere()
		h.w.Move(world.Entity(e), float32(t.x)*Unit, float32(t.y)*Unit)
	}
}

// boatBeside returns a boat within reach.
func (h *Harbour) boatBeside(x, y int32) (world.Entity, bool) {
	q := &h.quay
	for cy := max(y-reach, 0) / cell; cy <= min((y+reach)/cell, q.wide-1); cy++ {
		for cx := max(x-reach, 0) / cell; cx <= min((x+reach)/cell, q.wide-1); cx++ {
			for slot := q.first[cy*q.wide+cx]; slot != 0; slot = q.next[slot-1] {
				boat := h.sailors[slot-1].boat
				dx, dy := h.things[boat].x-x, h.things[boat].y-y
				if dx*dx+dy*dy <= reach*reach {
					return boat, true
				}
			}
		}
	}
	return 0, false
}

// tellScores sends each player the best scores and its own rank.
func (h *Harbour) tellScores() {
	var ranked []*thing
	for i := range h.sailors {
		if s := &h.sailors[i]; s.player != nil && h.things[s.boat].score > 0 {
			ranked = append(ranked, &h.things[s.boat])
		}
	}
	slices.SortStableFunc(ranked, func(a, b *thing) int { return cmp.Compare(b.score, a.score) })
	var lines []byte
	for _, t := range ranked[:min(len(ranked), maxLines)] {
		lines = appendScoreLine(lines, t)
	}
	anyway := h.steps%scoresAnyway == 0 && len(ranked) > 0
	var note []byte
	for i := range h.sailors {
		s := &h.sailors[i]
		if s.player == nil {
			continue
		}
		note = appendScores(note[:0], rankOf(h.things[s.boat].score, ranked), len(ranked), lines)
		if len(ranked) == 0 && s.told == nil || !anyway && bytes.Equal(note, s.told) {
			continue
		}
		s.told = append(s.told[:0], note...)
		s.player.Tell(note)
	}
}

// rankOf returns 1 plus the number of higher scores, or 0 for a score of 0.
func rankOf(score uint16, ranked []*thing) int {
	if score == 0 {
		return 0
	}
	at, _ := slices.BinarySearchFunc(ranked, score, func(t *thing, score uint16) int { return cmp.Compare(score, t.score) })
	return at + 1
}
