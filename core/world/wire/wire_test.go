package wire_test

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// one reads the only message of b.
func one(t testing.TB, b []byte) (wire.Kind, []byte) {
	r := wire.NewReader(bytes.NewReader(b), wire.MaxToPlayer)
	kind, body, err := r.Next()
	require.NoError(t, err)
	body = bytes.Clone(body)
	_, _, err = r.Next()
	require.Equal(t, io.EOF, err)
	return kind, body
}

func TestMessagesComeAsTheyWere(t *testing.T) {
	check := func(kind wire.Kind, b []byte, decode func([]byte) (any, error), want any) {
		t.Helper()
		got, body := one(t, b)
		require.Equal(t, kind, got)
		m, err := decode(body)
		require.NoError(t, err)
		require.Equal(t, want, m)
	}
	hello := wire.Hello{Room: "harbour", Version: "1"}
	check(wire.KindHello, wire.AppendHello(nil, hello), func(b []byte) (any, error) { return wire.DecodeHello(b) }, hello)
	join := wire.Join{Seat: 300, Spectator: true, Proof: bytes.Repeat([]byte{7}, 32), Data: []byte("me")}
	check(wire.KindJoin, wire.AppendJoin(nil, join), func(b []byte) (any, error) { return wire.DecodeJoin(b) }, join)
	input := wire.Input{Seat: 1, Seq: 1 << 31, Seen: 200, Data: []byte{1, 2}}
	check(wire.KindInput, wire.AppendInput(nil, input), func(b []byte) (any, error) { return wire.DecodeInput(b) }, input)
	ack := wire.Ack{Seen: 9}
	check(wire.KindAck, wire.AppendAck(nil, ack), func(b []byte) (any, error) { return wire.DecodeAck(b) }, ack)
	leave := wire.Leave{Seat: 128}
	check(wire.KindLeave, wire.AppendLeave(nil, leave), func(b []byte) (any, error) { return wire.DecodeLeave(b) }, leave)
	welcome := wire.Welcome{Seat: 1, Hz: 20, Tick: 1 << 20, Again: true, Data: []byte("boat")}
	check(wire.KindWelcome, wire.AppendWelcome(nil, welcome), func(b []byte) (any, error) { return wire.DecodeWelcome(b) }, welcome)
	out := wire.Out{Seat: 1, All: true, Code: wire.Kicked, Reason: "rammed the quay"}
	check(wire.KindOut, wire.AppendOut(nil, out), func(b []byte) (any, error) { return wire.DecodeOut(b) }, out)
	way := wire.Way{Seat: 2, Walk: 1 << 31, Direction: wire.Go, Room: "east", Host: aPeer}
	check(wire.KindWay, wire.AppendWay(nil, way), func(b []byte) (any, error) { return wire.DecodeWay(b) }, way)
	stay := wire.Way{Seat: 2, Walk: 7, Direction: wire.Stay}
	check(wire.KindWay, wire.AppendWay(nil, stay), func(b []byte) (any, error) { return wire.DecodeWay(b) }, stay)
	arrive := wire.Arrive{Seat: 2, Program: 1 << 30, Walk: 300}
	check(wire.KindArrive, wire.AppendArrive(nil, arrive), func(b []byte) (any, error) { return wire.DecodeArrive(b) }, arrive)
	parted := wire.Parted{Seat: 2, Walk: 300, Gone: true, Reason: "the bridge is up"}
	check(wire.KindParted, wire.AppendParted(nil, parted), func(b []byte) (any, error) { return wire.DecodeParted(b) }, parted)
	arrival := wire.Arrival{Room: "east", Version: "1", From: "west", Player: aPeer, Seat: 2, Program: 9, Walk: 300, Seq: 1 << 20, State: []byte("keys")}
	check(wire.KindArrival, wire.AppendArrival(nil, arrival), func(b []byte) (any, error) { return wire.DecodeArrival(b) }, arrival)
	arrived := wire.Arrived{Seated: true}
	check(wire.KindArrived, wire.AppendArrived(nil, arrived), func(b []byte) (any, error) { return wire.DecodeArrived(b) }, arrived)
	decided := wire.Decided{Gone: true}
	check(wire.KindDecided, wire.AppendDecided(nil, decided), func(b []byte) (any, error) { return wire.DecodeDecided(b) }, decided)
}

// aPeer is a peer ID.
var aPeer = func() peer.ID {
	p, err := peer.Decode("12D3KooWEpZR8iXGsMv4XoQsbyfyQMbRfmS7rq39ARq7Phe6YbYV")
	if err != nil {
		panic(err)
	}
	return p
}()

// everything returns a tick with content of every kind, and numbers of every width.
func everything() (uint32, []wire.Section) {
	long := bytes.Repeat([]byte{1}, 300)
	return 1 << 30, []wire.Section{
		{Seat: 0, Applied: true, Seq: 77, Waited: 49, Left: []uint32{0, 1, 5, 700}},
		{
			Seat: 300, Reset: true,
			Updates: []wire.Update{{0, false, []byte{1}}, {6, true, long[:14]}, {14, false, long[:15]}, {600, true, long}, {601, false, nil}},
			Entered: []wire.Entered{{0, []byte("a")}, {1, nil}, {1<<32 - 1, long}},
			Notes:   [][]byte{[]byte("hear"), nil, long},
		},
	}
}

func TestATickComesAsItWas(t *testing.T) {
	number, sections := everything()
	var b []byte
	for i := range sections {
		b = wire.AppendSection(b, &sections[i])
	}
	kind, body := one(t, wire.AppendTick(nil, number, b))
	require.Equal(t, wire.KindTick, kind)
	var tick wire.Tick
	for range 2 { // the second time, into what the first left
		require.NoError(t, wire.DecodeTick(body, &tick))
		require.Equal(t, number, tick.Number)
		require.Len(t, tick.Sections, 2)
		for i, want := range sections {
			got := tick.Sections[i]
			assert.Equal(t, want.Applied, got.Applied)
			assert.Equal(t, want.Reset, got.Reset)
			assert.Equal(t, [3]uint32{want.Seat, want.Seq, want.Waited}, [3]uint32{got.Seat, got.Seq, got.Waited})
			assert.ElementsMatch(t, want.Left, got.Left)
			require.Len(t, got.Updates, len(want.Updates))
			for j, u := range want.Updates {
				assert.Equal(t, [2]any{u.Place, u.Whole}, [2]any{got.Updates[j].Place, got.Updates[j].Whole})
				assert.Equal(t, string(u.Data), string(got.Updates[j].Data))
			}
			require.Len(t, got.Entered, len(want.Entered))
			for j, e := range want.Entered {
				assert.Equal(t, e.ID, got.Entered[j].ID)
				assert.Equal(t, string(e.Data), string(got.Entered[j].Data))
			}
			require.Len(t, got.Notes, len(want.Notes))
		}
	}
}

func TestAnUpdateOfASmallRecordTakesOneByteMore(t *testing.T) {
	some := wire.Section{Updates: []wire.Update{{0, false, []byte{1, 2}}, {3, false, []byte{1, 2}}, {9, true, []byte{1, 2, 3, 4, 5}}}}
	none := wire.Section{Updates: some.Updates[:1]}
	require.Equal(t, 3+6, len(wire.AppendSection(nil, &some))-len(wire.AppendSection(nil, &none)))
}

func TestWhatIsCutOffIsMalformed(t *testing.T) {
	number, sections := everything()
	b := wire.AppendSection(nil, &sections[1])
	_, body := one(t, wire.AppendTick(nil, number, b))
	var tick wire.Tick
	for n := range len(body) - 1 {
		if err := wire.DecodeTick(body[:n+1], &tick); err != nil {
			require.ErrorIs(t, err, wire.ErrMalformed)
		} else {
			require.Less(t, n, 6, "only the number was left")
		}
	}
}

func TestALengthBeyondTheLimitIsMalformed(t *testing.T) {
	_, _, err := wire.NewReader(bytes.NewReader([]byte{0x81, 0x80, 0x04, 1}), 64<<10).Next()
	require.ErrorIs(t, err, wire.ErrMalformed)
	_, _, err = wire.NewReader(bytes.NewReader([]byte{0}), 64<<10).Next()
	require.ErrorIs(t, err, wire.ErrMalformed)
	_, _, err = wire.NewReader(bytes.NewReader([]byte{0x80, 0x80, 0x04, 1}), 64<<10).Next()
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestAProofIsOfOnePasswordRoomAndPair(t *testing.T) {
	proof := wire.Proof("tide", "harbour", "host", "player")
	for _, other := range [][]byte{
		wire.Proof("ebb", "harbour", "host", "player"),
		wire.Proof("tide", "harbou", "rhost", "player"),
		wire.Proof("tide", "harbour", "other", "player"),
		wire.Proof("tide", "harbour", "host", peer.ID("other")),
	} {
		require.NotEqual(t, proof, other)
	}
	require.Empty(t, wire.Proof("", "harbour", "host", "player"))
}

func FuzzToHost(f *testing.F) {
	f.Add(wire.AppendJoin(wire.AppendHello(nil, wire.Hello{Room: "a"}), wire.Join{Data: []byte("b")}))
	f.Add(wire.AppendLeave(wire.AppendAck(wire.AppendInput(nil, wire.Input{Data: []byte("c")}), wire.Ack{}), wire.Leave{}))
	f.Add(wire.AppendFilter(nil, wire.Filter{Name: "a", Tags: map[string]string{"b": ""}, Free: 1}))
	f.Add(wire.AppendNews(nil, wire.News{Rooms: []wire.Listing{{Name: "a", Tags: map[string]string{"b": "c"}}}, Gone: []string{"d"}}))
	way := wire.AppendWay(wire.AppendWay(nil, wire.Way{Direction: wire.Go, Room: "a", Host: aPeer}), wire.Way{Direction: wire.Stay})
	f.Add(wire.AppendArrival(wire.AppendArrive(way, wire.Arrive{}), wire.Arrival{Player: aPeer, State: []byte("d")}))
	f.Add(wire.AppendDecided(wire.AppendArrived(wire.AppendParted(nil, wire.Parted{Reason: "e"}), wire.Arrived{}), wire.Decided{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(bytes.NewReader(b), wire.MaxToHost)
		for {
			kind, body, err := r.Next()
			if err != nil {
				return
			}
			switch kind {
			case wire.KindHello:
				recode(t, body, wire.DecodeHello, wire.AppendHello)
			case wire.KindJoin:
				recode(t, body, wire.DecodeJoin, wire.AppendJoin)
			case wire.KindInput:
				recode(t, body, wire.DecodeInput, wire.AppendInput)
			case wire.KindAck:
				recode(t, body, wire.DecodeAck, wire.AppendAck)
			case wire.KindLeave:
				recode(t, body, wire.DecodeLeave, wire.AppendLeave)
			case wire.KindWelcome:
				recode(t, body, wire.DecodeWelcome, wire.AppendWelcome)
			case wire.KindOut:
				recode(t, body, wire.DecodeOut, wire.AppendOut)
			case wire.KindFilter:
				recode(t, body, wire.DecodeFilter, wire.AppendFilter)
			case wire.KindNews:
				recode(t, body, wire.DecodeNews, wire.AppendNews)
			case wire.KindWay:
				recode(t, body, wire.DecodeWay, wire.AppendWay)
			case wire.KindArrive:
				recode(t, body, wire.DecodeArrive, wire.AppendArrive)
			case wire.KindParted:
				recode(t, body, wire.DecodeParted, wire.AppendParted)
			case wire.KindArrival:
				recode(t, body, wire.DecodeArrival, wire.AppendArrival)
			case wire.KindArrived:
				recode(t, body, wire.DecodeArrived, wire.AppendArrived)
			case wire.KindDecided:
				recode(t, body, wire.DecodeDecided, wire.AppendDecided)
			}
		}
	})
}

// recode decodes body, encodes and decodes the result again, and checks that both are
// equal.
func recode[M any](t *testing.T, body []byte, decode func([]byte) (M, error), encode func([]byte, M) []byte) {
	m, err := decode(body)
	if err != nil {
		require.ErrorIs(t, err, wire.ErrMalformed)
		return
	}
	_, again := one(t, encode(nil, m))
	twice, err := decode(again)
	require.NoError(t, err)
	require.Equal(t, encode(nil, m), encode(nil, twice))
}

func FuzzTick(f *testing.F) {
	number, sections := everything()
	var b []byte
	for i := range sections {
		b = wire.AppendSection(b, &sections[i])
	}
	_, body := one(f, wire.AppendTick(nil, number, b))
	f.Add(body)
	var tick, again wire.Tick
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, message := range wire.Split(body) {
			_ = wire.DecodeTick(message, &tick)
		}
		if len(body) >= wire.MaxToPlayer {
			return
		}
		if err := wire.DecodeTick(body, &tick); err != nil {
			require.ErrorIs(t, err, wire.ErrMalformed)
			return
		}
		var b []byte
		for i := range tick.Sections {
			b = wire.AppendSection(b, &tick.Sections[i])
		}
		_, body = one(t, wire.AppendTick(nil, tick.Number, b))
		require.NoError(t, wire.DecodeTick(body, &again))
		require.Equal(t, len(tick.Sections), len(again.Sections))
		for i := range tick.Sections {
			require.Equal(t, len(tick.Sections[i].Updates), len(again.Sections[i].Updates))
			require.True(t, slices.Equal(tick.Sections[i].Left, again.Sections[i].Left))
		}
	})
}
