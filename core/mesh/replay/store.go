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
	// flushChanges is the number of changes that are stored without delay.
	flushChanges = 1024
	// maxChanges bounds the changes that wait while the store takes none: all that a
	// history may hold, and as much again.
	maxChanges = 2 * maxCount
)

// store is where the changes of a history are written, in the background. It stores,
// under /replay/<topic in base32>: each entry, under e/; what is known of each publisher,
// under p/; and how many publishers were forgotten, under f. See stored.go.
//
// Memory is the authority. If part of a batch is lost, the rest is still consistent: an
// entry counts as received, and a received number without its entry counts as dropped.
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

// begin starts writing what changes from now on.
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

// storeEntry schedules an entry to be stored.
func (h *History) storeEntry(r *record) {
	if h.store != nil {
		h.store.writer.Change(h.store.entryKey(r), func() []byte { return seal(r.append(nil)) })
	}
}

// unstoreEntry schedules an entry to be deleted.
func (h *History) unstoreEntry(r *record) {
	if h.store != nil {
		h.store.writer.Change(h.store.entryKey(r), nil)
	}
}

// dirty schedules what is known of a publisher to be stored, or to be deleted if it is
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

// storeAll schedules everything that is remembered to be stored.
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
