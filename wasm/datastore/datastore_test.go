//go:build js

package datastore_test

import (
	"context"
	"errors"
	"fmt"
	"syscall/js"
	"testing"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dstest "github.com/ipfs/go-datastore/test"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/wasm/datastore"
	"github.com/tombolo-net/tombolo/wasm/internal/indexeddb"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// open opens a database that is deleted at the end of the test.
func open(t *testing.T, name string) *datastore.Datastore {
	t.Helper()
	ctx := context.Background()
	d, err := datastore.Open(ctx, name)
	if errors.Is(err, datastore.ErrUnavailable) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, d.Close())
		assert.NoError(t, datastore.Remove(ctx, name))
	})
	return d
}

func TestConforms(t *testing.T) {
	dstest.ElemCount = 20 // few records in each test, because each takes a transaction
	before := jsio.LiveFuncs()
	d := open(t, "conforms")
	// This leaves out the combinations of filters and orders, which test code that is not
	// ours and take minutes.
	for _, test := range []func(*testing.T, ds.Datastore){
		dstest.SubtestBasicPutGet, dstest.SubtestNotFounds, dstest.SubtestPrefix, dstest.SubtestOrder, dstest.SubtestLimit,
		dstest.SubtestFilter, dstest.SubtestManyKeysAndQuery, dstest.SubtestReturnSizes, dstest.SubtestBasicSync,
	} {
		test(t, d)
	}
	for _, test := range dstest.BatchSubtests {
		test(t, d)
	}
	assert.Equal(t, before, jsio.LiveFuncs(), "functions are left behind")
}

func TestWhatWasCommittedIsThereWhenItIsOpenedAgain(t *testing.T) {
	ctx := context.Background()
	d := open(t, "again")
	b, err := d.Batch(ctx)
	require.NoError(t, err)
	for i := range 100 {
		require.NoError(t, b.Put(ctx, ds.NewKey(fmt.Sprintf("/x/%d", i)), []byte{byte(i)}))
	}
	require.NoError(t, b.Delete(ctx, ds.NewKey("/x/0")))
	require.NoError(t, b.Commit(ctx))
	require.NoError(t, d.Put(ctx, ds.NewKey("/empty"), nil))
	require.NoError(t, d.Close())

	again, err := datastore.Open(ctx, "again")
	require.NoError(t, err)
	defer again.Close()
	_, err = again.Get(ctx, ds.NewKey("/x/0"))
	require.ErrorIs(t, err, ds.ErrNotFound)
	for i := 1; i < 100; i++ {
		v, err := again.Get(ctx, ds.NewKey(fmt.Sprintf("/x/%d", i)))
		require.NoError(t, err)
		require.Equal(t, []byte{byte(i)}, v)
	}
	v, err := again.Get(ctx, ds.NewKey("/empty"))
	require.NoError(t, err)
	require.Empty(t, v)
}

func TestClosedOneSaysSo(t *testing.T) {
	ctx := context.Background()
	d := open(t, "closed")
	require.NoError(t, d.Close())
	require.NoError(t, d.Close())
	require.Error(t, d.Put(ctx, ds.NewKey("/a"), []byte("b")))
	_, err := d.Get(ctx, ds.NewKey("/a"))
	require.ErrorContains(t, err, `IndexedDB "closed"`)
}

// Another version of the program or a script of the page may have written such records.
func TestForeignRecordsAreErrorsThatNameThem(t *testing.T) {
	ctx := context.Background()
	d := open(t, "foreign")
	raw, err := indexeddb.Open(ctx, "foreign", "values")
	require.NoError(t, err)
	defer raw.Close()
	put := func(code string, key any) {
		v := js.Global().Get("Function").New("return " + code).Invoke()
		require.NoError(t, raw.Write(ctx, "values", func(s js.Value) { s.Call("put", v, key) }))
	}
	for _, code := range []string{`'text'`, `5`, `1n`, `null`, `undefined`, `[1]`, `({})`, `new Date()`, `new DataView(new ArrayBuffer(1))`, `new Blob(['x'])`} {
		put(code, "/a/b")
		_, err := d.Get(ctx, ds.NewKey("/a/b"))
		require.Error(t, err, code)
		_, err = d.GetSize(ctx, ds.NewKey("/a/b"))
		require.Error(t, err, code)
		_, err = d.Query(ctx, query.Query{Prefix: "/a"})
		require.ErrorContains(t, err, "/a/b", code)
	}
	put(`new Uint8Array([1, 2]).buffer`, "/a/b") // is accepted like a Uint8Array
	r, err := d.Query(ctx, query.Query{ReturnsSizes: true})
	require.NoError(t, err)
	all, err := r.Rest()
	require.NoError(t, err)
	require.Equal(t, []query.Entry{{Key: "/a/b", Value: []byte{1, 2}, Size: 2}}, all)
	put(`new Uint8Array(1)`, 5)
	_, err = d.Query(ctx, query.Query{})
	require.ErrorContains(t, err, "key 1 of 2")
	_, err = d.Query(ctx, query.Query{Prefix: "/a"})
	require.NoError(t, err, "it is not under the prefix")
}
