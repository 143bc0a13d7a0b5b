package world

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// feeder is a host that feeds a mirror.
type feeder struct {
	key    crypto.PrivKey
	claim  wire.Claim
	chain  wire.Chain
	number uint32
}

func newFeeder(t testing.TB) *feeder {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	id, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	return &feeder{key: key, claim: wire.Claim{Room: "r", Epoch: 1, Host: id}}
}

// mark ends a batch and returns its mark, after change has altered it.
func (f *feeder) mark(t testing.TB, change func(*wire.Mark)) []byte {
	f.number++
	m := wire.Mark{Number: f.number, Tick: 10 * f.number}
	m.Sum = f.chain.End(m.Number, m.Tick, m.Flags)
	change(&m)
	for _, body := range wire.Split(wire.AppendMark(nil, m)) {
		return body
	}
	t.Fatal("no mark")
	return nil
}

func (f *feeder) seal(t testing.TB) func(*wire.Mark) {
	return func(m *wire.Mark) { require.NoError(t, m.Sign(f.key, "r", 1)) }
}

// tell sends records to the mirror without ending their batch.
func (f *feeder) tell(t testing.TB, m *mirror, records []byte) {
	f.chain.Add(records)
	require.NoError(t, m.take(records))
}

func TestRecordsOfBoardsHaveKeysThatAStoreTakes(t *testing.T) {
	m := newMirror()
	for key, takes := range map[string]bool{
		"/v": true, "/p/1z": true, "/s/C5O7/1/-k3/0": true,
		"": false, "/": false, "p": false, "/p/": false, "//p": false, "/p//1": false, "/p/\x00": false, "/p/é": false, "/p/../v": false,
		"/" + strings.Repeat("p", maxBoardKey): false,
	} {
		err := m.Board(key, []byte("x"))
		assert.Equal(t, takes, err == nil, key)
	}
	assert.Len(t, m.boards, 3)
}

func TestAStandbyCountsWhatItHasAndNotWhatItWasTold(t *testing.T) {
	m, p := newMirror(), newFeeder(t).claim.Host
	for range 100 {
		require.NoError(t, m.Player(p, 1, []byte("kept")))
		require.NoError(t, m.Value("round", []byte("1")))
		require.NoError(t, m.Board("/p/0", []byte(p)))
		require.NoError(t, m.Entity(1, 0, 0, []byte("here")))
	}
	assert.Less(t, m.bytes, 1000)
	require.NoError(t, m.Player(p, 1, nil))
	require.NoError(t, m.Value("round", nil))
	require.NoError(t, m.Board("/p/0", nil))
	require.NoError(t, m.Gone(1))
	assert.Zero(t, m.bytes)
}

func TestAStandbyHasTheWorldAsOfTheLastWholeBatch(t *testing.T) {
	f, m := newFeeder(t), newMirror()
	f.tell(t, m, wire.AppendEntity(nil, 1, 2, 3, []byte("a")))
	f.tell(t, m, wire.AppendValue(nil, "round", []byte("1")))
	_, err := m.mark(f.mark(t, f.seal(t)), &f.claim)
	require.NoError(t, err)
	f.tell(t, m, wire.AppendEntity(nil, 1, 4, 5, []byte("b")))
	f.tell(t, m, wire.AppendGone(wire.AppendValue(nil, "round", nil), 9))
	assert.Equal(t, map[uint32]mirrored{1: {2, 3, []byte("a")}}, m.entities, "the batch is not whole")
	assert.Equal(t, map[string][]byte{"round": []byte("1")}, m.values)
	_, err = m.mark(f.mark(t, func(*wire.Mark) {}), &f.claim)
	require.NoError(t, err)
	assert.Equal(t, map[uint32]mirrored{1: {4, 5, []byte("b")}}, m.entities)
	assert.Empty(t, m.values)
	assert.EqualValues(t, 20, m.tick)
}

func TestAStandbyDoesNotTakeWhatIsNotInTheChain(t *testing.T) {
	for want, change := range map[string]func(*feeder, *mirror, *wire.Mark){
		"batch 3 after 1":             func(_ *feeder, _ *mirror, m *wire.Mark) { m.Number++ },
		"is not as the host has":      func(_ *feeder, _ *mirror, m *wire.Mark) { m.Sum[3]++ },
		"is not signed by the host":   func(_ *feeder, _ *mirror, m *wire.Mark) { m.Signature = []byte("x") },
		"the host has not signed the": func(_ *feeder, to *mirror, _ *wire.Mark) { to.unsealed = mostUnsealed },
	} {
		f, m := newFeeder(t), newMirror()
		_, err := m.mark(f.mark(t, f.seal(t)), &f.claim)
		require.NoError(t, err)
		f.tell(t, m, wire.AppendEntity(nil, 1, 2, 3, nil))
		_, err = m.mark(f.mark(t, func(mark *wire.Mark) { change(f, m, mark) }), &f.claim)
		require.ErrorIs(t, err, wire.ErrMalformed)
		require.ErrorContains(t, err, want)
		assert.Empty(t, m.entities)
	}
}

func FuzzWhatAStandbyReceives(f *testing.F) {
	host := newFeeder(f)
	records := wire.AppendEntity(nil, 1, 2, 3, []byte("a"))
	records = wire.AppendPlayer(records, host.claim.Host, 1, []byte("kept"))
	records = wire.AppendInputSeq(records, host.claim.Host, 1, 2, 3)
	records = wire.AppendValue(wire.AppendGone(records, 1), "n", []byte("v"))
	host.chain.Add(records)
	seed := wire.AppendRecords(nil, records)
	mark := wire.Mark{Number: 1, Sum: host.chain.End(1, 0, 0)}
	seed = wire.AppendMark(seed, mark)
	f.Add(wire.AppendRecords(seed, records))
	require.NoError(f, host.claim.Sign(host.key))
	f.Add(wire.AppendLine(nil, wire.Line{host.claim}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newMirror()
		for kind, body := range wire.Split(data) {
			switch kind {
			case wire.KindLine:
				if l, err := wire.DecodeLine(body); err == nil {
					_ = l.Verify("r")
				}
			case wire.KindRecords:
				_ = m.take(body)
			case wire.KindMark:
				_, _ = m.mark(body, &host.claim)
			}
		}
		for e, at := range m.entities {
			if e >= MaxEntities || !isPlace(at.x, at.y) {
				t.Fatalf("entity %d is at (%v, %v)", e, at.x, at.y)
			}
		}
	})
}

func TestAStandbyThatWasCutOffInTheFirstBatchAsksAnew(t *testing.T) {
	f := &fed{standby: &Standby{room: new(Room)}, heard: time.Now().Add(-time.Hour)} // it has not received a whole world
	require.Greater(t, time.Until(f.limit()), silence, "there is time for the next try")
	f.ready = true
	require.Negative(t, time.Until(f.limit()), "it is time to take over")
}
