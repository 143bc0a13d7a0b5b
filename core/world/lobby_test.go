package world_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// guest is a lobby with the rooms that it has reported.
type guest struct {
	*seat.Lobby
	known map[string]seat.Room
}

func watch(t *testing.T, node seat.Finder, f seat.Filter) *guest {
	lobby, err := seat.Watch(node, f)
	require.NoError(t, err)
	t.Cleanup(func() { _ = lobby.Close() })
	return &guest{lobby, make(map[string]seat.Room)}
}

// until applies changes until wanted returns true.
func (g *guest) until(t *testing.T, what string, wanted func() bool) {
	t.Helper()
	ctx := bounded(t)
	for !wanted() {
		change, err := g.Next(ctx)
		require.NoError(t, err, "%s; known: %v", what, g.known)
		if change.Gone {
			require.Contains(t, g.known, change.Name, "it was reported before")
			delete(g.known, change.Name)
			continue
		}
		g.known[change.Name] = change.Room
	}
}

func (g *guest) knows(names ...string) func() bool {
	return func() bool {
		for _, name := range names {
			if _, known := g.known[name]; !known {
				return false
			}
		}
		return len(g.known) == len(names)
	}
}

func TestALobbyTellsWhatBecomesOfRooms(t *testing.T) {
	t.Parallel()
	at := newHosting(t)
	visitor := newNode(t)
	lobby := watch(t, visitor, seat.Filter{})
	visitor.connect(t, at.node)
	open := func(name string, opts world.Options) *world.Room {
		opts.Name = name
		room, err := at.rooms.Host(&demo.Harbour{}, harbour(opts))
		require.NoError(t, err)
		return room
	}
	harbour := open("harbour", world.Options{Players: 3, Tags: map[string]string{"map": "bay"}})
	lobby.until(t, "a room opens", lobby.knows("harbour"))
	assert.Equal(t, at.ID(), lobby.known["harbour"].Host)
	assert.Equal(t, map[string]string{"map": "bay"}, lobby.known["harbour"].Tags)
	open("hidden", world.Options{Hidden: true})
	open("quay", world.Options{Password: "tide"})
	lobby.until(t, "another opens", lobby.knows("harbour", "quay"))
	assert.Equal(t, []seat.Room{lobby.known["harbour"], lobby.known["quay"]}, lobby.Rooms())

	visitor.connect(t, at.node)
	s, err := seat.Join(bounded(t), visitor, "harbour", seat.Options{Host: at.ID(), Version: demo.Version})
	require.NoError(t, err)
	lobby.until(t, "a player joins", func() bool { return lobby.known["harbour"].Players == 1 })
	require.NoError(t, s.Leave())
	lobby.until(t, "a player leaves", func() bool { return lobby.known["harbour"].Players == 0 })

	require.ErrorContains(t, harbour.SetTags(map[string]string{"": "x"}), "no printable name")
	tags := map[string]string{"map": "cape", "phase": "over"}
	require.NoError(t, harbour.SetTags(tags))
	lobby.until(t, "other tags", func() bool { return maps.Equal(lobby.known["harbour"].Tags, tags) })
	tags["map"] = "changed by whoever gave it"
	assert.Equal(t, "cape", harbour.Tags()["map"])

	require.NoError(t, harbour.Close())
	lobby.until(t, "a room closes", lobby.knows("quay"))
	require.NoError(t, at.rooms.Close())
	lobby.until(t, "the host closes", lobby.knows())
	require.NoError(t, lobby.Close())
	_, err = lobby.Next(bounded(t))
	require.ErrorIs(t, err, seat.ErrLobbyClosed)
}

func TestALobbyTellsOfTheRoomsThatAreAskedFor(t *testing.T) {
	t.Parallel()
	at := newHosting(t)
	for name, opts := range map[string]world.Options{
		"a": {Tags: map[string]string{"map": "bay", "mode": "race"}},
		"b": {Tags: map[string]string{"map": "cape"}, Players: 1},
		"c": {Password: "tide", Version: "harbour/0"},
	} {
		opts.Name = name
		_, err := at.rooms.Host(&demo.Harbour{}, opts)
		require.NoError(t, err)
	}
	for _, c := range []struct {
		filter seat.Filter
		want   []string
	}{
		{seat.Filter{}, []string{"a", "b", "c"}},
		{seat.Filter{Name: "b"}, []string{"b"}},
		{seat.Filter{Version: "harbour/0"}, []string{"c"}},
		{seat.Filter{Tags: map[string]string{"map": "bay"}}, []string{"a"}},
		{seat.Filter{Tags: map[string]string{"map": ""}}, []string{"a", "b"}},
		{seat.Filter{Free: 2}, []string{"a", "c"}},
		{seat.Filter{Open: true}, []string{"a", "b"}},
		{seat.Filter{Players: 1}, nil},
	} {
		lobby := watch(t, at.rooms, c.filter) // a node sees its own rooms, too
		lobby.until(t, fmt.Sprintf("%+v", c.filter), lobby.knows(c.want...))
	}
	visitor := newNode(t)
	_, err := seat.Watch(visitor, seat.Filter{Free: -1})
	require.ErrorContains(t, err, "negative")

	// A full room disappears from a lobby that asks for a free seat, and then comes back.
	visitor.connect(t, at.node)
	free := watch(t, visitor, seat.Filter{Name: "b", Free: 1})
	free.until(t, "it is free", free.knows("b"))
	s, err := seat.Join(bounded(t), visitor, "b", seat.Options{Host: at.ID()})
	require.NoError(t, err)
	free.until(t, "it is full", free.knows())
	require.NoError(t, s.Leave())
	free.until(t, "it is free again", free.knows("b"))
}

func TestALobbyForgetsAHostThatIsGoneAndHearsOneThatIsBack(t *testing.T) {
	t.Parallel()
	at, visitor := newHosting(t), newNode(t)
	_, err := at.rooms.Host(&demo.Harbour{}, harbour(world.Options{Name: "harbour"}))
	require.NoError(t, err)
	lobby := watch(t, visitor, seat.Filter{})
	visitor.connect(t, at.node)
	lobby.until(t, "it is there", lobby.knows("harbour"))
	for range 3 {
		// The host's streams end, as when another connection replaces the one that carries them.
		for _, c := range visitor.Host().Network().ConnsToPeer(at.ID()) {
			for _, s := range c.GetStreams() {
				if s.Protocol() == wire.LobbyProtocol {
					_ = s.Reset()
				}
			}
		}
		tags := map[string]string{"n": fmt.Sprint(len(lobby.known))}
		require.NoError(t, at.rooms.Rooms()[0].SetTags(tags))
		lobby.until(t, "it is heard again, and was never gone", func() bool { return lobby.known["harbour"].Tags["n"] == "1" })
		require.NoError(t, at.rooms.Rooms()[0].SetTags(nil))
		lobby.until(t, "it is told of anew", func() bool { return len(lobby.known["harbour"].Tags) == 0 })
	}
	require.NoError(t, visitor.Host().Network().ClosePeer(at.ID()))
	lobby.until(t, "it is gone", lobby.knows())
	visitor.connect(t, at.node)
	lobby.until(t, "it is back", lobby.knows("harbour"))
}

// liar makes a host that sends the news that say yields.
func liar(t *testing.T, say func(yield func(wire.News) bool)) node {
	n := newNode(t)
	sub, err := n.Subscribe(wire.RoomsType)
	require.NoError(t, err)
	t.Cleanup(func() { _ = sub.Close() })
	remove, err := n.Handle(wire.LobbyProtocol, func(s network.Stream) {
		for news := range say {
			if _, err := s.Write(wire.AppendNews(nil, news)); err != nil {
				return
			}
		}
	})
	require.NoError(t, err)
	t.Cleanup(remove)
	return n
}

func TestALobbyIsBoundedWhateverAHostSays(t *testing.T) {
	t.Parallel()
	visitor := newNode(t)
	lobby := watch(t, visitor, seat.Filter{Open: true})
	many := liar(t, func(yield func(wire.News) bool) {
		for i := 0; i < 2*wire.MaxListed; i++ {
			if !yield(wire.News{Rooms: []wire.Listing{{Name: fmt.Sprint("room", i), Hz: 20}}}) {
				return
			}
		}
		for i := range 10_000 { // rooms that come and go
			name := fmt.Sprint("flicker", i)
			if !yield(wire.News{Gone: []string{"room0"}}) || !yield(wire.News{Rooms: []wire.Listing{{Name: name}}}) ||
				!yield(wire.News{Gone: []string{name}, Ready: true}) {
				return
			}
		}
		yield(wire.News{Rooms: []wire.Listing{{Name: "last"}}})
	})
	wrong := liar(t, func(yield func(wire.News) bool) {
		yield(wire.News{Rooms: []wire.Listing{
			{Name: strings.Repeat("x", wire.MaxName+1)}, {}, {Name: "negative", Players: -1},
			{Name: "bell", Tags: map[string]string{"\a": "x"}}, {Name: "fine"},
		}, Ready: true})
	})
	deaf := liar(t, func(yield func(wire.News) bool) {
		yield(wire.News{Rooms: []wire.Listing{{Name: "locked", Password: true}}, Ready: true}) // the lobby asked for open rooms only
	})
	visitor.connect(t, many)
	require.Eventually(t, func() bool {
		for _, room := range lobby.Rooms() {
			if room.Name == "last" {
				return true
			}
		}
		return false
	}, limit, limit/1000)
	require.LessOrEqual(t, len(lobby.Rooms()), wire.MaxListed)
	require.GreaterOrEqual(t, lobby.Omitted(), uint64(wire.MaxListed))
	over, cancel := context.WithCancel(context.Background())
	cancel() // so that Next does not wait
	told := 0
	for _, err := lobby.Next(over); err == nil; _, err = lobby.Next(over) {
		told++
	}
	require.LessOrEqual(t, told, wire.MaxListed, "what came and went is not remembered")
	visitor.connect(t, deaf)
	visitor.connect(t, wrong)
	require.NoError(t, visitor.Host().Network().ClosePeer(many.ID()))
	lobby = watch(t, visitor, seat.Filter{Open: true})
	lobby.until(t, "what is right is taken", func() bool { _, there := lobby.known["fine"]; return there })
	for name := range lobby.known {
		require.True(t, name == "fine" || strings.HasPrefix(name, "room") || name == "last", name)
	}
}

func TestAHostTellsABoundedNumberOfWatchers(t *testing.T) {
	at, visitor := newHosting(t), newNode(t)
	_, err := at.rooms.Host(&demo.Harbour{}, harbour(world.Options{Name: "harbour"}))
	require.NoError(t, err)
	visitor.connect(t, at.node)
	ask := func(message []byte) (network.Stream, wire.Kind) {
		s, err := visitor.Open(bounded(t), at.ID(), wire.LobbyProtocol)
		require.NoError(t, err)
		_, err = s.Write(message)
		require.NoError(t, err)
		kind, _, err := wire.NewReader(s, wire.MaxNews).Next()
		if err != nil {
			return s, 0
		}
		return s, kind
	}
	all := wire.AppendFilter(nil, wire.Filter{})
	var streams []network.Stream
	for range 8 {
		s, kind := ask(all)
		require.Equal(t, wire.KindNews, kind)
		streams = append(streams, s)
	}
	_, kind := ask(all)
	require.Zero(t, kind, "a peer may have 8 streams")
	require.NoError(t, streams[0].Close())
	require.Eventually(t, func() bool { _, kind := ask(all); return kind == wire.KindNews }, limit, limit/1000)
	for _, wrong := range [][]byte{
		wire.AppendNews(nil, wire.News{}), wire.AppendFilter(nil, wire.Filter{Free: -1}), {3, byte(wire.KindFilter), '{', 'x'},
	} {
		_, kind := ask(wrong)
		require.Zero(t, kind)
	}
}
