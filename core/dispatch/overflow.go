package dispatch

import (
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// book counts the messages of each sender in a mailbox. It is made when a mailbox
// overflows, and dropped when the mailbox is empty again.
type book struct {
	places  map[peer.ID]int
	holders []int // by number of messages: how many senders have that many
	most    int   // the number of messages of the senders that have the most
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
	k.holders[n]-- // holders[0] is not kept right, and nobody reads it
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

// makeWay drops one message of a full mailbox, and reports whether that left room for the
// arriving one. If not, the arriving message is lost, and the caller counts it. To find a
// message of the senders with the most, makeWay looks from one end: such a message is
// near, and never further away than the mailbox is long.
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

// keys finds the queued message of a key. Each key has a number, so that an item need not
// hold the key itself.
type keys struct {
	numbers map[string]uint32
	entries []keyEntry // the first is not used: 0 means no number
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

// replace puts m in the place of the queued message of the same key, if there is one. The
// replaced message was taken and is lost for good: a copy of it would be old, so it stays
// remembered.
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
