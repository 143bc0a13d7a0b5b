//go:build linux

package postgres_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/board"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/native/postgres"
)

// lonely is a node for a room that nobody joins.
type lonely struct {
	world.Node
	key crypto.PrivKey
}

func newLonely(t *testing.T) lonely {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	return lonely{key: key}
}

func (l lonely) Host() host.Host { return itsKey{key: l.key} }

type itsKey struct {
	host.Host
	key crypto.PrivKey
}

func (i itsKey) Peerstore() peerstore.Peerstore { return keys{key: i.key} }

type keys struct {
	peerstore.Peerstore
	key crypto.PrivKey
}

func (k keys) PrivKey(peer.ID) crypto.PrivKey { return k.key }

func (l lonely) ID() peer.ID {
	id, err := peer.IDFromPrivateKey(l.key)
	if err != nil {
		panic(err)
	}
	return id
}

func (lonely) Handle(protocol.ID, network.StreamHandler) (func(), error) { return func() {}, nil }

func (lonely) Broadcast(context.Context, string, []byte, ...mesh.BroadcastOption) error {
	return mesh.ErrNoPeers
}

func (lonely) Respond(string, link.Responder) (func(), error) { return func() {}, nil }

// harbour is a demo.Harbour that remembers what it saved and restored of each entity.
type harbour struct {
	demo.Harbour
	w *world.World

	mu              sync.Mutex
	saved, restored map[world.Entity]string
}

func (h *harbour) Start(w *world.World) {
	h.w, h.saved, h.restored = w, make(map[world.Entity]string), make(map[world.Entity]string)
	h.Harbour.Start(w)
}

func (h *harbour) as(e world.Entity, data []byte) string {
	x, y := h.w.At(e)
	return fmt.Sprint(x, y, data)
}

func (h *harbour) Save(e world.Entity, dst []byte) ([]byte, bool) {
	data, keep := h.Harbour.Save(e, nil)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.saved[e] = h.as(e, data)
	return append(dst, data...), keep
}

func (h *harbour) Restore(e world.Entity, data []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.restored[e] = h.as(e, data)
	return h.Harbour.Restore(e, data)
}

func hold(t *testing.T, h *harbour, in ds.Batching) *world.Room {
	rooms, err := world.New(newLonely(t))
	require.NoError(t, err)
	room, err := rooms.Host(h, world.Options{Name: "harbour", Hidden: true, Hz: 100, Store: in, SaveEvery: 10 * time.Millisecond})
	require.NoError(t, err)
	return room
}

func TestARoomIsThereAgainAsItWas(t *testing.T) {
	t.Parallel()
	table, url := newTable(), sharedServer(t).url
	s := openAt(t, url, table)
	for name, in := range map[string]func(*postgres.Store) ds.Batching{
		"store": func(s *postgres.Store) ds.Batching { return s },
		"view":  func(s *postgres.Store) ds.Batching { return under(t, s, "/host", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			first := &harbour{Harbour: demo.Harbour{Size: 100, Buoys: 40, Seed: 3}}
			room := hold(t, first, in(s))
			for range 10 {
				require.NoError(t, room.Flush(t.Context()))
			}
			require.NoError(t, room.Close())

			again := &harbour{Harbour: demo.Harbour{Buoys: 99}}
			require.NoError(t, hold(t, again, in(openAt(t, url, table))).Close())
			require.Equal(t, 100, again.Size)
			require.Len(t, again.restored, 40)
			require.Equal(t, first.saved, again.restored)
		})
	}
}

func TestABoardIsThereAgainAsItWas(t *testing.T) {
	t.Parallel()
	table, url := newTable(), sharedServer(t).url
	openBoards := func(epoch uint64) (*board.Store, *board.Board) {
		boards, err := board.Open(t.Context(), under(t, openAt(t, url, table), "/harbour", epoch), "harbour", board.StoreOptions{})
		require.NoError(t, err)
		series, err := boards.Series(t.Context(), "score", board.Forever, false, 0)
		require.NoError(t, err)
		return boards, series.Now()
	}
	boards, b := openBoards(1)
	for i := range 1000 {
		b.Set(boards.Players().Number(peer.ID(fmt.Sprint("peer", i))), int64(i%7))
	}
	for i := range uint32(100) {
		b.Remove(i * 3)
	}
	want := b.Rows(1, math.MaxInt)
	require.NoError(t, boards.Close())
	boards, b = openBoards(2)
	require.Len(t, want, 900)
	require.Equal(t, want, b.Rows(1, math.MaxInt))
	require.NoError(t, boards.Close())
}
