package dispatch

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

const (
	// DefaultWindowCount is the number of messages that a Window remembers by default. Each
	// takes about 150 bytes, in each subscription.
	DefaultWindowCount = 4096
	// DefaultWindowAge is the time that a Window remembers a message by default. It is the
	// same as in GossipSub's cache of seen messages.
	DefaultWindowAge = 2 * time.Minute
)

// Window bounds what a subscription remembers in order to recognize copies.
type Window struct {
	// Count is the number of messages remembered, of all types of the window's pattern
	// together. If zero, DefaultWindowCount.
	Count int
	// Age is how long a message is remembered. If zero, DefaultWindowAge.
	Age time.Duration
}

// Off is the Window that removes the window of a pattern.
var Off = Window{Count: -1}

// window is a Window in use. Its bounds may change. A removed window is dead, so that
// publishers that still use it do not bring its memory back.
type window struct {
	bounds atomic.Pointer[Window]
	dead   atomic.Bool
}

// Deduplicate makes each subscription receive copies of a message (the same type, sender
// and ID) only once, for a type or for the types that a pattern matches. It is off by
// default. If several windows match a type, the window of the exact type applies, or else
// that of the longest prefix.
//
// Each subscription remembers only the messages that it took. A copy of a message that it
// dropped can still be delivered, and a new subscription receives messages that older
// ones have received already. A message without an ID has no copies.
//
// Another call changes the bounds of a window, and Off removes the window with all it
// remembers; both are allowed at any time. The error says what is wrong with the pattern
// or the window, or wraps ErrClosed.
func (d *Dispatcher) Deduplicate(pattern string, win Window) error {
	if _, _, err := message.CheckPattern(pattern); err != nil {
		return fmt.Errorf("deduplicate: %w", err)
	}
	if win != Off && (win.Count < 0 || win.Age < 0) {
		return fmt.Errorf("deduplicate %q: %w", pattern, errors.New("a window of negative size"))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed.Load() {
		return fmt.Errorf("deduplicate %q: %w", pattern, ErrClosed)
	}
	w, ok := d.windows.get(pattern)
	switch {
	case win != Off:
		if win.Count == 0 {
			win.Count = DefaultWindowCount
		}
		if win.Age == 0 {
			win.Age = DefaultWindowAge
		}
		if !ok {
			w = new(window)
		}
		w.bounds.Store(&win)
		if !ok { // only now, because publishers find it from here on
			d.windows.set(pattern, w)
		}
	case ok:
		d.windows.remove(pattern)
		w.dead.Store(true)
		for s := range d.subs {
			s.forgetWindow(w)
		}
	}
	return nil
}

// windowOf returns the window for a message, or nil.
func (d *Dispatcher) windowOf(m *message.Message) *window {
	if d.windows.size() == 0 || m.ID == (message.ID{}) {
		return nil
	}
	w := d.windows.exact(m.Type)
	if w == nil && d.windows.prefixes.Load() > 0 {
		for longer := range d.windows.matching(m.Type) {
			w = longer
		}
	}
	return w
}

// memory holds the messages that a subscription took. Those of a window form a list in
// the order of arrival; its entries are linked by number, and 0 means none.
type memory struct {
	numbers map[messageKey]uint32
	entries []seenEntry // the first is not used
	free    uint32      // linked by next
	lists   map[*window]*seenList
}

type messageKey struct {
	typ  string
	from peer.ID
	id   message.ID
}

type seenEntry struct {
	key        messageKey
	at         time.Time
	list       *seenList
	prev, next uint32
}

type seenList struct {
	first, last uint32
	count       int
}

func keyOf(m *message.Message) messageKey { return messageKey{m.Type, m.From, m.ID} }

// duplicate reports whether a copy of m was taken, within the window's age.
func (b *mailbox) duplicate(m *message.Message, w *window) bool {
	if b.seen == nil || w.dead.Load() {
		return false
	}
	n, ok := b.seen.numbers[keyOf(m)]
	return ok && time.Since(b.seen.entries[n].at) < w.bounds.Load().Age
}

// remember records that m was taken.
func (b *mailbox) remember(m *message.Message, w *window) {
	if w.dead.Load() {
		return
	}
	if b.seen == nil {
		b.seen = &memory{
			numbers: make(map[messageKey]uint32),
			entries: make([]seenEntry, 1),
			lists:   make(map[*window]*seenList),
		}
	}
	b.seen.add(keyOf(m), w, time.Now())
}

func (b *mailbox) forgetWindow(w *window) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen == nil {
		return
	}
	if l := b.seen.lists[w]; l != nil {
		for l.first != 0 {
			b.seen.drop(l.first)
		}
		delete(b.seen.lists, w)
	}
	if len(b.seen.lists) == 0 {
		b.seen = nil
	}
}

func (s *memory) add(key messageKey, w *window, now time.Time) {
	s.forget(key) // an entry too old to count
	l := s.lists[w]
	if l == nil {
		l = new(seenList)
		s.lists[w] = l
	}
	bounds := w.bounds.Load()
	for l.count > 0 && (l.count >= bounds.Count || now.Sub(s.entries[l.first].at) >= bounds.Age) {
		s.drop(l.first)
	}
	n := s.free
	if n == 0 {
		n = uint32(len(s.entries))
		s.entries = append(s.entries, seenEntry{})
	} else {
		s.free = s.entries[n].next
	}
	s.entries[n] = seenEntry{key: key, at: now, list: l, prev: l.last}
	s.numbers[key] = n
	if l.last == 0 {
		l.first = n
	} else {
		s.entries[l.last].next = n
	}
	l.last = n
	l.count++
}

// forget removes a message, as if it had not been taken.
func (s *memory) forget(key messageKey) {
	if n, ok := s.numbers[key]; ok {
		s.drop(n)
	}
}

func (s *memory) drop(n uint32) {
	e := s.entries[n]
	if e.prev == 0 {
		e.list.first = e.next
	} else {
		s.entries[e.prev].next = e.next
	}
	if e.next == 0 {
		e.list.last = e.prev
	} else {
		s.entries[e.next].prev = e.prev
	}
	e.list.count--
	delete(s.numbers, e.key)
	s.entries[n] = seenEntry{next: s.free}
	s.free = n
}
