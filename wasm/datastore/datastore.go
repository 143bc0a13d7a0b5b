//go:build js

// Package datastore keeps a go-datastore in the browser's IndexedDB.
package datastore

import (
	"context"
	"fmt"
	"sync"
	"syscall/js"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"github.com/tombolo-net/tombolo/wasm/internal/indexeddb"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// ErrUnavailable is returned by Open if the platform has no IndexedDB, for example under
// Node.js.
var ErrUnavailable = indexeddb.ErrUnavailable

// store is the name of the only object store of a database.
const store = "values"

// Datastore is a database of the page's origin. Put and Commit return when the data is
// committed; a batch is stored as a whole or not at all. If the disk is full or the
// browser's quota is exhausted, writes fail with a QuotaExceededError. All methods may be
// called concurrently.
type Datastore struct {
	db        *indexeddb.DB
	closeOnce sync.Once
}

var _ ds.Batching = (*Datastore)(nil)

// Open opens the database with the given name and creates it if it does not exist. All
// tabs of the origin share it.
func Open(ctx context.Context, name string) (*Datastore, error) {
	db, err := indexeddb.Open(ctx, name, store)
	if err != nil {
		return nil, err
	}
	return &Datastore{db: db}, nil
}

// Close closes the database. Calls under way are finished; later calls of other methods
// fail.
func (d *Datastore) Close() error {
	d.closeOnce.Do(d.db.Close)
	return nil
}

// Get returns the value under key, or ds.ErrNotFound if there is none.
func (d *Datastore) Get(ctx context.Context, key ds.Key) ([]byte, error) {
	value, err := d.db.Get(ctx, store, key.String())
	if err == nil && value == nil {
		err = ds.ErrNotFound
	}
	return value, err
}

// Has reports whether there is a value under key.
func (d *Datastore) Has(ctx context.Context, key ds.Key) (bool, error) {
	n, err := d.db.Read(ctx, store, func(s js.Value) js.Value { return s.Call("count", key.String()) })
	return err == nil && n.Int() > 0, err
}

// GetSize returns the size of the value under key, in bytes, or ds.ErrNotFound if there is
// none.
func (d *Datastore) GetSize(ctx context.Context, key ds.Key) (int, error) {
	return ds.GetBackedSize(ctx, d, key)
}

// Put stores value under key. It returns when the value is committed.
func (d *Datastore) Put(ctx context.Context, key ds.Key, value []byte) error {
	return d.db.Put(ctx, store, key.String(), value)
}

// Delete deletes the value under key. It is not an error if there is none.
func (d *Datastore) Delete(ctx context.Context, key ds.Key) error {
	return d.db.Write(ctx, store, func(s js.Value) { s.Call("delete", key.String()) })
}

// Sync does nothing, because every write is already committed when it returns.
func (d *Datastore) Sync(context.Context, ds.Key) error { return nil }

// Query reads all entries under the prefix into memory at once and applies the filters
// and orders to them.
func (d *Datastore) Query(ctx context.Context, q query.Query) (query.Results, error) {
	under := js.Null()
	if prefix := ds.NewKey(q.Prefix).String(); prefix != "/" {
		// "0" is the character after "/", so the range is all keys that begin with the
		// prefix and a slash.
		under = js.Global().Get("IDBKeyRange").Call("bound", prefix+"/", prefix+"0", false, true)
	}
	var keys js.Value
	read := func(s js.Value) js.Value {
		keys = s.Call("getAllKeys", under)
		if q.KeysOnly && !q.ReturnsSizes {
			return keys
		}
		return s.Call("getAll", under) // same transaction and order; done after the keys
	}
	values, err := d.db.Read(ctx, store, read)
	if err != nil {
		return nil, err
	}
	keys = keys.Get("result")
	entries := make([]query.Entry, keys.Length())
	for i := range entries {
		key, ok := jsio.Text(keys.Index(i))
		if !ok {
			return nil, fmt.Errorf("key %d of %d in the database is not of a datastore: delete it", i+1, len(entries))
		}
		entries[i].Key = key
		if q.KeysOnly && !q.ReturnsSizes {
			continue
		}
		value, err := jsio.Bytes(values.Index(i), indexeddb.MaxValue)
		if err != nil {
			return nil, fmt.Errorf("what is stored under %q: %w", key, err)
		}
		entries[i].Size = len(value)
		if !q.KeysOnly {
			entries[i].Value = value
		}
	}
	return query.NaiveQueryApply(q, query.ResultsWithEntries(q, entries)), nil
}

// Batch returns a batch that collects changes. Its Commit makes them in one transaction.
func (d *Datastore) Batch(context.Context) (ds.Batch, error) {
	return &batch{d: d, changes: make(map[string][]byte)}, nil
}

type batch struct {
	d       *Datastore
	mu      sync.Mutex
	changes map[string][]byte // nil: delete
}

func (b *batch) Put(_ context.Context, key ds.Key, value []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes[key.String()] = append(make([]byte, 0, len(value)+1), value...) // not nil
	return nil
}

func (b *batch) Delete(_ context.Context, key ds.Key) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes[key.String()] = nil
	return nil
}

func (b *batch) Commit(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.changes) == 0 {
		return nil
	}
	err := b.d.db.Write(ctx, store, func(s js.Value) {
		for key, value := range b.changes {
			if value == nil {
				s.Call("delete", key)
			} else {
				s.Call("put", jsio.Uint8Array(value), key)
			}
		}
	})
	if err == nil {
		clear(b.changes)
	}
	return err
}

// Remove deletes the database with the given name, once no tab has it open.
func Remove(ctx context.Context, name string) error { return indexeddb.Remove(ctx, name) }
