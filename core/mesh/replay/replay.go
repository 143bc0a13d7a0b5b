// Package replay is what a mesh remembers: a bounded [History] of the signed
// broadcasts of a type, and a [Service] through which a peer that was away gets
// from any other peer what it missed.
//
// It rests on how publishers number what they say. An ID is an epoch (one run
// of the publisher) and a number in it, which begins at 1 and goes up by one
// with each broadcast of a type. A history therefore knows exactly which
// broadcasts it never had, and says so: what cannot be had is a [Gap] with its
// first and last number, never silence. What no numbering shows is how an epoch
// ended and whether another lay between two: that is an [Unknown].
//
// A replayed broadcast bears its publisher's signature, so it does not matter
// who hands it over; who hands over anything else is refused by name.
//
// The way of a message: mesh -> History.Add -> another peer's Service.Sync ->
// signature and order checked -> its History -> Ask.Deliver.
package replay

import (
	"container/heap"
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// Defaults of Limits.
const (
	DefaultCount      = 4096
	DefaultBytes      = 8 << 20
	DefaultAge        = time.Hour
	DefaultPublishers = 1024
)

// Bounds on what is remembered of one publisher, which chooses its numbers.
const (
	// MaxEpochs is how many epochs of a publisher are told apart. What belongs
	// to an older one is let go and no longer taken.
	MaxEpochs = 8
	// MaxRanges is how many ranges of numbers are remembered of a publisher,
	// over all epochs. Beyond, the earliest gap is given up for lost.
	MaxRanges = 64
)

// Entry is one broadcast as its publisher signed it.
type Entry struct {
	Publisher peer.ID
	ID        message.ID
	// Received is when this node got it; of a replayed one, when the first peer
	// did that handed it on, as far as those peers say. Age counts from here.
	Received time.Time
	// Signed is the GossipSub message exactly as signed, marshalled. It is
	// shared by all who read it and must not be changed.
	Signed []byte
}

// Limits bound a history, over all its publishers. All hold at once.
type Limits struct {
	Count      int           // entries, at most 131072; if zero, DefaultCount
	Bytes      int           // of Entry.Signed together; if zero, DefaultBytes
	Age        time.Duration // of an entry; if zero, DefaultAge
	Publishers int           // of whom anything is remembered, at most 4096; if zero, DefaultPublishers
}

func (l Limits) withDefaults() (Limits, error) {
	if l.Publishers > maxPublishers {
		return l, fmt.Errorf("a history remembers at most %d publishers, not %d", maxPublishers, l.Publishers)
	}
	if l.Count > maxCount {
		return l, fmt.Errorf("a history holds at most %d broadcasts, not %d", maxCount, l.Count)
	}
	if l.Count < 0 || l.Bytes < 0 || l.Age < 0 || l.Publishers < 0 {
		return l, fmt.Errorf("the limits of a history cannot be negative: %+v", l)
	}
	if l.Count == 0 {
		l.Count = DefaultCount
	}
	if l.Bytes == 0 {
		l.Bytes = DefaultBytes
	}
	if l.Age == 0 {
		l.Age = DefaultAge
	}
	if l.Publishers == 0 {
		l.Publishers = DefaultPublishers
	}
	return l, nil
}

// HistoryOptions configure a History. The zero value is usable.
type HistoryOptions struct {
	Limits Limits
	// Store keeps the history over restarts; if nil, nothing does. Several
	// histories, of different names, may share one. It is not closed.
	Store datastore.Batching
	// FlushDelay is the longest that a change waits to be stored. If zero,
	// DefaultFlushDelay.
	FlushDelay time.Duration
	// Logger receives what the history has to say. If nil, nothing is logged.
	Logger *slog.Logger
}

// History is the bounded memory of one type's broadcasts. When it is full, the
// publisher that takes the largest share of its room gives up its oldest, so
// that one who floods displaces only itself. All methods may be called
// concurrently.
type History struct {
	log   *slog.Logger
	store *store // nil where nothing is stored

	mu         sync.Mutex
	limits     Limits
	publishers map[peer.ID]*publisher
	silent     list.List // of *publisher, the longest silent first
	shares     shareHeap
	ages       ageHeap
	bytes      int
	forgotten  forgotten
	stats      HistoryStats
	timer      *time.Timer // not nil while it is set
	due        time.Time   // when the timer fires
	closed     bool

	ticking sync.WaitGroup
	once    sync.Once
	err     error
}

// HistoryStats is what a History holds now and what became of the rest since
// it was opened.
type HistoryStats struct {
	Entries    int // held now
	Bytes      int // of what is held now
	Publishers int // remembered now

	Added    uint64 // were new
	Repeated uint64 // were not: had before, or given up
	Refused  uint64 // of an epoch let go, or with an ID or a publisher that none can be
	Aged     uint64 // let go because of Limits.Age
	Evicted  uint64 // let go because of Limits.Count, Bytes or Publishers, or MaxEpochs
	GivenUp  uint64 // never had and no longer asked for, because of MaxRanges or MaxEpochs
	Forgot   uint64 // publishers let go because of Limits.Publishers

	Loaded        uint64 // entries found in the store
	Damaged       uint64 // records in the store that could not be read, and were deleted
	Written       uint64 // changes stored
	WriteFailures uint64 // batches that the store did not take; they are tried again
	Unwritten     uint64 // changes given up because the store took none for too long
}

// Open makes a history and loads what the store has of that name: give the
// topic of the broadcasts. It fails where the store cannot be read; a damaged
// record in it is logged, counted and deleted. ctx bounds the loading.
func Open(ctx context.Context, name string, opts HistoryOptions) (*History, error) {
	limits, err := opts.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &History{limits: limits, log: opts.Logger, publishers: make(map[peer.ID]*publisher)}
	h.shares.limits = limits
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if opts.Store == nil {
		return h, nil
	}
	h.store = newStore(opts.Store, name, opts.FlushDelay)
	if err := h.load(ctx); err != nil {
		return nil, fmt.Errorf("load the history of %q: %w", name, err)
	}
	run, cancel := context.WithCancel(context.Background()) // for as long as the history is open
	h.store.cancel = cancel
	go h.writeBehind(run)
	return h, nil
}

// Add remembers e and says whether it was new: false for one that the history
// has or had, that it gave up on, or that is of an epoch it let go; so where it
// is true, e has not been added before. Of what is new but does not fit the
// limits only the number is remembered. The ID's parts are both at least 1.
func (h *History) Add(e Entry) bool {
	now := time.Now()
	if e.Received.IsZero() || e.Received.After(now) {
		e.Received = now
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.expire(now)
	p := h.see(e.Publisher, e.ID, now)
	if p == nil {
		return false
	}
	r := &record{Entry: e, publisher: p}
	h.hold(r)
	h.storeEntry(r)
	h.expire(now) // it may be too old itself
	h.fit()
	h.schedule(now)
	return true
}

// Skip remembers that id was had, as Add does, but not the broadcast itself.
func (h *History) Skip(publisher peer.ID, id message.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.closed && h.see(publisher, id, time.Now()) != nil
}

// see notes a number and returns its publisher; nil if it was not new.
func (h *History) see(id peer.ID, n message.ID, now time.Time) *publisher {
	p := h.publishers[id]
	if len(id) > maxPublisherID || n.Epoch == 0 || n.Seq == 0 || p != nil && n.Epoch <= p.lowest() {
		h.stats.Refused++
		return nil
	}
	if p == nil {
		for len(h.publishers) >= h.limits.Publishers {
			h.forget(h.silent.Front().Value.(*publisher))
		}
		p = h.remember(&publisher{id: id})
	}
	if p.seen(n) {
		h.stats.Repeated++
		return nil
	}
	givenUp := p.see(n)
	h.stats.GivenUp += givenUp
	h.dropBelowFloor(p)
	h.stats.Added++
	p.active = now
	h.silent.MoveToBack(p.place)
	h.dirty(p)
	return p
}

// dropBelowFloor lets go of what is of epochs that were let go.
func (h *History) dropBelowFloor(p *publisher) {
	for len(p.held) > 0 && p.held[0].ID.Epoch <= p.floor {
		h.stats.Evicted++
		h.drop(p.held[0])
	}
}

func (h *History) remember(p *publisher) *publisher {
	p.index = -1
	p.place = h.silent.PushBack(p)
	h.publishers[p.id] = p
	return p
}

// hold takes in a record whose number has been noted.
func (h *History) hold(r *record) {
	p := r.publisher
	p.insert(r)
	h.bytes += len(r.Signed)
	heap.Push(&h.ages, r)
	h.shares.update(p)
}

// drop lets a record go; its number stays known.
func (h *History) drop(r *record) {
	p := r.publisher
	p.remove(r)
	h.bytes -= len(r.Signed)
	heap.Remove(&h.ages, r.index)
	h.shares.update(p)
	h.dirty(p)
	h.unstoreEntry(r)
}

// forget lets go of all that is known of a publisher.
func (h *History) forget(p *publisher) {
	for len(p.held) > 0 {
		h.stats.Evicted++
		h.drop(p.held[len(p.held)-1])
	}
	delete(h.publishers, p.id)
	h.silent.Remove(p.place)
	h.stats.Forgot++
	h.forgotten.add(p)
	h.dirty(p)
}

// forgotten is what is left of the publishers let go of. It is stored.
type forgotten struct {
	publishers uint64
	active     time.Time // when something new of any of them came last
}

func (f *forgotten) add(p *publisher) {
	f.publishers++
	if p.active.After(f.active) {
		f.active = p.active
	}
}

// expire lets go of what is too old.
func (h *History) expire(now time.Time) {
	for len(h.ages) > 0 && now.Sub(h.ages[0].Received) > h.limits.Age {
		h.stats.Aged++
		h.drop(h.ages[0])
	}
}

// fit lets go of what is too much.
func (h *History) fit() {
	for len(h.ages) > h.limits.Count || h.bytes > h.limits.Bytes {
		h.stats.Evicted++
		h.drop(h.shares.all[0].held[0])
	}
}

// minTick keeps the timer from firing for each entry of many.
const minTick = 100 * time.Millisecond

// schedule sets the timer for the next entry that will be too old.
func (h *History) schedule(now time.Time) {
	if len(h.ages) == 0 {
		return
	}
	wait := max(h.ages[0].Received.Add(h.limits.Age).Sub(now), minTick)
	if h.timer != nil {
		// A replayed entry may be older than all before it.
		if !now.Add(wait).Before(h.due) || !h.timer.Stop() {
			return
		}
		h.ticking.Done()
	}
	h.due = now.Add(wait)
	h.ticking.Add(1)
	h.timer = time.AfterFunc(wait, func() {
		defer h.ticking.Done()
		h.mu.Lock()
		defer h.mu.Unlock()
		h.timer = nil
		if !h.closed {
			now := time.Now()
			h.expire(now)
			h.schedule(now)
		}
	})
}

// Stats is a snapshot.
func (h *History) Stats() HistoryStats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Entries, s.Bytes, s.Publishers = len(h.ages), h.bytes, len(h.publishers)
	return s
}

// Limits are the bounds in force.
func (h *History) Limits() Limits {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.limits
}

// SetLimits changes the bounds, and forgets at once the messages beyond them.
// Of limits that Open refuses it changes nothing.
func (h *History) SetLimits(limits Limits) error {
	limits, err := limits.withDefaults()
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	h.limits, h.shares.limits = limits, limits
	heap.Init(&h.shares)
	now := time.Now()
	for len(h.publishers) > limits.Publishers {
		h.forget(h.silent.Front().Value.(*publisher))
	}
	h.expire(now)
	h.fit()
	h.schedule(now)
	return nil
}

// ErrClosed is returned after Close.
var ErrClosed = errors.New("replay is closed")

// Close stores what is not yet stored and lets go of the store; the error says
// what could not be stored. It waits for all that the history runs, at most
// closeTimeout. Later and concurrent calls return the same. What is in memory
// can still be read.
func (h *History) Close() error {
	h.once.Do(func() {
		h.mu.Lock()
		h.closed = true
		if h.timer != nil && h.timer.Stop() {
			h.ticking.Done()
		}
		h.mu.Unlock()
		h.ticking.Wait()
		if h.store != nil {
			h.err = h.store.close()
		}
	})
	return h.err
}
