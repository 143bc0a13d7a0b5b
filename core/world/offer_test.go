package world_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/demo"
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

func TestRoomsAreSpreadByWhatPeersOffer(t *testing.T) {
	offers := make(map[peer.ID]wire.Offer)
	for i := range 4 {
		offers[peer.ID(fmt.Sprint("peer", i))] = wire.Offer{MaxRooms: 10 * (1 + i)}
	}
	offers["none"] = wire.Offer{MaxRooms: -5}
	const rooms = 10_000
	had := make(map[peer.ID]int)
	places := make(map[string]peer.ID)
	for i := range rooms {
		room := fmt.Sprint("room", i)
		ranked := wire.Rank("bay", room, offers)
		require.Len(t, ranked, 5)
		places[room] = ranked[0]
		had[ranked[0]]++
	}
	for i := range 4 { // the peers get 10, 20, 30 and 40 percent
		assert.InDelta(t, rooms*(1+i)/10, had[peer.ID(fmt.Sprint("peer", i))], rooms/50)
	}
	require.Zero(t, had["none"])

	// When a peer goes, the rooms of the others stay where they are.
	delete(offers, "peer2")
	for room, at := range places {
		if now := wire.Rank("bay", room, offers)[0]; at != "peer2" {
			require.Equal(t, at, now)
		}
	}
	elsewhere := 0
	for room := range places {
		if wire.Rank("bay", room, offers)[0] != wire.Rank("cape", room, offers)[0] {
			elsewhere++
		}
	}
	require.Greater(t, elsewhere, rooms/4, "each kind is spread in its own way")
}

// offering makes a node that offers rooms of the demo.
func offering(t *testing.T, rooms int, idle time.Duration) hosting {
	at := newHosting(t)
	_, err := at.rooms.Offer(world.Offer{Kind: "bay", Rooms: rooms, Open: func(wanted world.Wanted) (world.Game, world.Options, error) {
		if wanted.Tags["map"] == "sea" {
			return nil, world.Options{}, errors.New("it has no sea")
		}
		return &demo.Harbour{}, world.Options{Version: demo.Version, Tags: wanted.Tags, Idle: idle}, nil
	}})
	require.NoError(t, err)
	return at
}

// knowsOffersOf waits until n knows the offers of hosts. On a busy machine, that takes longer
// than Place waits for one more.
func knowsOffersOf(t *testing.T, n node, hosts ...hosting) {
	t.Helper()
	presence, err := n.Presence(wire.OfferType("bay"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = presence.Close() })
	missing := make(map[peer.ID]struct{})
	for _, h := range hosts {
		missing[h.ID()] = struct{}{}
	}
	delete(missing, n.ID())
	for len(missing) > 0 {
		change, err := presence.Next(bounded(t))
		require.NoError(t, err)
		delete(missing, change.Peer)
	}
}

func TestARoomIsOpenedByOneOfThePeersThatOfferIt(t *testing.T) {
	t.Parallel()
	hosts := []hosting{offering(t, 2, 0), offering(t, 2, 0), offering(t, 2, 0)}
	a, b := newNode(t), newNode(t)
	for i, h := range hosts {
		a.connect(t, h.node)
		b.connect(t, h.node)
		for _, other := range hosts[:i] {
			h.connect(t, other.node)
		}
	}
	for _, n := range []node{a, b, hosts[0].node} {
		knowsOffersOf(t, n, hosts...)
	}
	tags := map[string]string{"map": "cape"}
	type placed struct {
		at  peer.ID
		err error
	}
	all := make(chan placed)
	for _, n := range []seat.Placer{a, b} { // at the same time
		go func() {
			at, err := seat.Place(bounded(t), n, "bay", "regatta", tags)
			all <- placed{at, err}
		}()
	}
	first, second := <-all, <-all
	require.NoError(t, errors.Join(first.err, second.err))
	require.Equal(t, first.at, second.at, "both get the same room")
	s, err := seat.Join(bounded(t), a, "regatta", seat.Options{Host: first.at, Version: demo.Version})
	require.NoError(t, err)
	require.NoError(t, s.Leave())

	// A peer that offers rooms may ask for one itself. In the end, exactly six rooms are open.
	at := map[peer.ID]int{first.at: 1}
	for i := range 5 {
		go func() {
			p, err := seat.Place(bounded(t), hosts[0].rooms, "bay", fmt.Sprint("room", i), tags)
			all <- placed{p, err}
		}()
	}
	for range 5 {
		p := <-all
		require.NoError(t, p.err)
		at[p.at]++
	}
	for _, h := range hosts {
		require.Equal(t, 2, at[h.ID()])
	}
	_, err = seat.Place(bounded(t), a, "bay", "one more", nil)
	require.ErrorContains(t, err, "all 2 rooms")
	_, err = seat.Place(bounded(t), a, "bay", "deep", map[string]string{"map": "sea"})
	require.ErrorContains(t, err, `opens it`)
	again, err := seat.Place(bounded(t), b, "bay", "regatta", nil)
	require.NoError(t, err)
	require.Equal(t, first.at, again, "it is there already")

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err = seat.Place(ctx, a, "lake", "regatta", nil)
	require.ErrorContains(t, err, `offers rooms of kind "lake"`)
}

func TestARoomThatWasOpenedForSomebodyClosesWhenNobodyIsThere(t *testing.T) {
	t.Parallel()
	at, player := offering(t, 1, 200*time.Millisecond), newNode(t)
	player.connect(t, at.node)
	join := func(name string) (s *seat.Seat) {
		require.Eventually(t, func() bool { // on a busy machine, the room may close before the player joins
			host, err := seat.Place(bounded(t), player, "bay", name, nil)
			require.NoError(t, err)
			s, err = seat.Join(bounded(t), player, name, seat.Options{Host: host, Version: demo.Version})
			return err == nil
		}, limit, time.Millisecond)
		return s
	}
	s := join("a")
	room := at.rooms.Rooms()[0]
	tick := room.Stats().Tick
	require.Eventually(t, func() bool { return room.Stats().Tick > tick+20 }, limit, time.Millisecond)
	select {
	case <-room.Done():
		require.Fail(t, "it closed though somebody was there")
	default:
	}
	require.NoError(t, s.Leave())
	require.ErrorIs(t, room.Wait(bounded(t)), world.ErrClosed)
	require.NoError(t, join("b").Leave(), "its place is free again")
}

func TestAnOfferIsTakenBack(t *testing.T) {
	t.Parallel()
	at := newHosting(t)
	open := func(world.Wanted) (world.Game, world.Options, error) { panic("wrong") }
	offering, err := at.rooms.Offer(world.Offer{Kind: "bay", Rooms: 1, Open: open})
	require.NoError(t, err)
	_, err = at.rooms.Offer(world.Offer{Kind: "bay", Rooms: 1, Open: open})
	require.ErrorContains(t, err, "bay")
	visitor := newNode(t)
	visitor.connect(t, at.node)
	for range 2 { // a room whose opening panicked does not count as one of the offer
		_, err = seat.Place(bounded(t), visitor, "bay", "a", nil)
		require.ErrorContains(t, err, "opens it")
		require.NotContains(t, err.Error(), "all 1 rooms")
	}
	require.Empty(t, offering.Rooms())
	require.NoError(t, offering.Close())
	require.NoError(t, offering.Close())
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	_, err = seat.Place(ctx, visitor, "bay", "a", nil)
	require.ErrorContains(t, err, `offers rooms of kind "bay"`)
	for _, wrong := range []world.Offer{{Kind: "bay", Rooms: 1}, {Kind: "", Rooms: 1, Open: open}, {Kind: "bay", Open: open}} {
		_, err := at.rooms.Offer(wrong)
		require.Error(t, err)
	}
}
