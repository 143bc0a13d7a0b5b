//go:build js

package indexeddb_test

import (
	"context"
	"errors"
	"syscall/js"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/wasm/internal/indexeddb"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

func TestWriteThatFailsHalfwayLeavesNothing(t *testing.T) {
	ctx := context.Background()
	before := jsio.LiveFuncs()
	db, err := indexeddb.Open(ctx, "halfway", "values")
	if errors.Is(err, indexeddb.ErrUnavailable) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() {
		db.Close()
		assert.NoError(t, indexeddb.Remove(ctx, "halfway"))
		assert.Equal(t, before, jsio.LiveFuncs(), "functions are left behind")
	})
	err = db.Write(ctx, "values", func(s js.Value) {
		s.Call("put", jsio.Uint8Array([]byte("first")), "good")
		s.Call("put", jsio.Uint8Array([]byte("second")), map[string]any{}) // an object cannot be a key
	})
	require.ErrorContains(t, err, "DataError")
	require.ErrorContains(t, err, `IndexedDB "halfway", store "values"`)
	v, err := db.Get(ctx, "values", "good")
	require.NoError(t, err)
	require.Nil(t, v)
}

func TestWaitForTheDatabaseEndsWithItsContext(t *testing.T) {
	db, err := indexeddb.Open(context.Background(), "waiting", "values")
	if errors.Is(err, indexeddb.ErrUnavailable) {
		t.Skip(err)
	}
	require.NoError(t, err)
	defer func() {
		db.Close()
		require.NoError(t, indexeddb.Remove(context.Background(), "waiting"))
	}()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, db.Put(ctx, "values", "k", []byte("v")), context.Canceled)
	_, err = db.Get(ctx, "values", "k")
	require.ErrorIs(t, err, context.Canceled)
}
