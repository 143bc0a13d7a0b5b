//go:build js

package wasm

import (
	"context"
	"fmt"
	"syscall/js"

	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// indexedDB is an open IndexedDB database.
type indexedDB struct{ js js.Value }

// openDatabase opens the origin's database, making its stores where needed.
func openDatabase(ctx context.Context) (*indexedDB, error) {
	request, err := jsio.Try(func() js.Value { return js.Global().Get("indexedDB").Call("open", database, dbVersion) })
	if err != nil {
		return nil, fmt.Errorf("open IndexedDB %q: %w", database, err)
	}
	upgrade := jsio.NewFunc(func(js.Value, []js.Value) any {
		request.Get("result").Call("createObjectStore", keyStore)
		return nil
	})
	defer jsio.Release(upgrade)
	request.Set("onupgradeneeded", upgrade)
	db, err := result(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("open IndexedDB %q: %w", database, err)
	}
	return &indexedDB{db}, nil
}

func (d *indexedDB) close() { d.js.Call("close") }

// get returns nil where there is nothing under key.
func (d *indexedDB) get(ctx context.Context, store, key string) ([]byte, error) {
	request, err := jsio.Try(func() js.Value {
		return d.js.Call("transaction", store, "readonly").Call("objectStore", store).Call("get", key)
	})
	if err != nil {
		return nil, err
	}
	v, err := result(ctx, request)
	if err != nil || v.IsUndefined() {
		return nil, err
	}
	if !jsio.IsBytes(v) {
		return nil, fmt.Errorf("IndexedDB %q, store %q: what lies under %q is not bytes", database, store, key)
	}
	return jsio.Bytes(v), nil
}

// put returns when the bytes are committed.
func (d *indexedDB) put(ctx context.Context, store, key string, value []byte) error {
	var tx js.Value
	if _, err := jsio.Try(func() js.Value {
		tx = d.js.Call("transaction", store, "readwrite")
		return tx.Call("objectStore", store).Call("put", jsio.Uint8Array(value), key)
	}); err != nil {
		return err
	}
	return settle(ctx, tx, "complete", "abort")
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
