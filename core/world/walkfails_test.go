package world_test

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// stays sends a player to another room, and checks that it continues in its own, for the
// given reason.
func (w *wanderer) stays(t *testing.T, at *land, to world.Area, why string) {
	t.Helper()
	w.count(t)
	w.counts(t)
	at.road.to.Store(&to)
	require.ErrorContains(t, at.staying(t), why)
	w.counts(t)
	w.allIsThere(t)
	assert.True(t, w.isAt(at))
	players, left, _, _ := at.road.told()
	assert.Equal(t, 1, players)
	assert.Empty(t, left)
}

func TestAPlayerThatTheOtherHostRefusesGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, why string
		opts      world.Options
		east      func(*testing.T, *land)
	}{
		{"full", "all seats are taken", world.Options{Players: 1}, func(t *testing.T, east *land) { newWanderer(t, east) }},
		{"the game", "the bridge is up", world.Options{}, func(_ *testing.T, east *land) { east.road.refuses.Store(true) }},
		{"another version", "another version", world.Options{Version: "2"}, nil},
		{"no neighbour", "the game refused the player", world.Options{}, func(_ *testing.T, east *land) { east.room.NameNeighbours() }},
		{"closed", "no room of this name", world.Options{}, func(_ *testing.T, east *land) { _ = east.room.Close() }},
		{"dead", "walk to room", world.Options{}, func(_ *testing.T, east *land) { _ = east.Host().Close() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			west := newLand(t, "west", world.Options{})
			east := newLand(t, "east", test.opts, west)
			w := newWanderer(t, west, east)
			if test.east != nil {
				test.east(t, east)
			}
			w.stays(t, west, east.area, test.why)
		})
	}
}

func TestAPlayerWhoseNextHostDiesInTheMiddleGoesOnWhereItWas(t *testing.T) {
	west := newLand(t, "west", world.Options{})
	east := newLand(t, "east", world.Options{}, west)
	w := newWanderer(t, west, east)
	east.road.onJoin = func() { _ = east.Host().Close() } // it dies after it was asked for the seat, before it answers
	w.stays(t, west, east.area, "walk to room \"east\"")
}

func TestAPlayerWhoseHostDiesInTheMiddleGoesOnInTheOtherRoom(t *testing.T) {
	west := newLand(t, "west", world.Options{})
	east := newLand(t, "east", world.Options{}, west)
	w := newWanderer(t, west, east)
	w.count(t)
	w.counts(t)
	w.stop()
	east.road.onJoin = func() { _ = west.Host().Close() }
	west.road.to.Store(&east.area)
	require.Eventually(t, func() bool { return w.isAt(east) }, limit, time.Millisecond)
	w.count(t)
	w.counts(t)
	w.allIsThere(t)
}

func TestAPlayerWhoseConnectionIsLostOnItsWayIsInOneRoom(t *testing.T) {
	west := newLand(t, "west", world.Options{})
	east := newLand(t, "east", world.Options{}, west)
	w := newWanderer(t, west, east)
	cut := false
	west.road.onWalk = func(p *world.Player) {
		if !cut {
			cut = true
			_ = west.Host().Network().ClosePeer(p.Peer())
		}
	}
	w.count(t)
	w.counts(t)
	west.road.to.Store(&east.area)
	require.Eventually(t, func() bool {
		inWest, _, stays, _ := west.road.told()
		inEast, _, _, _ := east.road.told()
		return inWest+inEast == 1 && (inEast == 1 || len(stays) > 0)
	}, limit, time.Millisecond)
	w.counts(t)
	w.allIsThere(t)
}

func TestPlayersThatWalkToAndFroWithoutRestLoseNothing(t *testing.T) {
	t.Parallel()
	west := newLand(t, "west", world.Options{})
	east := newLand(t, "east", world.Options{}, west)
	w := newWanderer(t, west, east)
	w.count(t)
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				west.road.to.Store(&east.area)
				east.road.to.Store(&west.area)
			}
		}
	}()
	require.Eventually(t, func() bool {
		_, left, _, _ := west.road.told()
		return len(left) >= 10
	}, limit, time.Millisecond)
	close(stop)
	<-stopped
	west.road.to.Store(nil)
	east.road.to.Store(nil)
	require.Eventually(t, func() bool {
		inWest, _, _, _ := west.road.told()
		inEast, _, _, _ := east.road.told()
		return inWest+inEast == 1
	}, limit, time.Millisecond)
	w.counts(t)
	w.allIsThere(t)
}

func TestARoomIsHandedOverWhenItsPlayersHaveWalked(t *testing.T) {
	stand := newHosting(t)
	east := newLand(t, "east", world.Options{})
	west := newLand(t, "west", world.Options{Standbys: []peer.ID{stand.ID()}}, east)
	east.room.NameNeighbours(west.ID(), stand.ID())
	stand.connect(t, west.node)
	stand.connect(t, east.node)
	after := &land{hosting: stand, road: new(road), area: world.Area{Room: "west", Host: stand.ID()}}
	s, err := stand.rooms.StandBy(west.ID(), after.road, world.Options{Name: "west", Inputs: 1000, Neighbours: []peer.ID{east.ID()}})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(west.room.Standbys()) == 1 }, limit, time.Millisecond)

	w := newWanderer(t, west, east)
	w.node.connect(t, stand.node)
	w.count(t)
	w.counts(t)
	var handed atomic.Bool
	west.road.onWalk = func(*world.Player) {
		if !handed.Swap(true) {
			go func() { _, err := handOver(t, west.room); assert.NoError(t, err) }()
		}
	}
	west.road.to.Store(&east.area)
	require.Eventually(t, func() bool { return w.isAt(east) }, limit, time.Millisecond)
	after.room, err = s.Wait(bounded(t))
	require.NoError(t, err)
	w.counts(t)
	east.is(t, 1)
	_, left, _, _ := west.road.told()
	assert.Equal(t, []world.Reason{wire.Walked}, left, "it has walked before the room was handed over")
	w.lands["west"] = after
	w.walk(t, east, after)
	w.counts(t)
	w.allIsThere(t)
}

func TestWhatIsKeptOfAPlayerGoesWithIt(t *testing.T) {
	west := newLand(t, "west", world.Options{Store: newDisk()})
	east := newLand(t, "east", world.Options{}, west)
	w := newWanderer(t, west, east)
	w.count(t)
	w.counts(t)
	require.NoError(t, west.room.Flush(bounded(t)))
	w.walk(t, west, east)
	w.allIsThere(t)
	require.NoError(t, w.Leave())
	again := newWandererOf(t, w.node, west)
	again.count(t)
	again.counts(t)
	again.allIsThere(t) // it counts from one, because west keeps nothing of it any more
}

func TestAPlayerWalksBetweenRoomsOfOneHostWhichPlaysItself(t *testing.T) {
	west := newLand(t, "west", world.Options{})
	east := &land{hosting: west.hosting, road: new(road), area: world.Area{Room: "east", Host: west.ID()}}
	var err error
	east.room, err = west.rooms.Host(east.road, world.Options{Name: "east", Inputs: 1000})
	require.NoError(t, err)
	w := newWandererOf(t, west.rooms, west, east)
	w.count(t)
	w.counts(t)
	w.walk(t, west, east)
	w.counts(t)
	w.walk(t, east, west)
	w.counts(t)
	w.allIsThere(t)
}

func TestSeatsThatShareAConnectionStay(t *testing.T) {
	west := newLand(t, "west", world.Options{})
	east := newLand(t, "east", world.Options{}, west)
	n := newNode(t)
	n.connect(t, west.node)
	n.connect(t, east.node)
	v, err := seat.Connect(bounded(t), n, "west", seat.Options{Host: west.ID()})
	require.NoError(t, err)
	defer v.Close()
	for i := range uint32(2) {
		_, err := v.Sit(bounded(t), i, seat.Options{Each: func(*seat.Tick) {}})
		require.NoError(t, err)
	}
	west.road.to.Store(&east.area)
	require.ErrorContains(t, west.staying(t), "several seats on one connection")
	west.is(t, 2)
	east.is(t, 0)
}

// announce makes a node announce a player to a room, and returns the answer.
func announce(t *testing.T, from node, to *land, a wire.Arrival) (wire.Kind, []byte, network.Stream) {
	s, err := from.Open(bounded(t), to.ID(), wire.WalkProtocol)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Reset() })
	_, err = s.Write(wire.AppendArrival(nil, a))
	require.NoError(t, err)
	kind, body, err := wire.NewReader(s, wire.MaxToHost).Next()
	require.NoError(t, err)
	return kind, body, s
}

func TestOnlyWhoWasAnnouncedByANeighbourMayArrive(t *testing.T) {
	east := newLand(t, "east", world.Options{})
	host, player, stranger := newNode(t), newNode(t), newNode(t)
	for _, n := range []node{host, player, stranger} {
		n.connect(t, east.node)
	}
	arrival := wire.Arrival{Room: "east", From: "west", Player: player.ID(), Program: 3, Walk: 4, Seq: 5, State: binary.BigEndian.AppendUint32(nil, 5)}
	kind, body, _ := announce(t, host, east, arrival)
	require.Equal(t, wire.KindOut, kind, "the host is not a neighbour")
	out, err := wire.DecodeOut(body)
	require.NoError(t, err)
	require.Equal(t, wire.Refused, out.Code)

	east.room.NameNeighbours(host.ID())
	kind, _, _ = announce(t, host, east, arrival)
	require.Equal(t, wire.KindArrived, kind)
	var stream network.Stream
	arrive := func(n node, a wire.Arrive) wire.Kind {
		s, err := n.Open(bounded(t), east.ID(), wire.Protocol)
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Reset() })
		_, err = s.Write(wire.AppendArrive(wire.AppendHello(nil, wire.Hello{Room: "east"}), a))
		require.NoError(t, err)
		kind, _, err := wire.NewReader(s, wire.MaxToPlayer).Next()
		require.NoError(t, err)
		stream = s
		return kind
	}
	right := wire.Arrive{Program: 3, Walk: 4}
	assert.Equal(t, wire.KindOut, arrive(stranger, right), "it is another peer")
	assert.Equal(t, wire.KindOut, arrive(player, wire.Arrive{Program: 3, Walk: 9}), "it is another walk")
	assert.Equal(t, wire.KindOut, arrive(player, wire.Arrive{Program: 9, Walk: 4}), "it is another program")
	assert.Equal(t, wire.KindWelcome, arrive(player, right))
	assert.Equal(t, wire.KindWelcome, arrive(player, right), "it may arrive again: its first stream may have been lost")
	east.is(t, 1)
	assert.Equal(t, []world.Arrival{{From: world.Area{Room: "west", Host: host.ID()}, State: arrival.State}}, east.road.arrived)
	for seq := range uint32(9) { // the previous host has taken five
		_, err := stream.Write(wire.AppendInput(nil, wire.Input{Seq: seq + 1, Data: binary.BigEndian.AppendUint32(nil, seq+1)}))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		east.road.mu.Lock()
		defer east.road.mu.Unlock()
		for _, at := range east.road.of {
			return at.at == 9
		}
		return false
	}, limit, time.Millisecond)
	_, _, _, wrong := east.road.told()
	assert.Empty(t, wrong)
}

func TestANeighbourThatAnnouncesManyTakesNoMorePlacesThanThereAre(t *testing.T) {
	east := newLand(t, "east", world.Options{Players: 5})
	host := newNode(t)
	host.connect(t, east.node)
	east.room.NameNeighbours(host.ID())
	newWanderer(t, east)
	expected := 0
	var last network.Stream
	for range 20 {
		kind, _, s := announce(t, host, east, wire.Arrival{Room: "east", From: "west", Player: newPeer(t)})
		if kind == wire.KindArrived {
			expected, last = expected+1, s
		}
	}
	assert.Equal(t, 4, expected, "one seat is taken")
	n := newNode(t)
	n.connect(t, east.node)
	_, err := seat.Join(bounded(t), n, "east", seat.Options{Host: east.ID()})
	var out *seat.Out
	require.ErrorAs(t, err, &out, "a promised seat is not given to others")
	require.Equal(t, wire.Full, out.Code)
	_, err = last.Write(wire.AppendDecided(nil, wire.Decided{}))
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, last) // until the host has read it
	s, err := seat.Join(bounded(t), n, "east", seat.Options{Host: east.ID()})
	require.NoError(t, err, "a place that is given up is free")
	require.NoError(t, s.Leave())
}

// newPeer returns the ID of a peer that does not run anywhere.
func newPeer(t *testing.T) peer.ID {
	_, key, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	id, err := peer.IDFromPublicKey(key)
	require.NoError(t, err)
	return id
}

// lying returns an area of a host that sends the given answer to every arrival and then
// nothing.
func lying(t *testing.T, west *land, answer []byte) world.Area {
	n := newNode(t)
	n.connect(t, west.node)
	_, err := n.Handle(wire.WalkProtocol, func(s network.Stream) {
		_, _ = s.Write(answer)
		_, _ = io.Copy(io.Discard, s)
		_ = s.Reset()
	})
	require.NoError(t, err)
	return world.Area{Room: "nowhere", Host: n.ID()}
}

func TestAHostThatLiesAboutASeatLosesNobodyAPlayer(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string][]byte{
		"it says that the player is there": wire.AppendArrived(wire.AppendArrived(nil, wire.Arrived{}), wire.Arrived{Seated: true}),
		"it says what is no answer":        {1, 99},
		"it says too much":                 append([]byte{0xff, 0xff, 0xff, 0x7f}, make([]byte, 100)...),
		"it says nothing":                  nil,
	} {
		t.Run(name, func(t *testing.T) {
			west := newLand(t, "west", world.Options{})
			w := newWanderer(t, west)
			w.stays(t, west, lying(t, west, answer), "walk to room \"nowhere\"")
		})
	}
}

// trickster makes a player that has walked from west to east and has not told west so. s is
// its stream to west, and inEast reads what east sends.
func trickster(t *testing.T) (west, east *land, s network.Stream, walk uint32, inEast *wire.Reader) {
	west = newLand(t, "west", world.Options{})
	east = newLand(t, "east", world.Options{}, west)
	n := newNode(t)
	n.connect(t, west.node)
	n.connect(t, east.node)
	open := func(l *land, message func([]byte) []byte) (network.Stream, *wire.Reader) {
		s, err := n.Open(bounded(t), l.ID(), wire.Protocol)
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Reset() })
		_, err = s.Write(message(wire.AppendHello(nil, wire.Hello{Room: l.area.Room})))
		require.NoError(t, err)
		return s, wire.NewReader(s, wire.MaxToPlayer)
	}
	s, inWest := open(west, func(b []byte) []byte { return wire.AppendJoin(b, wire.Join{Program: 1}) })
	await(t, inWest, wire.KindWelcome)
	west.road.to.Store(&east.area)
	way, err := wire.DecodeWay(await(t, inWest, wire.KindWay))
	require.NoError(t, err)
	_, inEast = open(east, func(b []byte) []byte { return wire.AppendArrive(b, wire.Arrive{Program: 1, Walk: way.Walk}) })
	await(t, inEast, wire.KindWelcome)
	return west, east, s, way.Walk, inEast
}

// await reads messages up to one of the given kind, and returns its body.
func await(t *testing.T, r *wire.Reader, want wire.Kind) []byte {
	for {
		kind, body, err := r.Next()
		require.NoError(t, err)
		if kind == want {
			return slices.Clone(body)
		}
	}
}

func TestAPlayerThatSaysThatItStaysAndIsElsewhereIsPutOutThere(t *testing.T) {
	west, east, s, walk, inEast := trickster(t)
	_, err := s.Write(wire.AppendParted(nil, wire.Parted{Walk: walk, Reason: "I stay"}))
	require.NoError(t, err)
	await(t, inEast, wire.KindOut)
	west.is(t, 1)
	east.is(t, 0)
}

func TestAPlayerThatDoesNotSayThatItIsElsewhereIsGone(t *testing.T) {
	t.Parallel()
	west, east, s, _, _ := trickster(t)
	go func() { _, _ = io.Copy(io.Discard, s) }()
	west.is(t, 0)
	east.is(t, 1)
	_, left, _, _ := west.road.told()
	require.Equal(t, []world.Reason{wire.Walked}, left)
}

func TestAHostThatSendsAPlayerToAThousandRoomsHasItOpenFewStreams(t *testing.T) {
	target, host := newNode(t), newNode(t)
	var opened atomic.Int64
	_, err := target.Handle(wire.Protocol, func(s network.Stream) {
		opened.Add(1)
		_, _ = s.Write(wire.AppendOut(nil, wire.Out{All: true, Code: wire.NoRoom}))
		_, _ = io.Copy(io.Discard, s)
		_ = s.Reset()
	})
	require.NoError(t, err)
	answers := make(chan int, 1)
	_, err = host.Handle(wire.Protocol, func(s network.Stream) {
		r := wire.NewReader(s, wire.MaxToHost)
		out, answered := wire.AppendWelcome(nil, wire.Welcome{Hz: 20}), 0
		for i := range uint32(1000) {
			room := string(binary.BigEndian.AppendUint32([]byte("r"), i))
			out = wire.AppendWay(out, wire.Way{Direction: wire.Near, Room: room, Host: target.ID()})
			out = wire.AppendWay(out, wire.Way{Direction: wire.Go, Walk: i + 1, Room: room, Host: target.ID()})
			if _, err := s.Write(out); err != nil {
				break
			}
			for kind := wire.Kind(0); kind != wire.KindParted; {
				var err error
				if kind, _, err = r.Next(); err != nil {
					break
				}
			}
			out, answered = out[:0], answered+1
		}
		answers <- answered
		_, _ = io.Copy(io.Discard, s)
		_ = s.Reset()
	})
	require.NoError(t, err)
	n := newNode(t)
	n.connect(t, host)
	n.connect(t, target)
	began := time.Now()
	s, err := seat.Join(bounded(t), n, "trap", seat.Options{Host: host.ID()})
	require.NoError(t, err)
	select {
	case answered := <-answers:
		assert.Equal(t, 1000, answered)
	case <-time.After(limit):
		require.FailNow(t, "it does not answer")
	}
	assert.LessOrEqual(t, opened.Load(), 4+int64(time.Since(began)/(100*time.Millisecond)))
	require.NoError(t, s.Leave())
}

// The first host did not learn that the player had left, and the second was told that the
// player stays.
func TestAPlayerThatIsGivenBackGoesOnWhereItWas(t *testing.T) {
	west, east := newNode(t), newNode(t)
	_, err := east.Handle(wire.Protocol, func(s network.Stream) {
		await(t, wire.NewReader(s, wire.MaxToHost), wire.KindArrive)
		_, _ = s.Write(wire.AppendOut(wire.AppendWelcome(nil, wire.Welcome{Hz: 20}), wire.Out{Code: wire.Walked}))
		_, _ = io.Copy(io.Discard, s)
		_ = s.Reset()
	})
	require.NoError(t, err)
	back := make(chan wire.Join, 1)
	var streams atomic.Int32
	_, err = west.Handle(wire.Protocol, func(s network.Stream) {
		r := wire.NewReader(s, wire.MaxToHost)
		j, err := wire.DecodeJoin(await(t, r, wire.KindJoin))
		assert.NoError(t, err)
		out := wire.AppendWelcome(nil, wire.Welcome{Hz: 20, Data: []byte("west")})
		if streams.Add(1) == 1 {
			out = wire.AppendWay(out, wire.Way{Walk: 1, Direction: wire.Go, Room: "east", Host: east.ID()})
		} else {
			back <- j
		}
		_, _ = s.Write(out)
		_, _ = io.Copy(io.Discard, s)
		_ = s.Reset()
	})
	require.NoError(t, err)
	n := newNode(t)
	n.connect(t, west)
	n.connect(t, east)
	s, err := seat.Join(bounded(t), n, "west", seat.Options{Host: west.ID()})
	require.NoError(t, err)
	select {
	case <-back:
	case <-time.After(limit):
		require.FailNow(t, "it does not come back")
	}
	require.NoError(t, s.Err())
	require.Eventually(t, func() bool { return s.Room() == "west" && s.Host() == west.ID() }, limit, time.Millisecond)
	require.NoError(t, s.Leave())
}
