package replay

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// Cursor is what a history has received from one publisher.
type Cursor struct {
	Publisher peer.ID
	// Floor is the epoch up to which nothing is wanted.
	Floor uint64
	// Epochs are in ascending order, at most MaxEpochs.
	Epochs []EpochCursor
}

// EpochCursor is what a history has received of one epoch, including what it has dropped
// since, and the gaps that it has given up.
type EpochCursor struct {
	Epoch uint64
	Had   Ranges
}

// wants reports whether an entry is new to the history of this cursor.
func (c *Cursor) wants(id message.ID) bool {
	if id.Epoch <= c.Floor {
		return false
	}
	return !c.epoch(id.Epoch).Contains(id.Seq)
}

func (c *Cursor) epoch(number uint64) Ranges {
	for _, e := range c.Epochs {
		if e.Epoch == number {
			return e.Had
		}
	}
	return nil
}

// Known is what a peer that answered knows of one publisher.
type Known struct {
	Publisher peer.ID
	// Old is an ID: everything at or below it is older than the request allows.
	Old message.ID
	// Epochs are in ascending order.
	Epochs []EpochKnown
}

// EpochKnown is what a peer that answered knows of one epoch.
type EpochKnown struct {
	Epoch uint64
	// High is the highest number that the peer has received.
	High uint64
	// Held are the broadcasts that the asker asked for and that the peer can send.
	Held Ranges
}

// Gap is a range of missing broadcasts in one epoch of a publisher: From to To, both
// included. They are known to have been published, and the peer that answered does not
// have them.
type Gap struct {
	Publisher peer.ID
	Epoch     uint64
	From, To  uint64
	// Before is set if the history has received nothing from this publisher from before
	// the gap: then a beginning is missing, not something in between.
	Before bool
}

// Count returns the number of missing broadcasts.
func (g Gap) Count() uint64 { return g.To - g.From + 1 }

func (g Gap) String() string {
	return fmt.Sprintf("%s %d.%d-%d", g.Publisher, g.Epoch, g.From, g.To)
}

// Unknown is a point at which numbers say nothing: a publisher began a new epoch, and
// nobody can tell whether Last was the last broadcast of the previous one, nor whether
// another epoch lay between.
type Unknown struct {
	Publisher peer.ID
	Last      message.ID // the highest known of the epoch that ended
	Next      uint64     // the next epoch that is known
}

func (u Unknown) String() string {
	return fmt.Sprintf("%s between %s and epoch %d", u.Publisher, u.Last, u.Next)
}

// Cursors lists what the history has received, ordered by publisher.
func (h *History) Cursors() []Cursor {
	h.mu.Lock()
	defer h.mu.Unlock()
	cursors := make([]Cursor, 0, len(h.publishers))
	for _, p := range h.publishers {
		cursors = append(cursors, p.cursor())
	}
	slices.SortFunc(cursors, func(a, b Cursor) int { return compareID(a.Publisher, b.Publisher) })
	return cursors
}

func compareID(a, b peer.ID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (p *publisher) cursor() Cursor {
	c := Cursor{Publisher: p.id, Floor: p.lowest(), Epochs: make([]EpochCursor, len(p.epochs))}
	for i, e := range p.epochs {
		c.Epochs[i] = EpochCursor{Epoch: e.number, Had: slices.Clone(e.had)}
	}
	return c
}

// missing lists what the history lacks according to itself and to the answering peer,
// received at cutoff or later. prior is what it had before it asked. It excludes what the
// peer holds, which was not sent yet.
func (h *History) missing(known []Known, prior map[peer.ID]*Cursor, cutoff time.Time) (gaps []Gap, unknown []Unknown) {
	h.mu.Lock()
	defer h.mu.Unlock()
	told := make(map[peer.ID]*Known, len(known))
	ids := make([]peer.ID, 0, len(h.publishers)+len(known))
	for i, k := range known {
		told[k.Publisher] = &known[i]
		if h.publishers[k.Publisher] == nil {
			ids = append(ids, k.Publisher)
		}
	}
	for id := range h.publishers {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareID)
	for _, id := range ids {
		p, k, before := h.publishers[id], told[id], prior[id]
		if p == nil {
			p = &publisher{id: id}
		}
		if k == nil {
			k = &Known{Publisher: id}
		}
		if before == nil {
			before = &Cursor{}
		}
		old := k.Old
		if own := p.old(cutoff); own.Compare(old) > 0 {
			old = own
		}
		g, u := p.missing(k, before, old)
		gaps, unknown = append(gaps, g...), append(unknown, u...)
	}
	return gaps, unknown
}

func (p *publisher) missing(k *Known, before *Cursor, old message.ID) (gaps []Gap, unknown []Unknown) {
	epochs := p.merged(k)
	for i, e := range epochs {
		lacks := upTo(e.High).minus(p.had(e.Epoch)).minus(e.Held)
		switch {
		case e.Epoch < old.Epoch:
			lacks = nil
		case e.Epoch == old.Epoch:
			lacks = lacks.minus(upTo(old.Seq))
		}
		for _, r := range lacks {
			gaps = append(gaps, Gap{
				Publisher: p.id, Epoch: e.Epoch, From: r.From, To: r.To,
				Before: !p.hasBelow(message.ID{Epoch: e.Epoch, Seq: r.From}),
			})
		}
		if i == 0 || e.Epoch <= old.Epoch || before.adjacent(epochs[i-1].Epoch, e.Epoch) {
			continue
		}
		last := message.ID{Epoch: epochs[i-1].Epoch, Seq: epochs[i-1].High}
		unknown = append(unknown, Unknown{Publisher: p.id, Last: last, Next: e.Epoch})
	}
	return gaps, unknown
}

// merged returns the epochs that either side knows, with the higher High of the two.
func (p *publisher) merged(k *Known) []EpochKnown {
	var epochs []EpochKnown
	for _, e := range k.Epochs {
		if e.Epoch > p.lowest() {
			epochs = append(epochs, EpochKnown{Epoch: e.Epoch, High: max(e.High, p.had(e.Epoch).Last()), Held: e.Held})
		}
	}
	for _, e := range p.epochs {
		i, found := slices.BinarySearchFunc(epochs, e.number, func(e EpochKnown, n uint64) int {
			return message.ID{Epoch: e.Epoch}.Compare(message.ID{Epoch: n})
		})
		if !found {
			epochs = slices.Insert(epochs, i, EpochKnown{Epoch: e.number, High: e.had.Last()})
		}
	}
	return epochs
}

func (p *publisher) had(number uint64) Ranges {
	if i, known := p.find(number); known {
		return p.epochs[i].had
	}
	return nil
}

// hasBelow reports whether anything below id was received.
func (p *publisher) hasBelow(id message.ID) bool {
	if p.floor > 0 {
		return true
	}
	for _, e := range p.epochs {
		if len(e.had) > 0 && (message.ID{Epoch: e.number, Seq: e.had[0].From}).Compare(id) < 0 {
			return true
		}
	}
	return false
}

// adjacent reports whether the two epochs were known, and none between them.
func (c *Cursor) adjacent(a, b uint64) bool {
	for i := 1; i < len(c.Epochs); i++ {
		if c.Epochs[i-1].Epoch == a && c.Epochs[i].Epoch == b {
			return true
		}
	}
	return false
}

// givenUp returns how many broadcasts, of the epochs still known, the history never
// received and no longer requests. It leaves out those of an epoch if all of them are
// known to be older than cutoff.
func (h *History) givenUp(cutoff time.Time) (n uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.publishers {
		old := p.old(cutoff)
		for _, e := range p.epochs {
			if (message.ID{Epoch: e.number, Seq: e.givenTo}).Compare(old) > 0 {
				n += min(e.givenUp, math.MaxUint64-n) // publishers choose the numbers
			}
		}
	}
	return n
}
