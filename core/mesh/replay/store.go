package replay

import (
	"encoding/base32"
	"strconv"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/internal/behind"
)

// DefaultFlushDelay is the longest that a change waits to be stored.
const DefaultFlushDelay = behind.DefaultDelay

const (
	// flushChanges is how many changes are stored without delay.
	flushChanges = 1024
	// maxChanges bounds those that wait for a store that takes none: all that a
	// history may hold, and as much again.
	maxChanges = 2 * maxCount
)

// store is where a history's changes are written, behind it. What is stored, under
// /replay/<topic in base32>: an entry each, under e/; what is known of each
// publisher, under p/; and how many were forgotten, under f. See stored.go.
//
// Memory is the authority. Whatever of a batch is lost, the rest makes sense: an
// entry counts as had, and a number that was had without its entry as let go.
type store struct {
	ds     datastore.Batching
	prefix datastore.Key
	delay  time.Duration
	writer *behind.Writer // guarded by History.mu; nil until the history is kept here
}

func newStore(ds datastore.Batching, name string, delay time.Duration) *store {
	topic := base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(name))
	return &store{ds: ds, prefix: datastore.NewKey("/replay").ChildString(topic), delay: delay}
}

// begin writes what changes from now on.
func (s *store) begin(h *History) {
	s.writer = behind.New(s.ds, &h.mu, behind.Options{
		What: "a history", Delay: s.delay, Full: flushChanges, Most: maxChanges, Count: &h.written, Logger: h.log,
	})
}

func (s *store) entryKey(r *record) datastore.Key {
	return s.prefix.ChildString("e").ChildString(r.Publisher.String()).
		ChildString(strconv.FormatUint(r.ID.Epoch, 36)).ChildString(strconv.FormatUint(r.ID.Seq, 36))
}

func (s *store) publisherKey(id peer.ID) datastore.Key {
	return s.prefix.ChildString("p").ChildString(id.String())
}

func (s *store) forgottenKey() datastore.Key { return s.prefix.ChildString("f") }

// storeEntry has an entry stored.
func (h *History) storeEntry(r *record) {
	if h.store != nil {
		h.store.writer.Change(h.store.entryKey(r), func() []byte { return seal(r.append(nil)) })
	}
}

// unstoreEntry has an entry deleted.
func (h *History) unstoreEntry(r *record) {
	if h.store != nil {
		h.store.writer.Change(h.store.entryKey(r), nil)
	}
}

// dirty has what is known of a publisher stored, or deleted once it is
// forgotten.
func (h *History) dirty(p *publisher) {
	switch {
	case h.store == nil:
	case h.publishers[p.id] == p:
		h.store.writer.Change(h.store.publisherKey(p.id), func() []byte { return seal(p.append(nil)) })
	default:
		h.store.writer.Change(h.store.publisherKey(p.id), nil)
		h.storeForgotten()
	}
}

func (h *History) storeForgotten() {
	h.store.writer.Change(h.store.forgottenKey(), func() []byte { return seal(h.forgotten.append(nil)) })
}

// storeAll has all that is remembered stored.
func (h *History) storeAll() {
	for _, r := range h.ages {
		h.storeEntry(r)
	}
	for _, p := range h.publishers {
		h.dirty(p)
	}
	if h.forgotten.publishers > 0 {
		h.storeForgotten()
	}
}
