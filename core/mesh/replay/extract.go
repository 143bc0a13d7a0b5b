package replay

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// extract is what a history has for a peer that asks.
type extract struct {
	entries   []*record // in order of each publisher
	known     []Known
	more      bool   // not everything that is held and wanted is in entries
	forgotten uint64 // publishers that this history has forgotten altogether; 0 if all of them fell silent before cutoff
}

// bounds are the limits on one answer.
type bounds struct {
	messages int
	bytes    int // no further entry is added once there are this many
	entry    int // larger ones are neither sent nor reported as held
	cutoff   time.Time
}

// extract collects the entries that the history holds, that the asker has not received
// according to its cursors, and that were received at b.cutoff or later.
func (h *History) extract(cursors map[peer.ID]*Cursor, b bounds) extract {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expire(time.Now())
	var x extract
	if !h.forgotten.active.Before(b.cutoff) {
		x.forgotten = h.forgotten.publishers
	}
	none := &Cursor{}
	for _, p := range h.publishers {
		c := cursors[p.id]
		if c == nil {
			c = none
		}
		entries, known := p.extract(c, b)
		x.entries = append(x.entries, entries...)
		if known != nil {
			x.known = append(x.known, *known)
		}
	}
	slices.SortFunc(x.known, func(a, b Known) int { return compareID(a.Publisher, b.Publisher) })
	x.entries = inOrder(x.entries)
	bytes := 0
	for i, r := range x.entries {
		if i == b.messages || bytes >= b.bytes {
			x.entries, x.more = x.entries[:i], true
			break
		}
		bytes += len(r.Signed)
	}
	return x
}

// extract returns nil, nil if the asker lacks nothing of this publisher.
func (p *publisher) extract(c *Cursor, b bounds) ([]*record, *Known) {
	k := &Known{Publisher: p.id, Old: p.old(b.cutoff)}
	lacking := false
	for _, e := range p.epochs {
		if e.number <= c.Floor {
			continue
		}
		k.Epochs = append(k.Epochs, EpochKnown{Epoch: e.number, High: e.had.Last()})
		lacking = lacking || len(upTo(e.had.Last()).minus(c.epoch(e.number))) > 0
	}
	if !lacking {
		return nil, nil
	}
	if len(k.Epochs) > 0 && k.Old.Epoch < k.Epochs[0].Epoch {
		k.Old.Epoch, k.Old.Seq = 0, 0 // of an epoch that the asker does not want
	}
	var entries []*record
	at := 0
	for _, r := range p.held {
		if !c.wants(r.ID) || r.Received.Before(b.cutoff) || len(r.Signed) > b.entry {
			continue
		}
		for k.Epochs[at].Epoch != r.ID.Epoch {
			at++
		}
		k.Epochs[at].Held.add(r.ID.Seq)
		entries = append(entries, r)
	}
	return entries, k
}

// inOrder merges the entries of the publishers by the time of their receipt, and keeps
// the order of each publisher.
func inOrder(entries []*record) []*record {
	type at struct {
		time time.Time
		r    *record
	}
	all := make([]at, len(entries))
	for i, r := range entries {
		all[i] = at{r.Received, r}
		if i > 0 && entries[i-1].publisher == r.publisher && all[i-1].time.After(r.Received) {
			all[i].time = all[i-1].time
		}
	}
	slices.SortStableFunc(all, func(a, b at) int { return a.time.Compare(b.time) })
	for i, a := range all {
		entries[i] = a.r
	}
	return entries
}
