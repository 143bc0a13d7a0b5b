package store_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dstest "github.com/ipfs/go-datastore/test"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/store"
)

const childEnv = "TOMBOLO_STORE_TEST_CHILD"

// TestMain is also a child process of the tests. It writes batches forever, each of ten
// records with the number of the batch, and prints the number of each committed batch.
func TestMain(m *testing.M) {
	if path := os.Getenv(roomEnv); path != "" {
		keepRoom(path)
	}
	path := os.Getenv(childEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	ctx := context.Background()
	s, err := store.Open(path)
	if err != nil {
		panic(err)
	}
	for n := uint64(1); ; n++ {
		b, _ := s.Batch(ctx)
		for i := range 10 {
			_ = b.Put(ctx, ds.NewKey(fmt.Sprintf("/%d/%d", n, i)), binary.BigEndian.AppendUint64(nil, n))
		}
		if err := b.Commit(ctx); err != nil {
			panic(err)
		}
		fmt.Println(n)
	}
}

func open(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

func TestConforms(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "s.db"))
	store.NoSync(s)
	dstest.SubtestAll(t, s)
}

func TestWhatWasCommittedSurvivesAKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+path)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(out)
	committed := 0
	for lines.Scan() {
		committed, err = strconv.Atoi(lines.Text())
		require.NoError(t, err)
		if committed == 20 {
			require.NoError(t, child.Process.Kill())
		}
	}
	_ = child.Wait()
	require.GreaterOrEqual(t, committed, 20)

	s := open(t, path)
	results, err := s.Query(t.Context(), query.Query{})
	require.NoError(t, err)
	all, err := results.Rest()
	require.NoError(t, err)
	of := make(map[uint64]int)
	for _, e := range all {
		of[binary.BigEndian.Uint64(e.Value)]++
	}
	for n := range committed {
		require.Equal(t, 10, of[uint64(n+1)], "batch %d", n+1)
	}
	for n, records := range of {
		require.Equal(t, 10, records, "batch %d is there in part", n)
	}
}

func TestDamagedStoreIsNamedAndLeftAsItIs(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.db")
	s, err := store.Open(good)
	require.NoError(t, err)
	for i := range 500 {
		require.NoError(t, s.Put(t.Context(), ds.NewKey(strconv.Itoa(i)), make([]byte, 100)))
	}
	require.NoError(t, s.Close())
	whole, err := os.ReadFile(good)
	require.NoError(t, err)

	dir := t.TempDir()
	try := func(name string, content []byte) (records int, err error) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		s, err := store.Open(path)
		if err != nil {
			still, readErr := os.ReadFile(path)
			require.NoError(t, readErr)
			require.Equal(t, content, still)
			return 0, err
		}
		defer s.Close()
		results, err := s.Query(t.Context(), query.Query{})
		if err != nil {
			return 0, err
		}
		all, err := results.Rest()
		return len(all), err
	}
	for at := 1; at < len(whole); at += len(whole)/40 + 1 {
		name := fmt.Sprint("cut-", at) // a name of its own: bbolt keeps a damaged file locked until the process ends
		records, err := try(name, whole[:at])
		if err == nil { // free pages at the end of the file may be missing
			require.Equal(t, 500, records, "cut to %d of %d bytes", at, len(whole))
			continue
		}
		var damaged *store.DamagedError
		require.ErrorAs(t, err, &damaged, "cut to %d of %d bytes", at, len(whole))
		require.ErrorContains(t, err, filepath.Join(dir, name))
	}
	_, err = try("text", []byte("not a database at all\n"))
	require.ErrorContains(t, err, "damaged")
}

func TestPageThatClaimsTheRestOfTheDiskIsDamageAndTakesNoMemory(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.db")
	s, err := store.Open(good)
	require.NoError(t, err)
	b, err := s.Batch(t.Context())
	require.NoError(t, err)
	for i := range 200 {
		require.NoError(t, b.Put(t.Context(), ds.NewKey(strconv.Itoa(i)), make([]byte, 100)))
	}
	require.NoError(t, b.Commit(t.Context()))
	require.NoError(t, s.Close())
	whole, err := os.ReadFile(good)
	require.NoError(t, err)

	damage := 0
	for page := 2; (page+1)*os.Getpagesize() <= len(whole); page++ {
		content := slices.Clone(whole)
		binary.NativeEndian.PutUint32(content[page*os.Getpagesize()+12:], 1<<31) // how many pages follow this one
		path := filepath.Join(t.TempDir(), "damaged.db")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		s, err := store.Open(path)
		if err == nil { // the page is free
			require.NoError(t, s.Put(t.Context(), ds.NewKey("another"), nil))
			require.NoError(t, s.Close())
			continue
		}
		damage++
		var damaged *store.DamagedError
		require.ErrorAs(t, err, &damaged)
		require.ErrorContains(t, err, path)
	}
	require.Greater(t, damage, 3)
}

func TestSecondProcessIsToldThatTheStoreIsTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	open(t, path)
	_, err := store.Open(path)
	require.ErrorContains(t, err, "timeout")
	_, err = store.Open(filepath.Join(t.TempDir(), "no", "such", "folder"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
