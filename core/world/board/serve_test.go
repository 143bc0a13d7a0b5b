package board

import (
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/message"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

const limit = 30 * time.Second

func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func newNode(t testing.TB) *core.Node {
	n, err := core.New(bounded(t), hosttest.Unmanaged(t, hosttest.Options{}), core.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	return n
}

// serve serves an all-time board and a daily board on a node, and connects another node to
// it.
func serve(t *testing.T) (s *Server, host, guest *core.Node) {
	host, guest = newNode(t), newNode(t)
	_, err := guest.Connect(bounded(t), host.Addrs()[0].String())
	require.NoError(t, err)
	s, err = Serve(host, "harbour", new(Players), map[string]*Series{
		"ever": NewSeries(Forever, false, 0), "day": NewSeries(Daily, false, 1),
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s, host, guest
}

// player returns the peer ID that belongs to a number.
func player(i int) peer.ID {
	digest := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
	id, err := multihash.Encode(digest[:], multihash.SHA2_256)
	if err != nil {
		panic(err)
	}
	return peer.ID(id)
}

func TestAnyPeerMayAskForABoard(t *testing.T) {
	s, host, guest := serve(t)
	for i := range 300 {
		s.series["ever"].Now().Set(s.players.Number(player(i)), int64(i))
	}
	ask := func(q Query) Lines {
		t.Helper()
		lines, err := Ask(bounded(t), guest, host.ID(), "harbour", q)
		require.NoError(t, err)
		return lines
	}
	assert.Equal(t, Lines{Players: 300, Lines: []Line{{1, player(299), 299}, {2, player(298), 298}}}, ask(Query{Board: "ever", Most: 2}))
	assert.Equal(t, []Line{{300, player(0), 0}}, ask(Query{Board: "ever", Rank: 300, Most: 5}).Lines)
	around := ask(Query{Board: "ever", Around: player(100), Each: 1}).Lines
	assert.Equal(t, []Line{{199, player(101), 101}, {200, player(100), 100}, {201, player(99), 99}}, around)
	assert.Len(t, ask(Query{Board: "ever", Most: 1 << 40}).Lines, MostRows)
	assert.Len(t, ask(Query{Board: "ever", Around: player(150), Each: 1 << 40}).Lines, MostRows-1)
	assert.Empty(t, ask(Query{Board: "ever", Around: player(999), Each: 3}).Lines)
	assert.Empty(t, ask(Query{Board: "ever", Most: -1, Rank: -1, Each: -1}).Lines)
	assert.Equal(t, Daily.End(time.Now()), ask(Query{Board: "day", Most: 3}).End)
	assert.Empty(t, ask(Query{Board: "day", At: time.Now().AddDate(0, 0, -1), Most: 3}).Lines)

	var remote *link.RemoteError
	for q, why := range map[Query]string{
		{Board: "week"}: "there is no board", {Board: "day", At: time.Now().AddDate(0, 0, -3)}: "the period is over",
		{Board: "day", At: time.Now().AddDate(0, 0, 3)}: "the period has not begun",
	} {
		_, err := Ask(bounded(t), guest, host.ID(), "harbour", q)
		require.ErrorAs(t, err, &remote)
		require.ErrorContains(t, err, why)
	}
	_, err := guest.Request(bounded(t), host.ID(), "boards/harbour", []byte("["))
	require.ErrorContains(t, err, "this is not a query for a board")
	_, err = Serve(host, "harbour", new(Players), nil)
	require.ErrorIs(t, err, link.ErrTaken)
	require.Equal(t, 300, s.players.count(), "a peer that a query names is not remembered")
}

func TestWhoWatchesABoardIsToldOfIt(t *testing.T) {
	s, host, guest := serve(t)
	ever := s.series["ever"].Now()
	me := s.players.Number(guest.ID())
	ever.Set(me, 1)
	liar := newNode(t)
	_, err := liar.Connect(bounded(t), guest.Addrs()[0].String())
	require.NoError(t, err)
	want := int64(1)
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	for lines, err := range Watch(ctx, guest, host.ID(), "harbour", Query{Board: "ever"}) {
		require.NoError(t, err)
		require.Len(t, lines.Lines, 1)
		require.Equal(t, guest.ID(), lines.Lines[0].Peer)
		if lines.Lines[0].Score < want {
			continue
		}
		require.Equal(t, want, lines.Lines[0].Score)
		if want == 4 {
			cancel()
		}
		want++
		ever.Set(me, want)
		_ = liar.Broadcast(ctx, watchType("harbour", "ever"), []byte(`{"lines":[{"rank":1,"score":99}]}`))
	}
	require.Equal(t, int64(5), want)

	for _, err := range Watch(bounded(t), guest, host.ID(), "harbour", Query{Board: "week"}) {
		require.ErrorContains(t, err, "there is no board")
	}
}

func FuzzWhatABoardReceives(f *testing.F) {
	players := new(Players)
	s := &Server{players: players, series: map[string]*Series{"ever": NewSeries(Forever, false, 0), "day": NewSeries(Daily, true, 1)}}
	for i := range 3 {
		s.series["ever"].Now().Set(players.Number(player(i)), int64(i))
	}
	f.Add([]byte(`{"board":"ever","most":2}`))
	f.Add([]byte(`{"board":"day","at":"2026-11-27T00:00:00Z","rank":-1}`))
	f.Add([]byte(`{"board":"ever","around":"QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG","each":9}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		answer, err := s.Answer(t.Context(), &message.Message{Data: data})
		if err == nil {
			lines, err := readLines(answer)
			require.NoError(t, err)
			require.LessOrEqual(t, len(lines.Lines), 3)
		}
		require.Equal(t, 3, players.count())
		require.LessOrEqual(t, len(s.series["day"].Kept()), 2)
		_, _ = readLines(data) // as if a host had sent it
		if p, err := decodePlace(data); err == nil {
			again, err := decodePlace(appendPlace(nil, p))
			require.NoError(t, err)
			require.Equal(t, p, again)
		}
	})
}
