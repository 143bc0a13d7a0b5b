package dispatch

import (
	"hash/maphash"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
)

// index finds what is kept for a type or for its prefixes. Lookups take no lock; changes
// are made under the Dispatcher's lock. The cost of both does not depend on how much is
// kept.
type index[T any] struct {
	exacts   sync.Map // type -> T
	starts   sync.Map // prefix ending in a slash -> T
	prefixes atomic.Int64
	exactly  atomic.Int64
}

// exact returns what is kept for the type itself, or the zero T.
func (x *index[T]) exact(typ string) T {
	v, _ := x.exacts.Load(typ)
	t, _ := v.(T)
	return t
}

// matching yields what is kept for the prefixes of a type, shortest first.
func (x *index[T]) matching(typ string) iter.Seq[T] {
	return func(yield func(T) bool) {
		for prefix := range prefixesOf(typ) {
			if v, ok := x.starts.Load(prefix); ok && !yield(v.(T)) {
				return
			}
		}
	}
}

// part returns the map that holds a checked pattern, its key there, and the count of the
// map.
func (x *index[T]) part(pattern string) (in *sync.Map, key string, n *atomic.Int64) {
	if strings.HasSuffix(pattern, "/*") {
		return &x.starts, pattern[:len(pattern)-1], &x.prefixes
	}
	return &x.exacts, pattern, &x.exactly
}

func (x *index[T]) get(pattern string) (T, bool) {
	in, key, _ := x.part(pattern)
	v, ok := in.Load(key)
	t, _ := v.(T)
	return t, ok
}

func (x *index[T]) set(pattern string, v T) {
	in, key, n := x.part(pattern)
	if _, had := in.Swap(key, v); !had {
		n.Add(1)
	}
}

func (x *index[T]) remove(pattern string) {
	in, key, n := x.part(pattern)
	if _, had := in.LoadAndDelete(key); had {
		n.Add(-1)
	}
}

func (x *index[T]) size() int { return int(x.exactly.Load() + x.prefixes.Load()) }

// recent remembers the topics of types that were published lately. Finding one there
// takes a hash and a comparison; a search in an index takes as long as everything else
// that is done for a message. Each place holds the topic that was last looked up among
// those with the same hash.
type recent struct {
	seed   maphash.Seed
	places [256]atomic.Pointer[topic]
}

// topic returns the topic of a type, or nil.
func (r *recent) topic(typ string, all *index[*topic]) *topic {
	place := &r.places[maphash.String(r.seed, typ)%uint64(len(r.places))]
	if t := place.Load(); t != nil && t.pattern == typ && !t.gone.Load() {
		return t
	}
	t := all.exact(typ)
	if t != nil {
		place.Store(t)
	}
	return t
}

// topic holds the subscriptions to one pattern, in slots that publishers read without a
// lock. A subscription takes a free slot and gives it back, so that neither costs more if
// there are many.
type topic struct {
	pattern string
	gone    atomic.Bool // another topic may have taken its place

	slots atomic.Pointer[[]atomic.Pointer[Subscription]]
	free  []int32 // slots that are empty
	used  int
}

func (t *topic) publish(p *publication) {
	slots := *t.slots.Load()
	for i := range slots {
		if s := slots[i].Load(); s != nil {
			s.put(p)
		}
	}
}

// minSlots is the initial number of slots of a topic.
const minSlots = 1

func (t *topic) add(s *Subscription) {
	if len(t.free) == 0 {
		t.resize(max(minSlots, 2*t.used))
	}
	last := len(t.free) - 1
	s.slot = t.free[last]
	t.free = t.free[:last]
	(*t.slots.Load())[s.slot].Store(s)
	t.used++
}

// remove reports whether s was in the topic.
func (t *topic) remove(s *Subscription) bool {
	slots := *t.slots.Load()
	if int(s.slot) >= len(slots) || !slots[s.slot].CompareAndSwap(s, nil) {
		return false
	}
	t.free = append(t.free, s.slot)
	t.used--
	if t.used > minSlots && t.used <= len(slots)/4 {
		t.resize(len(slots) / 2)
	}
	return true
}

// resize moves the subscriptions to n slots. Concurrent publishers use the old slots.
// That is harmless: a subscription that leaves is closed first, and a new one is promised
// nothing before Subscribe returns.
func (t *topic) resize(n int) {
	slots := make([]atomic.Pointer[Subscription], n)
	next := int32(0)
	if old := t.slots.Load(); old != nil {
		for i := range *old {
			if s := (*old)[i].Load(); s != nil {
				s.slot = next
				slots[next].Store(s)
				next++
			}
		}
	}
	t.free = make([]int32, 0, n-int(next))
	for i := n - 1; i >= int(next); i-- {
		t.free = append(t.free, int32(i))
	}
	t.slots.Store(&slots)
}
