//go:build js

// Package indexeddb accesses the browser's database, for values that are bytes under keys
// that are strings.
package indexeddb

import (
	"context"
	"errors"
	"fmt"
	"syscall/js"
	"time"

	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// ErrUnavailable is returned by Open if the platform has no IndexedDB, for example
// Node.js, or denies access to it here.
var ErrUnavailable = errors.New("the platform has no IndexedDB here")

// version is the version of each database's layout: one set of stores, made with the
// database.
const version = 1

// MaxValue is the maximum size of a value that is read, in bytes: far more than any of
// ours.
const MaxValue = 64 << 20

// openTimeout is how long a browser may take to open a database. One whose storage is
// damaged may never answer.
const openTimeout = 30 * time.Second

// DB is an open database. Its methods may be called concurrently.
type DB struct {
	js   js.Value
	name string
}

// Open opens a database of this origin, and creates it with its stores if it does not
// exist.
func Open(ctx context.Context, name string, stores ...string) (*DB, error) {
	factory, _ := jsio.Get(js.Global(), "indexedDB") // reading the property throws if a browser denies access
	if factory.Type() != js.TypeObject {
		return nil, ErrUnavailable
	}
	request, err := jsio.Try(func() js.Value { return factory.Call("open", name, version) })
	if err != nil {
		return nil, fmt.Errorf("open IndexedDB %q: %w", name, err)
	}
	upgrade := jsio.NewFunc(func(js.Value, []js.Value) any {
		for _, store := range stores {
			request.Get("result").Call("createObjectStore", store)
		}
		return nil
	})
	defer jsio.Release(upgrade)
	request.Set("onupgradeneeded", upgrade)
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	db, err := result(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("open IndexedDB %q: %w", name, err)
	}
	return &DB{db, name}, nil
}

// Remove deletes a database, once no tab has it open any more.
func Remove(ctx context.Context, name string) error {
	factory, _ := jsio.Get(js.Global(), "indexedDB") // reading the property throws if a browser denies access
	if factory.Type() != js.TypeObject {
		return ErrUnavailable
	}
	request, err := jsio.Try(func() js.Value { return factory.Call("deleteDatabase", name) })
	if err == nil {
		_, err = result(ctx, request)
	}
	if err != nil {
		return fmt.Errorf("delete IndexedDB %q: %w", name, err)
	}
	return nil
}

// Close closes the database. Requests in progress are finished.
func (d *DB) Close() { d.js.Call("close") }

// Get returns the value of a key, or nil if there is none.
func (d *DB) Get(ctx context.Context, store, key string) ([]byte, error) {
	v, err := d.Read(ctx, store, func(s js.Value) js.Value { return s.Call("get", key) })
	if err != nil || v.IsUndefined() {
		return nil, err
	}
	b, err := jsio.Bytes(v, MaxValue)
	if err != nil {
		return nil, fmt.Errorf("IndexedDB %q, store %q: what is stored under %q: %w", d.name, store, key, err)
	}
	return b, nil
}

// Put returns when the value is committed.
func (d *DB) Put(ctx context.Context, store, key string, value []byte) error {
	return d.Write(ctx, store, func(s js.Value) { s.Call("put", jsio.Uint8Array(value), key) })
}

// Read makes a request to a store and waits for its result.
func (d *DB) Read(ctx context.Context, store string, request func(store js.Value) js.Value) (js.Value, error) {
	r, err := jsio.Try(func() js.Value {
		return request(d.js.Call("transaction", store, "readonly").Call("objectStore", store))
	})
	if err != nil {
		return js.Undefined(), d.failed(store, err)
	}
	v, err := result(ctx, r)
	if err != nil {
		return js.Undefined(), d.failed(store, err)
	}
	return v, nil
}

// Write makes requests to a store in one transaction, and returns when all of it is
// committed. On error nothing is committed; only if the error is that of ctx, it is
// unknown whether the transaction was.
func (d *DB) Write(ctx context.Context, store string, requests func(store js.Value)) error {
	var tx js.Value
	if _, err := jsio.Try(func() js.Value {
		tx = d.js.Call("transaction", store, "readwrite")
		requests(tx.Call("objectStore", store))
		return js.Undefined()
	}); err != nil {
		if !tx.IsUndefined() { // otherwise the requests made before would be committed
			_, _ = jsio.Try(func() js.Value { return tx.Call("abort") })
		}
		return d.failed(store, err)
	}
	if err := settle(ctx, tx, "complete", "abort"); err != nil {
		return d.failed(store, err)
	}
	return nil
}

func (d *DB) failed(store string, err error) error {
	return fmt.Errorf("IndexedDB %q, store %q: %w", d.name, store, err)
}

// result waits for an IDBRequest.
func result(ctx context.Context, request js.Value) (js.Value, error) {
	if err := settle(ctx, request, "success", "error"); err != nil {
		return js.Undefined(), err
	}
	return request.Get("result"), nil
}

// settle waits for one of two events.
func settle(ctx context.Context, target js.Value, good, bad string) error {
	done := make(chan error, 1)
	onGood := jsio.NewFunc(func(js.Value, []js.Value) any {
		done <- nil
		return nil
	})
	onBad := jsio.NewFunc(func(js.Value, []js.Value) any {
		done <- jsio.AsError(target.Get("error"))
		return nil
	})
	target.Set("on"+good, onGood)
	target.Set("on"+bad, onBad)
	defer func() {
		target.Set("on"+good, js.Null())
		target.Set("on"+bad, js.Null())
		jsio.Release(onGood)
		jsio.Release(onBad)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
