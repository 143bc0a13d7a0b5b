//go:build js

package wasm

import (
	"context"
	"errors"
	"syscall/js"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/wasm/internal/indexeddb"
)

func TestDamagedKeyIsAnErrorAndStays(t *testing.T) {
	ctx := context.Background()
	_, held, err := PersistentIdentity(ctx) // creates the database
	if errors.Is(err, ErrNotPersistent) {
		t.Skip(err)
	}
	require.NoError(t, err)
	require.NoError(t, held.Close())
	db, err := indexeddb.Open(ctx, database, keyStore)
	require.NoError(t, err)
	defer db.Close()
	const name = slotKeyName + "0"
	good, err := db.Get(ctx, keyStore, name)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Put(ctx, keyStore, name, good)) }()
	for _, bad := range [][]byte{{}, []byte("not a key"), good[:len(good)-1]} {
		require.NoError(t, db.Put(ctx, keyStore, name, bad))
		_, _, err = PersistentIdentity(ctx)
		require.ErrorContains(t, err, "damaged")
		still, err := db.Get(ctx, keyStore, name)
		require.NoError(t, err)
		require.Equal(t, bad, still)
	}
	for _, bad := range []any{"text", 5, js.Null(), map[string]any{}} {
		require.NoError(t, db.Write(ctx, keyStore, func(s js.Value) { s.Call("put", bad, name) }))
		_, _, err = PersistentIdentity(ctx)
		require.ErrorContains(t, err, `"identity 0"`)
	}
	missing, err := db.Get(ctx, keyStore, "nobody")
	require.NoError(t, err)
	require.Nil(t, missing)
}
