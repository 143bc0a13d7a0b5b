package replay_test

import (
	"context"
	"testing"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/mesh/replay"
)

func TestErasedHistoryLeavesNothingInTheStore(t *testing.T) {
	ctx := context.Background()
	store := dssync.MutexWrap(datastore.NewMapDatastore())
	p := newPublisher(t)
	for _, name := range []string{"a", "a/b"} {
		h, err := replay.Open(ctx, name, replay.HistoryOptions{Store: store})
		require.NoError(t, err)
		p.add(h, 1, 1, 3)
		require.NoError(t, h.Close())
	}
	names, err := replay.Names(ctx, store)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"a", "a/b"}, names)
	require.NoError(t, replay.Erase(ctx, store, "a"))
	names, err = replay.Names(ctx, store)
	require.NoError(t, err)
	assert.Equal(t, []string{"a/b"}, names)
	h, err := replay.Open(ctx, "a/b", replay.HistoryOptions{Store: store})
	require.NoError(t, err)
	assert.Equal(t, 3, h.Stats().Entries)
	require.NoError(t, h.Close())
}
