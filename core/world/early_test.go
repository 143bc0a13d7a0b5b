package world

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// noting is a drift that records its inputs.
type noting struct {
	drift
	taken []byte
}

func (n *noting) Input(_ *Player, data []byte) { n.taken = append(n.taken, data...) }

// playing returns a room with one player whose peer uses datagrams.
func playing(t *testing.T) (g *noting, r *Room, v *visitor, tick func()) {
	g = &noting{drift: drift{random: rand.New(rand.NewPCG(1, 1)), side: 10}}
	r, err := newRoom("host", nil, g, Options{Name: "stage"})
	require.NoError(t, err)
	g.Start(&r.world)
	v, code := r.admit("peer", newPipe(t), "")
	require.Zero(t, code)
	v.early.on, v.early.newest = true, make(map[uint32]uint32)
	require.NoError(t, v.post(wire.KindJoin, body(wire.AppendJoin(nil, wire.Join{Seat: 4}))))
	now := int64(0)
	tick = func() { now += 50e6; r.step(now, false) }
	tick()
	return g, r, v, tick
}

// body returns the part of a message that follows its length and kind.
func body(message []byte) []byte {
	_, n := binary.Uvarint(message)
	return message[n+1:]
}

// inputs returns input messages with the numbers from from to to. The data of each is its
// number.
func inputs(seat, from, to uint32) (all []byte) {
	for seq := from; seq <= to; seq++ {
		all = wire.AppendInput(all, wire.Input{Seat: seat, Seq: seq, Data: []byte{byte(seq)}})
	}
	return all
}

func TestOfTwoWaysEachInputIsTakenOnceAndInOrder(t *testing.T) {
	g, _, v, tick := playing(t)
	stream := func(seq uint32) {
		require.NoError(t, v.post(wire.KindInput, body(inputs(4, seq, seq))))
	}
	v.takeDatagram(inputs(4, 1, 2))
	stream(1)
	v.takeDatagram(inputs(4, 1, 3))
	v.takeDatagram(inputs(4, 6, 8)) // 4 and 5 are missing
	stream(2)
	stream(3)
	stream(4)
	v.takeDatagram(inputs(4, 3, 5))
	v.takeDatagram(inputs(4, 3, 5))
	v.takeDatagram(inputs(9, 1, 3)) // there is no seat 9
	v.takeDatagram(wire.AppendLeave(nil, wire.Leave{Seat: 4}))
	v.takeDatagram([]byte{200, 1, 2})
	tick()
	require.Equal(t, []byte{1, 2, 3, 4, 5}, g.taken)
	stream(5)
	stream(6)
	tick()
	require.Equal(t, []byte{1, 2, 3, 4, 5, 6}, g.taken)
}

func TestDatagramsBringNoMoreInputsThanTheStreamIsAllowed(t *testing.T) {
	g, _, v, tick := playing(t)
	for seq := range uint32(1000) {
		v.takeDatagram(inputs(4, seq+1, seq+1))
	}
	tick()
	require.Len(t, g.taken, inputsAhead)
	for seq := range uint32(10) { // ten arrive on the stream, too, so datagrams may bring ten more
		require.NoError(t, v.post(wire.KindInput, body(inputs(4, seq+1, seq+1))))
	}
	for seq := range uint32(1000) {
		v.takeDatagram(inputs(4, inputsAhead+seq+1, inputsAhead+seq+1))
	}
	tick()
	require.Len(t, g.taken, inputsAhead+10)
	require.NoError(t, v.post(wire.KindJoin, body(wire.AppendJoin(nil, wire.Join{Seat: 4}))))
	v.takeDatagram(inputs(4, 1, 1))
	tick()
	require.Len(t, g.taken, inputsAhead+10, "the quota is per peer, not per seat")
}
