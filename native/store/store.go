// Package store keeps a go-datastore in one file, for a node that runs as a
// process. The file is a bbolt database: whatever kills the process, what was
// committed is there, and a batch is there as a whole or not at all.
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

// fileName is the store's in a data directory.
const fileName = "histories.db"

// fileMode lets nobody but the owner read.
const fileMode = 0o600

// lockTimeout is how long Open waits for another process to let go of the file.
const lockTimeout = time.Second

var values = []byte("values") // the one bucket

// DamagedError says that a file is not a store, or is one no longer. It is left as
// it is.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the store %s is damaged (%v): move it away to begin an empty one", e.Path, e.Err)
}

// Unwrap returns what was found.
func (e *DamagedError) Unwrap() error { return e.Err }

// Store is an open store. All methods may be called concurrently.
type Store struct {
	db        *bolt.DB
	path      string
	closeOnce sync.Once
	closeErr  error
}

var _ ds.Batching = (*Store)(nil)

// Open opens the store in a file, and makes it if it does not exist. A file that cannot be
// one is a *DamagedError.
func Open(path string) (_ *Store, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open store: %w", err)
		}
	}()
	s := &Store{path: path}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, &DamagedError{Path: path, Err: errors.New("it is not a regular file")} // bbolt would wait for a pipe
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
		err = &DamagedError{Path: path, Err: err} // bbolt has no one error for what is no database
	}
	return nil, err
}

// OpenIn opens the store of a data directory that this process has to itself.
// Without a directory, it is one that keeps nothing.
func OpenIn(dir string) (ds.Batching, error) {
	if dir == "" {
		return ds.NewNullDatastore(), nil
	}
	return Open(filepath.Join(dir, fileName))
}

// begin checks the file and makes the bucket.
func (s *Store) begin() error {
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if err := s.db.View(func(tx *bolt.Tx) error {
		if tx.Size() > info.Size() { // it was cut: nothing must be written to it
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

// checkPages looks at the head of every page. One that says that it goes on
// beyond the file's end would take all memory when it is to be written anew.
func checkPages(tx *bolt.Tx) error {
	pages := int(tx.Size()) / tx.DB().Info().PageSize
	for id := 0; id < pages; id++ {
		page, err := tx.Page(id)
		if err != nil || page == nil {
			return err
		}
		if page.Type == "free" { // its head is an old one
			continue
		}
		if page.OverflowCount >= pages-id {
			return fmt.Errorf("page %d of %d says that it is followed by %d more", id, pages, page.OverflowCount)
		}
		id += page.OverflowCount
	}
	return nil
}

// guard makes an error of the panic that bbolt answers a damaged page with, and
// of the fault that reading beyond the end of a file is that was cut.
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

// Close waits for what is under way. Later calls of other methods fail.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.guard(s.db.Close) })
	return s.closeErr
}

// Get returns ds.ErrNotFound where there is nothing under key.
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

// Has says whether there is something under key.
func (s *Store) Has(ctx context.Context, key ds.Key) (has bool, err error) {
	err = s.view(ctx, func(b *bolt.Bucket) error {
		has = b.Get(key.Bytes()) != nil
		return nil
	})
	return has, err
}

// GetSize is the number of bytes under key.
func (s *Store) GetSize(ctx context.Context, key ds.Key) (int, error) {
	return ds.GetBackedSize(ctx, s, key)
}

// Put returns when the value is on disk.
func (s *Store) Put(ctx context.Context, key ds.Key, value []byte) error {
	return s.update(ctx, func(b *bolt.Bucket) error { return b.Put(key.Bytes(), value) })
}

// Delete is not an error where there is nothing under key.
func (s *Store) Delete(ctx context.Context, key ds.Key) error {
	return s.update(ctx, func(b *bolt.Bucket) error { return b.Delete(key.Bytes()) })
}

// Sync has nothing to do: what was written is on disk.
func (s *Store) Sync(context.Context, ds.Key) error { return nil }

// Query reads all that lies under the prefix at once; filters and orders are
// applied to that.
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

// Batch collects changes; Commit makes them in one transaction.
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
