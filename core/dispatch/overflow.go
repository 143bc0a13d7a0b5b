package dispatch

import (
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// book says who has how many places in a mailbox. It is opened when a mailbox
// overflows and closed when it is empty again.
type book struct {
	places  map[peer.ID]int
	holders []int // by number of places: how many senders have that many
	most    int   // places of those who have the most
}

func (b *mailbox) openBook() {
	if b.book != nil {
		return
	}
	b.book = &book{places: make(map[peer.ID]int)}
	for pos := b.head; pos < b.tail; pos++ {
		if m := b.slot(pos).m; m != nil {
			b.book.add(m.From)
		}
	}
}

func (k *book) add(p peer.ID) {
	n := k.places[p]
	k.places[p] = n + 1
	for len(k.holders) <= n+1 {
		k.holders = append(k.holders, 0)
	}
	k.holders[n]-- // how many have none is not kept right, and not asked
	k.holders[n+1]++
	k.most = max(k.most, n+1)
}

func (k *book) remove(p peer.ID) {
	n := k.places[p]
	if n == 1 {
		delete(k.places, p)
	} else {
		k.places[p] = n - 1
	}
	k.holders[n]--
	k.holders[n-1]++
	if n == k.most && k.holders[n] == 0 {
		k.most--
	}
}

// makeWay loses one message of a full mailbox, and says whether that left room
// for the arriving one; else it is the one lost, which the caller counts. The
// victim is found by looking from one end: among those with the most places it
// is near, and never further than the mailbox is long.
func (b *mailbox) makeWay(m *message.Message) bool {
	if b.policy == block || b.policy == closeOnOverflow {
		return false
	}
	b.openBook()
	b.book.add(m.From)
	most := b.book.most
	if b.policy == dropNewest {
		if b.book.places[m.From] == most {
			b.book.remove(m.From)
			return false
		}
		for pos := b.tail; pos > b.head; pos-- {
			if b.isOfMost(pos-1, most) {
				b.evict(pos - 1)
				break
			}
		}
	} else {
		for pos := b.head; pos < b.tail; pos++ {
			if b.isOfMost(pos, most) {
				b.evict(pos)
				break
			}
		}
	}
	b.book.remove(m.From) // push adds it
	return true
}

func (b *mailbox) isOfMost(pos uint64, most int) bool {
	m := b.slot(pos).m
	return m != nil && b.book.places[m.From] == most
}

// keys finds the queued message of a key. Each has a number, so that an item
// need not hold the key.
type keys struct {
	numbers map[string]uint32
	entries []keyEntry // the first is not used: 0 is no number
	free    []uint32
}

type keyEntry struct {
	key string
	pos uint64
}

func newKeys() *keys {
	return &keys{numbers: make(map[string]uint32), entries: make([]keyEntry, 1)}
}

func (k *keys) find(key string) (pos uint64, ok bool) {
	n, ok := k.numbers[key]
	return k.entries[n].pos, ok
}

func (k *keys) add(key string, pos uint64) uint32 {
	var n uint32
	if last := len(k.free) - 1; last >= 0 {
		n = k.free[last]
		k.free = k.free[:last]
		k.entries[n] = keyEntry{key, pos}
	} else {
		n = uint32(len(k.entries))
		k.entries = append(k.entries, keyEntry{key, pos})
	}
	k.numbers[key] = n
	return n
}

func (k *keys) move(n uint32, pos uint64) { k.entries[n].pos = pos }

func (k *keys) remove(n uint32) {
	delete(k.numbers, k.entries[n].key)
	k.entries[n] = keyEntry{}
	k.free = append(k.free, n)
}

// replace puts m in the place of the queued message of the same key, if there
// is one. What it replaces was taken in and was lost for good: a copy of it is
// old, so it stays remembered.
func (b *mailbox) replace(m *message.Message, w *window, key string) bool {
	pos, ok := b.keys.find(key)
	if !ok {
		return false
	}
	it := b.slot(pos)
	if b.book != nil {
		b.book.remove(it.m.From)
		b.book.add(m.From)
	}
	it.m = m
	it.missed = saturate(uint64(it.missed) + 1)
	b.counts.accepted++
	b.counts.superseded++
	if w != nil {
		b.remember(m, w)
	}
	return true
}
