// Package store is a go-datastore in one file, for a node that runs as a process. The
// file is a bbolt database: whatever kills the process, committed data is kept, and a
// batch is stored as a whole or not at all.
package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// fileName is the file name of the store in a data directory.
const fileName = "histories.db"

// fileMode lets only the owner read the file.
const fileMode = 0o600

// lockTimeout is how long Open waits for another process to close the file.
const lockTimeout = time.Second

var values = []byte("values") // the one bucket

// DamagedError is returned for a file that is not a store, or not a valid one any more.
// The file is not changed.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the store %s is damaged (%v): move it away to begin an empty one", e.Path, e.Err)
}

// Unwrap returns the underlying error.
func (e *DamagedError) Unwrap() error { return e.Err }

// Store is an open store. All methods may be called concurrently.
type Store struct {
	db        *bolt.DB
	path      string
	closeOnce sync.Once
	closeErr  error
}

var _ ds.Batching = (*Store)(nil)

// Open opens the store in a file, and creates the file if it does not exist. If the file
// is not a valid store, the error is a *DamagedError.
func Open(path string) (_ *Store, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open store: %w", err)
		}
	}()
	s := &Store{path: path}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, &DamagedError{Path: path, Err: errors.New("it is not a regular file")} // bbolt would block on a pipe
	}
	err = s.guard(func() error {
		db, err := bolt.Open(path, fileMode, &bolt.Options{Timeout: lockTimeout})
		if err != nil {
			return err
		}
		s.db = db
		return s.begin()
	})
	if err == nil {
		return s, nil
	}
	if s.db != nil {
		err = errors.Join(err, s.guard(s.db.Close))
	}
	var damaged *DamagedError
	var system syscall.Errno
	if !errors.As(err, &damaged) && !errors.As(err, &system) && !errors.Is(err, bolterrors.ErrTimeout) {
		err = &DamagedError{Path: path, Err: err} // bbolt has no single error for files that are not databases
	}
	return nil, err
}

// OpenIn opens the store of a data directory that this process has locked. If dir is
// empty, it returns a store that keeps nothing.
func OpenIn(dir string) (ds.Batching, error) {
	if dir == "" {
		return ds.NewNullDatastore(), nil
	}
	return Open(filepath.Join(dir, fileName))
}

// begin checks the file and creates the bucket.
func (s *Store) begin() error {
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if err := s.db.View(func(tx *bolt.Tx) error {
		if tx.Size() > info.Size() { // it was truncated: nothing must be written to it
			return fmt.Errorf("%d bytes are %d too few", info.Size(), tx.Size()-info.Size())
		}
		return checkPages(tx)
	}); err != nil {
		return err
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(values)
		return err
	})
}

// checkPages checks the header of every page. Rewriting a page that claims to extend
// beyond the end of the file would use up all memory.
func checkPages(tx *bolt.Tx) error {
	pages := int(tx.Size()) / tx.DB().Info().PageSize
	for id := 0; id < pages; id++ {
		page, err := tx.Page(id)
		if err != nil || page == nil {
			return err
		}
		if page.Type == "free" { // its header is stale
			continue
		}
		if page.OverflowCount >= pages-id {
			return fmt.Errorf("page %d of %d says that it is followed by %d more", id, pages, page.OverflowCount)
		}
		id += page.OverflowCount
	}
	return nil
}

// guard converts to an error both the panic that bbolt raises on a damaged page, and the
// fault of reading beyond the end of a truncated file.
func (s *Store) guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = &DamagedError{Path: s.path, Err: fmt.Errorf("%v", r)}
		}
	}()
	return f()
}

func (s *Store) view(ctx context.Context, f func(b *bolt.Bucket) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error { return f(tx.Bucket(values)) })
	})
}

func (s *Store) update(ctx context.Context, f func(b *bolt.Bucket) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.guard(func() error {
		return s.db.Update(func(tx *bolt.Tx) error { return f(tx.Bucket(values)) })
	})
}

// Close waits for calls in progress, and closes the store. Later calls of other methods
// fail.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.guard(s.db.Close) })
	return s.closeErr
}

// Get returns the value of a key, or ds.ErrNotFound if there is none.
func (s *Store) Get(ctx context.Context, key ds.Key) (value []byte, err error) {
	err = s.view(ctx, func(b *bolt.Bucket) error {
		v := b.Get(key.Bytes())
		if v == nil {
			return ds.ErrNotFound
		}
		value = bytes.Clone(v)
		return nil
	})
	return value, err
}

// Has reports whether a key has a value.
func (s *Store) Has(ctx context.Context, key ds.Key) (has bool, err error) {
	err = s.view(ctx, func(b *bolt.Bucket) error {
		has = b.Get(key.Bytes()) != nil
		return nil
	})
	return has, err
}

// GetSize returns the number of bytes of a key's value.
func (s *Store) GetSize(ctx context.Context, key ds.Key) (int, error) {
	return ds.GetBackedSize(ctx, s, key)
}

// Put returns when the value is on disk.
func (s *Store) Put(ctx context.Context, key ds.Key, value []byte) error {
	return s.update(ctx, func(b *bolt.Bucket) error { return b.Put(key.Bytes(), value) })
}

// Delete deletes a key. A missing key is not an error.
func (s *Store) Delete(ctx context.Context, key ds.Key) error {
	return s.update(ctx, func(b *bolt.Bucket) error { return b.Delete(key.Bytes()) })
}

// Sync does nothing: every write is on disk when it returns.
func (s *Store) Sync(context.Context, ds.Key) error { return nil }

// Query reads all entries under the prefix at once, and applies filters and orders to
// them.
func (s *Store) Query(ctx context.Context, q query.Query) (query.Results, error) {
	prefix := ds.NewKey(q.Prefix).String()
	if prefix != "/" {
		prefix += "/"
	}
	var entries []query.Entry
	err := s.view(ctx, func(b *bolt.Bucket) error {
		c := b.Cursor()
		for k, v := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
			e := query.Entry{Key: string(k), Size: len(v)}
			if !q.KeysOnly {
				e.Value = bytes.Clone(v)
			}
			entries = append(entries, e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return query.NaiveQueryApply(q, query.ResultsWithEntries(q, entries)), nil
}

// Batch returns a batch that collects changes; Commit applies them in one transaction.
func (s *Store) Batch(context.Context) (ds.Batch, error) { return &batch{s: s}, nil }

type batch struct {
	s       *Store
	mu      sync.Mutex
	changes []func(*bolt.Bucket) error
}

func (b *batch) add(change func(*bolt.Bucket) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes = append(b.changes, change)
	return nil
}

func (b *batch) Put(_ context.Context, key ds.Key, value []byte) error {
	value = slices.Clone(value)
	return b.add(func(to *bolt.Bucket) error { return to.Put(key.Bytes(), value) })
}

func (b *batch) Delete(_ context.Context, key ds.Key) error {
	return b.add(func(from *bolt.Bucket) error { return from.Delete(key.Bytes()) })
}

func (b *batch) Commit(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.s.update(ctx, func(to *bolt.Bucket) error {
		for _, change := range b.changes {
			if err := change(to); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		b.changes = nil
	}
	return err
}
