//go:build js

package wasm

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDamagedKeyIsAnErrorAndStays(t *testing.T) {
	ctx := context.Background()
	_, held, err := PersistentIdentity(ctx) // makes the database
	if errors.Is(err, ErrNotPersistent) {
		t.Skip(err)
	}
	require.NoError(t, err)
	require.NoError(t, held.Close())
	db, err := openDatabase(ctx)
	require.NoError(t, err)
	defer db.close()
	const name = slotKeyName + "0"
	good, err := db.get(ctx, keyStore, name)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.put(ctx, keyStore, name, good)) }()
	for _, bad := range [][]byte{{}, []byte("not a key"), good[:len(good)-1]} {
		require.NoError(t, db.put(ctx, keyStore, name, bad))
		_, _, err = PersistentIdentity(ctx)
		require.ErrorContains(t, err, "damaged")
		still, err := db.get(ctx, keyStore, name)
		require.NoError(t, err)
		require.Equal(t, bad, still)
	}
	missing, err := db.get(ctx, keyStore, "nobody")
	require.NoError(t, err)
	require.Nil(t, missing)
}
