package replay

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/peer"
)

// DefaultFlushDelay is the longest that a change waits to be stored.
const DefaultFlushDelay = time.Second

const (
	// flushChanges is how many changes are stored without delay.
	flushChanges = 1024
	// maxChanges bounds those that wait for a store that takes none: all that a
	// history may hold, and as much again.
	maxChanges = 2 * maxCount
	// maxBackoff bounds the time between two tries of a store that fails.
	maxBackoff = 30 * time.Second
	// closeTimeout bounds the last flush.
	closeTimeout = 10 * time.Second
)

// store writes a history's changes behind it. What is stored, under
// /replay/<topic in base32>: an entry each, under e/; what is known of each
// publisher, under p/; and how many were forgotten, under f. See stored.go.
//
// Memory is the authority. Whatever of a batch is lost, the rest makes sense: an
// entry counts as had, and a number that was had without its entry as let go.
type store struct {
	ds     datastore.Batching
	prefix datastore.Key
	delay  time.Duration

	// changes wait to be written: what gives the value, or nil to delete.
	// History.mu guards them, and is held when a value is asked for.
	changes map[datastore.Key]func() []byte

	wake   chan struct{} // there are changes
	full   chan struct{} // there are many
	stop   chan struct{}
	done   chan struct{}
	cancel context.CancelFunc // gives up on a store that hangs
	err    error              // of the last flush; of writeBehind, and after done of all
}

func newStore(ds datastore.Batching, name string, delay time.Duration) *store {
	if delay <= 0 {
		delay = DefaultFlushDelay
	}
	topic := base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(name))
	return &store{
		ds:      ds,
		prefix:  datastore.NewKey("/replay").ChildString(topic),
		delay:   delay,
		changes: make(map[datastore.Key]func() []byte),
		wake:    make(chan struct{}, 1),
		full:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
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
		h.change(h.store, h.store.entryKey(r), func() []byte { return seal(r.append(nil)) })
	}
}

// unstoreEntry has an entry deleted.
func (h *History) unstoreEntry(r *record) {
	if h.store != nil {
		h.change(h.store, h.store.entryKey(r), nil)
	}
}

// dirty has what is known of a publisher stored, or deleted once it is
// forgotten.
func (h *History) dirty(p *publisher) {
	switch {
	case h.store == nil:
	case h.publishers[p.id] == p:
		h.change(h.store, h.store.publisherKey(p.id), func() []byte { return seal(p.append(nil)) })
	default:
		h.change(h.store, h.store.publisherKey(p.id), nil)
		h.storeForgotten()
	}
}

func (h *History) storeForgotten() {
	h.change(h.store, h.store.forgottenKey(), func() []byte { return seal(h.forgotten.append(nil)) })
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

func (h *History) change(s *store, k datastore.Key, value func() []byte) {
	if _, known := s.changes[k]; !known && len(s.changes) >= maxChanges {
		h.stats.Unwritten++
		return
	}
	s.changes[k] = value
	signal(s.wake)
	if len(s.changes) >= flushChanges {
		signal(s.full)
	}
}

// writeBehind stores what changes, until s is closed.
func (h *History) writeBehind(ctx context.Context, s *store) {
	defer close(s.done)
	delay := s.delay
	for stopping := false; !stopping; {
		if s.err == nil { // else something waits already
			select {
			case <-s.wake:
			case <-s.stop:
			}
		}
		stopping = s.linger(delay)
		if s.err = h.flush(ctx, s); s.err == nil {
			delay = s.delay
			continue
		}
		h.log.Warn("replay: the store does not take what changed", "err", s.err, "given up", stopping)
		delay = min(2*delay, maxBackoff)
	}
}

// linger lets changes gather, and says whether it was the last time. After a
// failure it waits however many they are.
func (s *store) linger(d time.Duration) (stopping bool) {
	full := s.full
	if s.err != nil {
		full = nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-full:
	case <-s.stop:
		return true
	}
	return false
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// change is one that is ready to be written; without a value it deletes.
type change struct {
	key   datastore.Key
	value []byte
}

// flush stores the changes that wait.
func (h *History) flush(ctx context.Context, s *store) error {
	all := h.gather(s)
	if len(all) == 0 {
		return nil
	}
	err := s.write(ctx, all)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.stats.Written += uint64(len(all))
		return nil
	}
	h.stats.WriteFailures++
	for _, c := range all {
		if _, newer := s.changes[c.key]; newer {
			continue
		}
		var value func() []byte
		if c.value != nil {
			value = func() []byte { return c.value }
		}
		h.change(s, c.key, value)
	}
	return err
}

func (h *History) gather(s *store) []change {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]change, 0, len(s.changes))
	for k, value := range s.changes {
		c := change{key: k}
		if value != nil {
			c.value = value()
		}
		all = append(all, c)
	}
	clear(s.changes)
	return all
}

func (s *store) write(ctx context.Context, all []change) error {
	batch, err := s.ds.Batch(ctx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.value == nil {
			err = batch.Delete(ctx, c.key)
		} else {
			err = batch.Put(ctx, c.key, c.value)
		}
		if err != nil {
			return err
		}
	}
	if err := batch.Commit(ctx); err != nil {
		return err
	}
	return s.ds.Sync(ctx, s.prefix)
}

// close flushes and waits for that.
func (s *store) close() error {
	defer s.cancel()
	close(s.stop)
	t := time.NewTimer(closeTimeout)
	defer t.Stop()
	select {
	case <-s.done:
		if s.err != nil {
			return fmt.Errorf("store what is left of a history: %w", s.err)
		}
		return nil
	case <-t.C:
		return errors.New("store what is left of a history: the store does not answer")
	}
}
