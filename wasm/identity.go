//go:build js

package wasm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall/js"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/wasm/internal/indexeddb"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// ErrNotPersistent is returned by PersistentIdentity if the platform cannot store a key:
// outside a secure context (https, or localhost), and in Node.js.
var ErrNotPersistent = errors.New("the platform cannot keep an identity here: it needs IndexedDB and Web Locks, which browsers offer only on https and localhost")

// An identity is used by one node at a time, because two peers with one ID would take
// each other's connections. The origin therefore stores as many identities as it ever had
// nodes at once, numbered from 0, and a node takes the first that no other tab or worker
// is using. A single tab is always number 0; a second one beside it is always number 1.
const (
	lockPrefix  = "tombolo identity "
	maxSlots    = 64
	database    = "tombolo"
	keyStore    = "identities"
	slotKeyName = "identity "
)

// PersistentIdentity takes the first free identity of this origin, and makes one if it
// does not exist yet. The returned part holds the identity's Web Lock, and is named after
// it. The identity is free again when the part, the tab or the worker is closed.
func PersistentIdentity(ctx context.Context) (crypto.PrivKey, core.Part, error) {
	// A platform that denies access to them may throw on reading the property.
	navigator, _ := jsio.Get(js.Global(), "navigator")
	locks, _ := jsio.Get(navigator, "locks")
	indexedDB, _ := jsio.Get(js.Global(), "indexedDB")
	if locks.Type() != js.TypeObject || indexedDB.Type() != js.TypeObject {
		return nil, core.Part{}, ErrNotPersistent
	}
	for slot := range maxSlots {
		release, err := tryLock(ctx, locks, fmt.Sprint(lockPrefix, slot))
		if err != nil {
			return nil, core.Part{}, fmt.Errorf("identity %d: %w", slot, err)
		}
		if release == nil {
			continue // in use
		}
		key, err := loadOrMakeKey(ctx, fmt.Sprint(slotKeyName, slot))
		if err != nil {
			return nil, core.Part{}, errors.Join(fmt.Errorf("identity %d: %w", slot, err), release())
		}
		return key, core.Part{Name: fmt.Sprint(lockPrefix, slot), Close: release}, nil
	}
	return nil, core.Part{}, fmt.Errorf("all %d identities of this origin are in use", maxSlots)
}

// tryLock takes a Web Lock. A nil release means that another tab or worker holds it.
func tryLock(ctx context.Context, locks js.Value, name string) (release func() error, err error) {
	granted := make(chan bool, 1)
	var onGrant, executor js.Func
	var resolve js.Value
	executor = jsio.NewFunc(func(_ js.Value, args []js.Value) any {
		resolve = args[0]
		return nil
	})
	held := js.Global().Get("Promise").New(executor) // the lock is held until it settles
	jsio.Release(executor)
	onGrant = jsio.NewFunc(func(_ js.Value, args []js.Value) any {
		jsio.Release(onGrant)
		if args[0].IsNull() {
			granted <- false
			return nil
		}
		granted <- true
		return held
	})
	request, err := jsio.Call(locks, "request", name, map[string]any{"ifAvailable": true}, onGrant)
	if err != nil {
		jsio.Release(onGrant)
		return nil, fmt.Errorf("web lock %q: %w", name, err)
	}
	over := make(chan error, 1) // the request settles when the lock is released
	go func() {
		_, err := jsio.Await(context.Background(), request)
		over <- err
	}()
	select {
	case ok := <-granted:
		if !ok {
			return nil, nil
		}
		return sync.OnceValue(func() error {
			resolve.Invoke()
			return <-over
		}), nil
	case err := <-over:
		return nil, fmt.Errorf("web lock %q: %w", name, err)
	case <-ctx.Done():
		resolve.Invoke()
		return nil, ctx.Err()
	}
}

func loadOrMakeKey(ctx context.Context, name string) (crypto.PrivKey, error) {
	db, err := indexeddb.Open(ctx, database, keyStore)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	stored, err := db.Get(ctx, keyStore, name)
	if err != nil {
		return nil, err
	}
	if stored != nil {
		key, err := crypto.UnmarshalPrivateKey(stored)
		if err != nil {
			return nil, fmt.Errorf("the key stored in IndexedDB %q, store %q, under %q is damaged (%w): delete it to get a new identity", database, keyStore, name, err)
		}
		return key, nil
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	b, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, db.Put(ctx, keyStore, name, b)
}
