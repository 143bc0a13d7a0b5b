package replay

import (
	"container/heap"
	"container/list"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// publisher is what a history knows of one publisher. History.mu guards it.
type publisher struct {
	id     peer.ID
	floor  uint64   // epochs up to it were dropped
	epochs []*epoch // ascending, at most MaxEpochs
	held   []*record
	bytes  int
	active time.Time // when something new came from it last
	heard  bool      // since CountAnew

	index int           // in the heap of shares; -1 while nothing is held
	place *list.Element // in History.silent
}

// epoch is what a history knows of one epoch of a publisher.
type epoch struct {
	number  uint64
	had     Ranges // every number received once, and those given up
	givenUp uint64 // how many of had were never received
	// givenTo is the highest number given up.
	givenTo uint64
	// before is the last number received at CountAnew, and since the first beyond it that
	// came afterwards (0 if none did). missing is how many from since on were never
	// received.
	before, since, missing uint64
	// out is the highest number dropped. outAt is when the youngest of all dropped
	// entries was received.
	out   uint64
	outAt time.Time
}

// record is an entry that a history holds.
type record struct {
	Entry
	publisher *publisher
	index     int // in the heap of ages
}

func (p *publisher) find(number uint64) (int, bool) {
	return slices.BinarySearchFunc(p.epochs, number, func(e *epoch, n uint64) int {
		return message.ID{Epoch: e.number}.Compare(message.ID{Epoch: n})
	})
}

// lowest returns the epoch up to which nothing is accepted: those that were dropped, and
// those that would have to be dropped at once.
func (p *publisher) lowest() uint64 {
	if len(p.epochs) < MaxEpochs {
		return p.floor
	}
	return p.epochs[0].number - 1
}

func (p *publisher) seen(id message.ID) bool {
	i, known := p.find(id.Epoch)
	return known && p.epochs[i].had.Contains(id.Seq)
}

// see records a number of an epoch that is not too old. It returns the change in the
// number of missing broadcasts, and how many are given up that were never received.
func (p *publisher) see(id message.ID) (missing int64, givenUp uint64) {
	missing = p.epoch(id.Epoch).see(id.Seq)
	p.heard = true
	return missing, p.trim()
}

// epoch returns an epoch, and adds it if it is new.
func (p *publisher) epoch(number uint64) *epoch {
	i, known := p.find(number)
	if !known {
		p.epochs = slices.Insert(p.epochs, i, &epoch{number: number})
	}
	return p.epochs[i]
}

// see records a number that was not received before, and returns the change in the number
// of missing broadcasts.
func (e *epoch) see(seq uint64) (missing int64) {
	last := e.had.Last()
	var gap uint64
	switch {
	case seq <= e.before:
	case e.since == 0:
		e.since = seq
	case seq > last:
		gap = seq - last - 1
	case seq < e.since:
		gap = Ranges{{seq, e.since}}.minus(e.had).size() - 1 // all except seq
		e.since = seq
	case e.missing > 0:
		e.missing--
		missing = -1
	}
	e.had.add(seq)
	gap = min(gap, mostMissing)
	e.missing += gap
	return missing + int64(gap)
}

func (p *publisher) countAnew() {
	p.heard = false
	for _, e := range p.epochs {
		e.before, e.since, e.missing = e.had.Last(), 0, 0
	}
}

// join adds what another history knew of the publisher.
func (p *publisher) join(o *publisher) (givenUp uint64) {
	p.floor = max(p.floor, o.floor)
	for _, x := range o.epochs {
		i, known := p.find(x.number)
		if !known {
			p.epochs = slices.Insert(p.epochs, i, x)
			continue
		}
		e := p.epochs[i]
		e.had = e.had.plus(x.had)
		e.givenUp += x.givenUp
		e.givenTo, e.out = max(e.givenTo, x.givenTo), max(e.out, x.out)
		e.outAt = latest(e.outAt, x.outAt)
	}
	p.epochs = slices.DeleteFunc(p.epochs, func(e *epoch) bool { return e.number <= p.floor })
	p.active = latest(p.active, o.active)
	return p.trim()
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// trim gives up the oldest epochs and the earliest gaps while there are too many. It
// returns how many numbers are given up that were never received.
func (p *publisher) trim() (givenUp uint64) {
	for len(p.epochs) > MaxEpochs {
		oldest := p.epochs[0]
		givenUp += upTo(oldest.had.Last()).minus(oldest.had).size()
		p.floor = oldest.number
		p.epochs = slices.Delete(p.epochs, 0, 1)
	}
	ranges := 0
	for _, e := range p.epochs {
		ranges += len(e.had)
	}
	for _, e := range p.epochs {
		for ; ranges > MaxRanges && len(e.had) > 1; ranges-- {
			n := e.had[1].From - e.had[0].To - 1
			e.givenUp += n
			e.givenTo = max(e.givenTo, e.had[1].From-1)
			givenUp += n
			e.had[0].To = e.had[1].To
			e.had = slices.Delete(e.had, 1, 2)
		}
	}
	return givenUp
}

// holding returns the record held under an ID, or nil.
func (p *publisher) holding(id message.ID) *record {
	if i, holds := slices.BinarySearchFunc(p.held, id, compareRecord); holds {
		return p.held[i]
	}
	return nil
}

// cameAgain reports whether the record held under an ID had come only by replay until
// now.
func (p *publisher) cameAgain(id message.ID) bool {
	r := p.holding(id)
	if r == nil || !r.Replayed {
		return false
	}
	r.Replayed = false
	return true
}

func compareRecord(r *record, id message.ID) int { return r.ID.Compare(id) }

func (p *publisher) insert(r *record) {
	if n := len(p.held); n == 0 || p.held[n-1].ID.Compare(r.ID) < 0 {
		p.held = append(p.held, r)
	} else {
		i, _ := slices.BinarySearchFunc(p.held, r.ID, compareRecord)
		p.held = slices.Insert(p.held, i, r)
	}
	p.bytes += len(r.Signed)
}

func (p *publisher) remove(r *record) {
	i, _ := slices.BinarySearchFunc(p.held, r.ID, compareRecord)
	if i == 0 { // nearly always
		p.held[0] = nil
		p.held = p.held[1:]
	} else {
		p.held = slices.Delete(p.held, i, i+1)
	}
	p.bytes -= len(r.Signed)
	if j, known := p.find(r.ID.Epoch); known {
		e := p.epochs[j]
		e.out = max(e.out, r.ID.Seq)
		if r.Received.After(e.outAt) {
			e.outAt = r.Received
		}
	}
}

// old returns the highest ID known to have been received before cutoff: everything of
// this publisher at or below it was published before. It returns the zero ID if none is
// known.
func (p *publisher) old(cutoff time.Time) message.ID {
	id := message.ID{Epoch: p.floor} // below all known epochs
	for i := len(p.epochs) - 1; i >= 0; i-- {
		if e := p.epochs[i]; e.out > 0 && e.outAt.Before(cutoff) {
			id = message.ID{Epoch: e.number, Seq: e.out}
			break
		}
	}
	for i := len(p.held) - 1; i >= 0; i-- {
		if r := p.held[i]; r.Received.Before(cutoff) {
			if r.ID.Compare(id) > 0 {
				id = r.ID
			}
			break
		}
	}
	if id.Seq == 0 {
		return message.ID{}
	}
	return id
}

// shareHeap orders publishers by their share of a history's room, the largest first:
// their share of its entries or of its bytes, whichever is larger.
type shareHeap struct {
	limits Limits
	all    []*publisher
}

func (s *shareHeap) share(p *publisher) float64 {
	return max(float64(len(p.held))/float64(s.limits.Count), float64(p.bytes)/float64(s.limits.Bytes))
}

// update moves p to its place after its share has changed.
func (s *shareHeap) update(p *publisher) {
	switch {
	case p.index < 0 && len(p.held) > 0:
		heap.Push(s, p)
	case p.index >= 0 && len(p.held) == 0:
		heap.Remove(s, p.index)
	case p.index >= 0:
		heap.Fix(s, p.index)
	}
}

func (s *shareHeap) Len() int { return len(s.all) }
func (s *shareHeap) Less(i, j int) bool {
	a, b := s.all[i], s.all[j]
	if x, y := s.share(a), s.share(b); x != y {
		return x > y
	}
	return a.held[0].Received.Before(b.held[0].Received)
}
func (s *shareHeap) Swap(i, j int) {
	s.all[i], s.all[j] = s.all[j], s.all[i]
	s.all[i].index, s.all[j].index = i, j
}
func (s *shareHeap) Push(x any) {
	p := x.(*publisher)
	p.index = len(s.all)
	s.all = append(s.all, p)
}
func (s *shareHeap) Pop() any {
	last := len(s.all) - 1
	p := s.all[last]
	s.all[last] = nil
	s.all = s.all[:last]
	p.index = -1
	return p
}

// ageHeap orders records by age, the oldest first.
type ageHeap []*record

func (a ageHeap) Len() int           { return len(a) }
func (a ageHeap) Less(i, j int) bool { return a[i].Received.Before(a[j].Received) }
func (a ageHeap) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].index, a[j].index = i, j
}
func (a *ageHeap) Push(x any) {
	r := x.(*record)
	r.index = len(*a)
	*a = append(*a, r)
}
func (a *ageHeap) Pop() any {
	last := len(*a) - 1
	r := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	return r
}
