package replay

import (
	"container/heap"
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/internal/behind"
	"github.com/tombolo-net/tombolo/core/message"
)

// HistoryOptions configure a History. The zero value is usable.
type HistoryOptions struct {
	Limits Limits
	// Store keeps the history across restarts. If nil, it is in memory only. Several
	// histories with different names may share a store. The history does not close it.
	Store datastore.Batching
	// FlushDelay is the longest that a change waits to be stored. If zero,
	// DefaultFlushDelay.
	FlushDelay time.Duration
	// Logger receives the log. If nil, nothing is logged.
	Logger *slog.Logger

	publishers int // for tests; if zero, mostPublishers
}

// History is the bounded memory of the broadcasts of one type, and alone decides which
// are new. When it is full, the publisher with the largest share of its room loses its
// oldest entry, so that a publisher that floods displaces only its own entries. All
// methods may be called concurrently.
type History struct {
	log *slog.Logger

	keeping sync.Mutex // makes a change of store one step

	mu         sync.Mutex
	store      *store // nil if nothing is stored; changed only while keeping is held, too
	limits     Limits
	most       int // publishers
	publishers map[peer.ID]*publisher
	silent     list.List // of *publisher, the longest silent first
	shares     shareHeap
	ages       ageHeap
	bytes      int
	forgotten  forgotten
	lacking    uint64 // missing since CountAnew
	stats      HistoryStats
	written    behind.Stats
	timer      *time.Timer // not nil while it is set
	due        time.Time   // when the timer fires
	closed     bool

	ticking sync.WaitGroup
	once    sync.Once
	err     error
}

// HistoryStats is what a History holds now, and what became of everything else since it
// was opened.
type HistoryStats struct {
	Entries    int // held now
	Bytes      int // of the held entries
	Publishers int // known now

	Added    uint64 // entries that were new
	Repeated uint64 // entries that were not: received before, or given up
	Refused  uint64 // entries of an epoch that was dropped, or with an invalid ID or publisher
	Aged     uint64 // dropped because of Limits.Age
	Evicted  uint64 // dropped because of Limits.Count, Limits.Bytes or MaxEpochs, or with their publisher
	GivenUp  uint64 // never received and no longer requested, because of MaxRanges or MaxEpochs
	Forgot   uint64 // publishers dropped because there were too many

	Loaded        uint64 // entries found in the store
	Damaged       uint64 // records in the store that could not be read, and were deleted
	Written       uint64 // changes stored
	WriteFailures uint64 // batches that the store did not take; they are tried again
	Unwritten     uint64 // changes given up because the store took none for too long
}

// Open makes a history and calls its Keep.
func Open(ctx context.Context, name string, opts HistoryOptions) (*History, error) {
	h := &History{log: opts.Logger, most: opts.publishers, publishers: make(map[peer.ID]*publisher)}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.most == 0 {
		h.most = mostPublishers
	}
	if err := h.Keep(ctx, name, opts); err != nil {
		return nil, err
	}
	return h, nil
}

// Keep changes the limits of a history and where it is stored. Nothing that is within the
// new limits is lost. What the store has under name (use the topic of the broadcasts) is
// merged with what the history remembers, and all of it is stored there from now on. What
// was stored under another name stays there unchanged. Under the same name, only the
// limits change. Without opts.Store, nothing is stored any more. ctx bounds the loading.
//
// Keep fails if the limits are invalid, if the store cannot be read, and after Close; the
// history is then unchanged. A damaged record in the store is logged, counted and
// deleted.
func (h *History) Keep(ctx context.Context, name string, opts HistoryOptions) error {
	limits, err := opts.Limits.withDefaults()
	if err != nil {
		return err
	}
	h.keeping.Lock()
	defer h.keeping.Unlock()
	var s *store
	var found stored
	if opts.Store != nil {
		s = newStore(opts.Store, name, opts.FlushDelay)
		if h.store != nil && h.store.prefix == s.prefix {
			return h.SetLimits(limits)
		}
		if found, err = s.load(ctx); err != nil {
			return fmt.Errorf("load the history of %q: %w", name, err)
		}
	}
	old, err := h.keepIn(s, found, limits)
	if err != nil || old == nil {
		return err
	}
	if err := old.writer.Close(); err != nil {
		h.log.Warn("replay: the store that a history was kept in does not take the last of it", "error", err)
	}
	return nil
}

// keepIn replaces the store.
func (h *History) keepIn(s *store, found stored, limits Limits) (old *store, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	old, h.store = h.store, s
	if s != nil {
		s.begin(h)
		h.storeAll()
		h.restore(found)
	}
	h.limit(limits)
	return old, nil
}

// Added is what a history reports about a broadcast that was added.
type Added struct {
	// New means that it was neither received before nor given up. If it is new but does
	// not fit the limits, only its number is remembered.
	New bool
	// Hole means that it is new, and that others before it are missing that were not
	// known to be missing.
	Hole bool
	// First means that it is new and the first of its publisher since CountAnew.
	First bool
	// Again means that it is not new, but had come only by replay until now: other peers
	// may get it from nobody else.
	Again bool
}

// Add adds e to the history, and reports what e is to it. Both parts of an ID are at
// least 1. A broadcast of an epoch that was dropped is not new, and neither is any after
// Close.
func (h *History) Add(e Entry) Added {
	now := time.Now()
	if e.Received.IsZero() || e.Received.After(now) {
		e.Received = now
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return Added{}
	}
	h.expire(now)
	p, added := h.see(e.Publisher, e.ID, now)
	if !added.New {
		added.Again = p != nil && !e.Replayed && p.cameAgain(e.ID)
		return added
	}
	r := &record{Entry: e, publisher: p}
	h.hold(r)
	h.storeEntry(r)
	h.expire(now) // it may be too old itself
	h.fit()
	h.schedule(now)
	return added
}

// Skip remembers that id was received, as Add does, but not the broadcast itself. It
// reports whether it was new.
func (h *History) Skip(publisher peer.ID, id message.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	_, added := h.see(publisher, id, time.Now())
	return added.New
}

// CountAnew restarts the count of missing broadcasts. What is missing now does not count,
// nor does anything before the next broadcast of each publisher. A node calls it when it
// joins or leaves a topic. It does not change which broadcasts count as new.
func (h *History) CountAnew() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lacking = 0
	for _, p := range h.publishers {
		p.countAnew()
	}
}

// see records a number. The returned publisher is nil if the publisher or the ID is
// invalid, or if the epoch was dropped.
func (h *History) see(id peer.ID, n message.ID, now time.Time) (*publisher, Added) {
	p := h.publishers[id]
	if len(id) > maxPublisherID || n.Epoch == 0 || n.Seq == 0 || p != nil && n.Epoch <= p.lowest() {
		h.stats.Refused++
		return nil, Added{}
	}
	if p == nil {
		for len(h.publishers) >= h.most {
			h.forget(h.silent.Front().Value.(*publisher))
		}
		p = h.remember(&publisher{id: id})
	}
	if p.seen(n) {
		h.stats.Repeated++
		return p, Added{}
	}
	first := !p.heard
	missing, givenUp := p.see(n)
	h.lacking = uint64(max(int64(h.lacking)+missing, 0))
	h.stats.GivenUp += givenUp
	h.dropBelowFloor(p)
	h.stats.Added++
	p.active = now
	h.silent.MoveToBack(p.place)
	h.dirty(p)
	return p, Added{New: true, Hole: missing > 0, First: first}
}

// dropBelowFloor drops the entries of epochs that are no longer remembered.
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

// hold adds a record whose number has been recorded.
func (h *History) hold(r *record) {
	p := r.publisher
	p.insert(r)
	h.bytes += len(r.Signed)
	heap.Push(&h.ages, r)
	h.shares.update(p)
}

// drop removes a record; its number stays known.
func (h *History) drop(r *record) {
	p := r.publisher
	p.remove(r)
	h.bytes -= len(r.Signed)
	heap.Remove(&h.ages, r.index)
	h.shares.update(p)
	h.dirty(p)
	h.unstoreEntry(r)
}

// forget drops everything that is known of a publisher.
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

// forgotten is what remains of the publishers that were dropped. It is stored.
type forgotten struct {
	publishers uint64
	active     time.Time // when something new came from any of them last
}

func (f *forgotten) add(p *publisher) { f.join(forgotten{1, p.active}) }

func (f *forgotten) join(o forgotten) {
	f.publishers += o.publishers
	f.active = latest(f.active, o.active)
}

// expire drops the entries that are older than the limit.
func (h *History) expire(now time.Time) {
	for len(h.ages) > 0 && now.Sub(h.ages[0].Received) > h.limits.Age {
		h.stats.Aged++
		h.drop(h.ages[0])
	}
}

// fit drops entries until the limits hold.
func (h *History) fit() {
	for len(h.ages) > h.limits.Count || h.bytes > h.limits.Bytes {
		h.stats.Evicted++
		h.drop(h.shares.all[0].held[0])
	}
}

// minTick keeps the timer from firing for each of many entries.
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

// Stats returns a snapshot.
func (h *History) Stats() HistoryStats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Entries, s.Bytes, s.Publishers = len(h.ages), h.bytes, len(h.publishers)
	s.Written, s.WriteFailures, s.Unwritten = h.written.Written, h.written.Failures, h.written.GivenUp
	return s
}

// Missing returns the number of broadcasts that are known to have been published since
// CountAnew and were never received, including those given up.
func (h *History) Missing() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lacking
}

// Limits returns the current limits.
func (h *History) Limits() Limits {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.limits
}

// SetLimits changes the limits, and drops at once the entries beyond them. If the limits
// are invalid, it changes nothing.
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
	h.limit(limits)
	return nil
}

// limit enforces new limits.
func (h *History) limit(limits Limits) {
	h.limits, h.shares.limits = limits, limits
	heap.Init(&h.shares)
	now := time.Now()
	for len(h.publishers) > h.most {
		h.forget(h.silent.Front().Value.(*publisher))
	}
	h.expire(now)
	h.fit()
	h.schedule(now)
}

// Close stores the remaining changes and releases the store; the error says what could
// not be stored. It waits for everything that the history runs, at most ten seconds.
// Later and concurrent calls return the same error. What is in memory can still be read.
func (h *History) Close() error {
	h.once.Do(func() {
		h.mu.Lock()
		h.closed = true
		if h.timer != nil && h.timer.Stop() {
			h.ticking.Done()
		}
		h.mu.Unlock()
		h.ticking.Wait()
		h.keeping.Lock() // wait for a Keep that is under way
		defer h.keeping.Unlock()
		if h.store != nil {
			h.err = h.store.writer.Close()
		}
	})
	return h.err
}
