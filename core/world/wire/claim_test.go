package wire

import (
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// claimant is a peer with its key.
type claimant struct {
	id  peer.ID
	key crypto.PrivKey
}

func newClaimant(t testing.TB) claimant {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	id, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	return claimant{id, key}
}

func (c claimant) claims(t testing.TB, epoch, serial uint32, standbys ...claimant) Claim {
	claim := Claim{Room: "r", Epoch: epoch, Serial: serial, Host: c.id}
	for _, s := range standbys {
		claim.Standbys = append(claim.Standbys, s.id)
	}
	require.NoError(t, claim.Sign(c.key))
	return claim
}

func TestALineIsDecodedAsItWasEncoded(t *testing.T) {
	a, b := newClaimant(t), newClaimant(t)
	l := Line{a.claims(t, 1, 3, b), b.claims(t, 2, 1, a)}
	for kind, body := range Split(AppendLine(nil, l)) {
		require.Equal(t, KindLine, kind)
		got, err := DecodeLine(body)
		require.NoError(t, err)
		assert.Equal(t, l, got)
		require.NoError(t, got.Verify("r"))
	}
}

func TestALineIsOfClaimsThatTheOnesBeforeAllow(t *testing.T) {
	a, b, c := newClaimant(t), newClaimant(t), newClaimant(t)
	forged := b.claims(t, 2, 1)
	forged.Signature = a.claims(t, 2, 1).Signature
	renamed := a.claims(t, 1, 1, b)
	renamed.Standbys = []peer.ID{c.id}
	for want, l := range map[string]Line{
		"":                                       {a.claims(t, 1, 1, b), b.claims(t, 2, 1, a), b.claims(t, 3, 1)},
		"without a claim":                        {},
		"does not name":                          {a.claims(t, 1, 1, c), b.claims(t, 2, 1, a)},
		"not of one epoch after the other":       {a.claims(t, 1, 1, b), b.claims(t, 3, 1, a)},
		"in epoch 2 is not signed by it":         {a.claims(t, 1, 1, b), forged},
		"in epoch 1 is not signed by it":         {renamed},
		"are not of one epoch after the other":   {a.claims(t, 0, 1, b)},
		"is to room \"r\", not to \"elsewhere\"": {a.claims(t, 1, 1, b)},
	} {
		room := "r"
		if want == `is to room "r", not to "elsewhere"` {
			room = "elsewhere"
		}
		if err := l.Verify(room); want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
}

func TestOfTwoLinesOneGoesBeforeTheOther(t *testing.T) {
	a, b, c, d := newClaimant(t), newClaimant(t), newClaimant(t), newClaimant(t)
	first := Line{a.claims(t, 1, 1, b, c)}
	afterB, afterC := first.Continued(b.claims(t, 2, 1, c, a)), first.Continued(c.claims(t, 2, 1, b, a))
	for i, x := range []struct {
		one, other Line
		beats      bool
	}{
		{afterB, first, true},
		{first, afterB, false},
		{first, first, false},
		{first.Renewed(a.claims(t, 1, 2, d)), first, true},
		{first, first.Renewed(a.claims(t, 1, 2, d)), false},
		{afterB, afterC, true}, // the first of the standbys
		{afterC, afterB, false},
		{afterC.Continued(a.claims(t, 3, 1, b, c)), afterB, true}, // a later epoch
		{Line{d.claims(t, 9, 1)}, first, false},                   // a stranger's
		{first, Line{d.claims(t, 9, 1)}, false},
	} {
		assert.Equal(t, x.beats, x.one.Beats(x.other), "case %d", i)
	}
}

func TestALongLineForgetsItsFirstClaims(t *testing.T) {
	a, b := newClaimant(t), newClaimant(t)
	l := Line{a.claims(t, 1, 1, b)}
	for epoch := uint32(2); epoch < 3*MaxLine; epoch++ {
		if epoch%2 == 0 {
			l = l.Continued(b.claims(t, epoch, 1, a))
		} else {
			l = l.Continued(a.claims(t, epoch, 1, b))
		}
	}
	require.Len(t, l, MaxLine)
	require.NoError(t, l.Verify("r"))
}

func TestAMarkIsSignedForItsRoomAndEpoch(t *testing.T) {
	a, b := newClaimant(t), newClaimant(t)
	var c Chain
	c.Add([]byte("records"))
	m := Mark{Number: 1, Tick: 7, Sum: c.End(1, 7, 0)}
	require.NoError(t, m.Sign(a.key, "r", 3))
	for kind, body := range Split(AppendMark(nil, m)) {
		require.Equal(t, KindMark, kind)
		got, err := DecodeMark(body)
		require.NoError(t, err)
		assert.Equal(t, m, got)
	}
	assert.True(t, m.Verify(a.id, "r", 3))
	assert.False(t, m.Verify(b.id, "r", 3))
	assert.False(t, m.Verify(a.id, "s", 3))
	assert.False(t, m.Verify(a.id, "r", 4))
	m.Sum[0]++
	assert.False(t, m.Verify(a.id, "r", 3))
}

// noted takes records down as text.
type noted []string

func (n *noted) note(format string, args ...any) error {
	*n = append(*n, fmt.Sprintf(format, args...))
	return nil
}
func (n *noted) Entity(e uint32, x, y float32, data []byte) error {
	return n.note("entity %d %v %v %q", e, x, y, data)
}
func (n *noted) Gone(e uint32) error { return n.note("gone %d", e) }
func (n *noted) Player(p peer.ID, number uint32, data []byte) error {
	return n.note("player %s %d %q", p, number, data)
}
func (n *noted) Input(p peer.ID, number, program, seq uint32) error {
	return n.note("input %s %d %d %d", p, number, program, seq)
}
func (n *noted) Value(name string, value []byte) error {
	return n.note("value %q %q %t", name, value, value == nil)
}
func (n *noted) Board(key string, value []byte) error {
	return n.note("board %q %q %t", key, value, value == nil)
}
func (n *noted) Ban(p peer.ID, banned bool) error { return n.note("ban %s %t", p, banned) }

func TestRecordsAreDecodedAsTheyWereEncoded(t *testing.T) {
	p := newClaimant(t).id
	b := AppendEntity(nil, 7, 1.5, -2, []byte("e"))
	b = AppendGone(b, 300)
	b = AppendPlayer(b, p, 2, []byte("kept"))
	b = AppendPlayer(b, p, 3, nil)
	b = AppendInputSeq(b, p, 2, 9, 1<<31)
	b = AppendValue(b, "board", []byte{})
	b = AppendValue(b, "board", nil)
	b = AppendBoard(AppendBoard(b, "/p/0", []byte("me")), "/p/1", nil)
	b = AppendBan(AppendBan(b, p, true), p, false)
	var got noted
	require.NoError(t, DecodeRecords(b, &got))
	assert.Equal(t, noted{
		`entity 7 1.5 -2 "e"`, "gone 300",
		fmt.Sprintf(`player %s 2 "kept"`, p), fmt.Sprintf(`player %s 3 ""`, p), fmt.Sprintf("input %s 2 9 %d", p, 1<<31),
		`value "board" "" false`, `value "board" "" true`,
		`board "/p/0" "me" false`, `board "/p/1" "" true`,
		fmt.Sprintf("ban %s true", p), fmt.Sprintf("ban %s false", p),
	}, got)
	for n := range len(b) {
		if err := DecodeRecords(b[:n], new(noted)); err != nil {
			require.ErrorIs(t, err, ErrMalformed)
		}
	}
}
