// Package behind writes what changes in memory to a go-datastore, a little later and in
// batches: memory is the authority, and the store follows (write-behind).
//
// If a key changes many times, only its newest value is written. A batch is one
// transaction of the store, if the store has transactions. Only one batch is under way at
// a time. A crash loses no change that is older than the delay and one commit. If commits
// take longer than the delay, a change is safe after two commits: the one that was under
// way when it was made, and its own. A batch that fails is tried again, together with
// what has changed since.
package behind

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ipfs/go-datastore"
)

// DefaultDelay is the longest that a change waits to be written.
const DefaultDelay = time.Second

const (
	// maxBackoff bounds the time between two tries of a store that fails.
	maxBackoff = 30 * time.Second
	// closeTimeout bounds the last batch.
	closeTimeout = 10 * time.Second
)

// ErrClosed is returned by Flush after Close.
var ErrClosed = errors.New("the store is closed")

// ErrOlder is wrapped by the error of a store in which another writer has taken over. A
// Writer then gives up all its changes and does not try again.
var ErrOlder = errors.New("a newer epoch is registered")

// Options of a Writer.
type Options struct {
	// What names what is written, for errors and the log: "a history".
	What string
	// Delay is the longest that a change waits. If zero, DefaultDelay.
	Delay time.Duration
	// Full is how many changes are written without delay. If zero, all wait.
	Full int
	// Most bounds the changes that wait while the store takes none. Further changes are
	// given up and counted. If zero, only the number of keys bounds them.
	Most int
	// Count receives the counts. The lock given to New guards it.
	Count *Stats
	// Logger, if nil, is silent.
	Logger *slog.Logger
}

// Stats counts what became of the changes.
type Stats struct {
	Written  uint64 // changes
	Batches  uint64 // that the store took
	Failures uint64 // batches that it did not take; they are tried again
	GivenUp  uint64 // changes beyond Options.Most, and those after ErrOlder
}

// Writer writes behind. Each method says whether it is called with the lock held.
type Writer struct {
	store datastore.Batching
	opts  Options

	mu sync.Locker // the owner's
	// changes wait to be written: each function returns the value; nil deletes the key.
	changes map[datastore.Key]func() []byte
	first   time.Time    // when the first of them was made
	flushes []chan error // of the calls of Flush that wait for the next batch
	closed  bool
	older   error // wraps ErrOlder, once the store has said so

	wake   chan struct{} // there are changes
	hurry  chan struct{} // there are many, or somebody waits
	stop   chan struct{}
	done   chan struct{}
	cancel context.CancelFunc // gives up on a store that hangs
	err    error              // of the last batch; only run may use it before done is closed
}

// New returns a Writer to store. mu is the lock that guards what the values are made
// from.
func New(store datastore.Batching, mu sync.Locker, opts Options) *Writer {
	if opts.Delay <= 0 {
		opts.Delay = DefaultDelay
	}
	if opts.Count == nil {
		opts.Count = new(Stats)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &Writer{
		store: store, opts: opts, mu: mu, cancel: cancel,
		changes: make(map[datastore.Key]func() []byte),
		wake:    make(chan struct{}, 1), hurry: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	go w.run(ctx)
	return w
}

// Change schedules a key to be written. value is called once, with the lock held, when
// its batch is made. If value is nil, the key is deleted. The lock is held during the
// call.
func (w *Writer) Change(k datastore.Key, value func() []byte) {
	if _, known := w.changes[k]; w.older != nil || !known && w.opts.Most > 0 && len(w.changes) >= w.opts.Most {
		w.opts.Count.GivenUp++
		return
	}
	if len(w.changes) == 0 {
		w.first = time.Now()
	}
	w.changes[k] = value
	signal(w.wake)
	if w.opts.Full > 0 && len(w.changes) >= w.opts.Full {
		signal(w.hurry)
	}
}

// Set is like Change, for a value that is known already. It is not copied; nil deletes
// the key.
func (w *Writer) Set(k datastore.Key, value []byte) {
	if value == nil {
		w.Change(k, nil)
		return
	}
	w.Change(k, func() []byte { return value })
}

// Flush returns nil when all earlier changes are in the store, or else the error of the
// batch that they were part of. They are then tried again, unless the error wraps
// ErrOlder. The lock is not held during the call.
func (w *Writer) Flush(ctx context.Context) error {
	written := make(chan error, 1)
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	if w.older != nil {
		w.mu.Unlock()
		return w.older
	}
	w.flushes = append(w.flushes, written)
	signal(w.wake)
	signal(w.hurry)
	w.mu.Unlock()
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		return fmt.Errorf("store %s: %w", w.opts.What, ctx.Err())
	}
}

// Close writes the remaining changes and waits for that, at most ten seconds. The error
// says what could not be written. It must be called only once, without the lock.
func (w *Writer) Close() error {
	defer w.cancel()
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	close(w.stop)
	t := time.NewTimer(closeTimeout)
	defer t.Stop()
	select {
	case <-w.done:
		if w.err != nil {
			return fmt.Errorf("store what is left of %s: %w", w.opts.What, w.err)
		}
		return nil
	case <-t.C:
		return fmt.Errorf("store what is left of %s: the store does not answer", w.opts.What)
	}
}

// run writes until Close.
func (w *Writer) run(ctx context.Context) {
	defer close(w.done)
	backoff := w.opts.Delay
	for stopping := false; !stopping; {
		if w.err == nil { // else there are changes already
			select {
			case <-w.wake:
			case <-w.stop:
			}
		}
		stopping = w.linger(backoff)
		if w.err = w.flush(ctx); w.err == nil {
			backoff = w.opts.Delay
			continue
		}
		if errors.Is(w.err, ErrOlder) {
			w.opts.Logger.Warn("another writer has taken over: nothing more is stored", "what", w.opts.What, "error", w.err)
			if !stopping {
				<-w.stop
			}
			return
		}
		w.opts.Logger.Warn("the store does not take what changed", "what", w.opts.What, "error", w.err, "lost", stopping)
		backoff = min(2*backoff, maxBackoff)
	}
}

// linger waits for changes to gather, and reports whether the writer is closing. After a
// failure it waits however many changes there are, unless a Flush waits for them.
func (w *Writer) linger(backoff time.Duration) (stopping bool) {
	wait := backoff
	if w.err == nil {
		w.mu.Lock()
		wait = time.Until(w.first.Add(w.opts.Delay))
		w.mu.Unlock()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return false
		case <-w.hurry:
			if w.err == nil || w.isAwaited() {
				return false
			}
		case <-w.stop:
			return true
		}
	}
}

func (w *Writer) isAwaited() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.flushes) > 0
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// change is a change that is ready to be written; without a value it deletes the key.
type change struct {
	key   datastore.Key
	value []byte
}

// flush writes the waiting changes.
func (w *Writer) flush(ctx context.Context) error {
	all, flushes := w.gather()
	var err error
	if len(all) > 0 {
		err = w.write(ctx, all)
		w.settle(all, err)
	}
	for _, f := range flushes {
		f <- err
	}
	return err
}

// settle counts the changes that were written, and schedules the others again.
func (w *Writer) settle(all []change, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.opts.Count.Written += uint64(len(all))
		w.opts.Count.Batches++
		return
	}
	w.opts.Count.Failures++
	if errors.Is(err, ErrOlder) {
		w.giveUp(len(all), err)
		return
	}
	for _, c := range all {
		if _, newer := w.changes[c.key]; !newer {
			w.Set(c.key, c.value)
		}
	}
}

// giveUp drops all waiting changes, and counts the given number besides.
func (w *Writer) giveUp(changes int, err error) {
	w.older = err
	w.opts.Count.GivenUp += uint64(changes + len(w.changes))
	clear(w.changes)
	for _, f := range w.flushes {
		f <- err
	}
	w.flushes = nil
}

func (w *Writer) gather() ([]change, []chan error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]change, 0, len(w.changes))
	for k, value := range w.changes {
		c := change{key: k}
		if value != nil {
			if c.value = value(); c.value == nil {
				c.value = []byte{}
			}
		}
		all = append(all, c)
	}
	clear(w.changes)
	flushes := w.flushes
	w.flushes = nil
	return all, flushes
}

func (w *Writer) write(ctx context.Context, all []change) error {
	batch, err := w.store.Batch(ctx)
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
	return w.store.Sync(ctx, datastore.NewKey("/"))
}
