package pair

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/gtank/ristretto255"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/native"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// vectors also hold for the page: web/test/unit/pairing.test.ts reads the same file.
type vectors struct {
	Read []struct {
		Typed string
		Code  *Code // nil: it is not a code
	}
	// Draft is appendix "CPace using group ristretto255 and hash SHA-512" of
	// draft-irtf-cfrg-cpace.
	Draft struct {
		Secret               string
		CI, SID, Generator   bytesOfHex
		Initiator, Responder struct{ Scalar, Share, AD bytesOfHex }
		Point, Key           bytesOfHex
		Refused              []bytesOfHex
	}
	Meeting struct {
		Code                                               Code
		Network, Type, Typer, Shower                       string
		TyperScalar, ShowerScalar, TyperShare, ShowerShare bytesOfHex
		TypedProof                                         bytesOfHex
		Shown                                              []struct {
			Name  string
			Proof bytesOfHex
		}
	}
}

type bytesOfHex []byte

func (b *bytesOfHex) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &v))
	return v
}

func TestACodeIsReadAsAPersonTypesIt(t *testing.T) {
	v := readVectors(t)
	require.NotEmpty(t, v.Read)
	for _, r := range v.Read {
		code, err := ReadCode(r.Typed)
		if r.Code == nil {
			assert.ErrorContains(t, err, "is not a code", r.Typed)
			continue
		}
		require.NoError(t, err, r.Typed)
		assert.Equal(t, *r.Code, code, r.Typed)
	}
}

func scalar(t *testing.T, b []byte) *ristretto255.Scalar {
	t.Helper()
	s := ristretto255.NewScalar()
	require.NoError(t, s.Decode(b))
	return s
}

func TestTheExchangeIsThatOfTheDraft(t *testing.T) {
	v := readVectors(t).Draft
	g := generator(v.Secret, v.CI, v.SID)
	assert.Equal(t, []byte(v.Generator), g.Encode(nil))
	a, b := exchangeOf(scalar(t, v.Initiator.Scalar), g), exchangeOf(scalar(t, v.Responder.Scalar), g)
	assert.Equal(t, []byte(v.Initiator.Share), a.share)
	assert.Equal(t, []byte(v.Responder.Share), b.share)
	for _, run := range []struct {
		exchange
		other []byte
	}{{a, b.share}, {b, a.share}} {
		point, err := run.point(run.other)
		require.NoError(t, err)
		assert.Equal(t, []byte(v.Point), point)
	}
	transcript := append(lvCat(a.share, v.Initiator.AD), lvCat(b.share, v.Responder.AD)...)
	assert.Equal(t, []byte(v.Key), keyOf(v.SID, v.Point, transcript))
	require.NotEmpty(t, v.Refused)
	for _, share := range v.Refused {
		_, err := a.point(share)
		require.ErrorIs(t, err, errShare, "%x", share)
	}
	long := lvCat(make([]byte, 300))
	assert.Equal(t, []byte{0xac, 0x02}, long[:2])
}

func TestTheProofsAreThoseThatThePageMakesToo(t *testing.T) {
	v := readVectors(t).Meeting
	typer, err := peer.Decode(v.Typer)
	require.NoError(t, err)
	shower, err := peer.Decode(v.Shower)
	require.NoError(t, err)
	m := meet(v.Code, v.Network)
	assert.Equal(t, v.Type, m.typ)
	g := generator(m.secret, m.parties(typer, shower), nil)
	a, b := exchangeOf(scalar(t, v.TyperScalar), g), exchangeOf(scalar(t, v.ShowerScalar), g)
	assert.Equal(t, hex.EncodeToString(v.TyperShare), hex.EncodeToString(a.share))
	assert.Equal(t, hex.EncodeToString(v.ShowerShare), hex.EncodeToString(b.share))
	point, err := b.point(a.share)
	require.NoError(t, err)
	run := proofsOf(point, a.share, b.share)
	assert.Equal(t, hex.EncodeToString(v.TypedProof), hex.EncodeToString(run.ofTyper()))
	require.NotEmpty(t, v.Shown)
	for _, s := range v.Shown {
		assert.Equal(t, hex.EncodeToString(s.Proof), hex.EncodeToString(run.ofShower(s.Name)), s.Name)
	}
}

// TestAKeyIsOfTheSecretTheNetworkAndBothPeers checks that two peers which differ in one of
// these get different keys, so that neither can prove anything to the other.
func TestAKeyIsOfTheSecretTheNetworkAndBothPeers(t *testing.T) {
	keyed := func(m meeting, typer, shower peer.ID, a exchange) []byte {
		b := m.begin(typer, shower)
		pointA, err := a.point(b.share)
		require.NoError(t, err)
		pointB, err := b.point(a.share)
		require.NoError(t, err)
		one, two := proofsOf(pointA, a.share, b.share), proofsOf(pointB, a.share, b.share)
		if !bytes.Equal(one.ofTyper(), two.ofTyper()) {
			assert.NotEqual(t, one.ofShower(""), two.ofShower(""))
			return nil
		}
		assert.Equal(t, one.ofShower("x"), two.ofShower("x"))
		assert.NotEqual(t, one.ofShower(""), one.ofShower("x"))
		assert.NotEqual(t, one.ofTyper(), one.ofShower(""))
		return one.key
	}
	m := meet("7K3MPX2Q9", "net")
	first, second := keyed(m, "a", "b", m.begin("a", "b")), keyed(m, "a", "b", m.begin("a", "b"))
	require.NotNil(t, first)
	require.NotNil(t, second)
	assert.NotEqual(t, first, second, "each run has its own")
	assert.Nil(t, keyed(meet("7K3MPX2Q8", "net"), "a", "b", m.begin("a", "b")))
	assert.Nil(t, keyed(meet("7K3MPX2Q9", "other"), "a", "b", m.begin("a", "b")))
	assert.Nil(t, keyed(m, "a", "c", m.begin("a", "b")), "a peer in the middle cannot pass it on")
	assert.Nil(t, keyed(m, "c", "b", m.begin("a", "b")))
	assert.Nil(t, keyed(m, "b", "a", m.begin("a", "b")))
}

func TestANewCodeIsReadAsItIsShown(t *testing.T) {
	code := NewCode()
	assert.Regexp(t, `^[0-9A-HJKMNP-TV-Z]{3}(-[0-9A-HJKMNP-TV-Z]{3}){2}$`, code.String())
	read, err := ReadCode(code.String())
	require.NoError(t, err)
	assert.Equal(t, code, read)
	assert.NotEqual(t, code, NewCode())
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// newNode makes a node that is connected to others.
func newNode(t *testing.T, others ...*core.Node) *core.Node {
	t.Helper()
	n, err := native.New(testContext(t), native.Options{Listen: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0")}, NoMDNS: true, NoPortMapping: true})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	for _, other := range others {
		_, err := n.Connect(testContext(t), other.Addrs()[0].String())
		require.NoError(t, err)
	}
	return n
}

type outcome struct {
	peer peer.ID
	err  error
}

const code Code = "7K3MPX2Q9"

func TestTwoPeersMeetByACodeOnce(t *testing.T) {
	t.Parallel()
	a := newNode(t)
	b := newNode(t, a)
	m := meet(code, a.Network())
	ready, shown := make(chan struct{}), make(chan outcome, 1)
	var askedFor peer.ID
	go func() {
		p, err := show(testContext(t), a, code, Shown{
			Shares: func(p peer.ID) []protocol.ID {
				askedFor = p
				return []protocol.ID{"/x/ssh", "/x/Ä/http", "/x/charts/http", "/x/more/http"}
			},
			Ready: func(Code, time.Time) error {
				close(ready)
				return nil
			},
		})
		shown <- outcome{p, err}
	}()
	select {
	case <-ready:
	case o := <-shown:
		require.NoError(t, o.err)
	}

	// A peer that knows the type where they meet, but not the code, does not use up the code.
	_, err := b.Request(testContext(t), a.ID(), m.typ, make([]byte, proofBytes))
	require.ErrorContains(t, err, errOrder.Error())
	_, err = b.Request(testContext(t), a.ID(), m.typ, make([]byte, shareBytes))
	require.ErrorContains(t, err, errShare.Error())
	f := finder{meeting: meet("7K3000000", a.Network()), node: b}
	_, err = f.prove(testContext(t), a.ID())
	require.ErrorContains(t, err, a.ID().String()+" refuses: "+errWrong.Error())
	met, err := Find(testContext(t), b, code)
	require.NoError(t, err)
	assert.Equal(t, Met{a.ID(), "/x/charts/http"}, met)
	assert.Equal(t, outcome{b.ID(), nil}, <-shown)
	assert.Equal(t, b.ID(), askedFor)
	_, connected := a.Peer(b.ID())
	assert.True(t, connected)

	_, err = b.Request(testContext(t), a.ID(), m.typ, m.begin(b.ID(), a.ID()).share)
	require.ErrorIs(t, err, link.ErrUnanswered, "it works once")
}

// asks sends s what typer would send, and returns the answer to its proof.
func asks(t *testing.T, s *shower, m meeting, typer peer.ID) ([]byte, proofs, error) {
	t.Helper()
	x := m.begin(typer, s.self)
	share, err := s.answer(t.Context(), &message.Message{From: typer, Data: x.share})
	if err != nil {
		return nil, proofs{}, err
	}
	point, err := x.point(share)
	require.NoError(t, err)
	run := proofsOf(point, x.share, share)
	answer, err := s.answer(t.Context(), &message.Message{From: typer, Data: run.ofTyper()})
	return answer, run, err
}

func TestOfTwoPeersWithTheCodeTheSecondIsRefused(t *testing.T) {
	m := meet(code, "net")
	s := newShower(m, "shower", nil)
	x := m.begin("second", "shower")
	share, err := s.answer(t.Context(), &message.Message{From: "second", Data: x.share})
	require.NoError(t, err)
	proof, run, err := asks(t, s, m, "first")
	require.NoError(t, err)
	assert.Equal(t, run.ofShower(""), proof)
	point, err := x.point(share)
	require.NoError(t, err)
	_, err = s.answer(t.Context(), &message.Message{From: "second", Data: proofsOf(point, x.share, share).ofTyper()})
	require.ErrorIs(t, err, errUsed, "it had begun before")
	_, _, err = asks(t, s, m, "third")
	require.ErrorIs(t, err, errUsed)
	assert.Equal(t, peer.ID("first"), <-s.met)
}

func TestARunHasOneGuess(t *testing.T) {
	m := meet(code, "net")
	s := newShower(m, "shower", nil)
	x := m.begin("typer", "shower")
	share, err := s.answer(t.Context(), &message.Message{From: "typer", Data: x.share})
	require.NoError(t, err)
	point, err := x.point(share)
	require.NoError(t, err)
	right := proofsOf(point, x.share, share).ofTyper()
	_, err = s.answer(t.Context(), &message.Message{From: "other", Data: right})
	require.ErrorIs(t, err, errOrder, "the run of another peer")
	for _, wrong := range [][]byte{nil, right[:8], make([]byte, proofBytes), append(right, 0)} {
		_, err := s.answer(t.Context(), &message.Message{From: "typer", Data: wrong})
		require.Error(t, err)
	}
	_, err = s.answer(t.Context(), &message.Message{From: "typer", Data: right})
	require.ErrorIs(t, err, errOrder, "a wrong proof has ended it")
}

func TestACodeEndsWhenItWasTriedTooOften(t *testing.T) {
	wrong, m := meet("7K3000000", "net"), meet(code, "net")
	s := newShower(m, "shower", nil)
	for range maxTries {
		_, _, err := asks(t, s, wrong, "guesser")
		require.ErrorIs(t, err, errWrong)
	}
	assert.Empty(t, s.runs)
	select {
	case <-s.tried:
		t.Fatal("it ended before the last try")
	default:
	}
	_, _, err := asks(t, s, m, "typer")
	require.ErrorIs(t, err, errUsed)
	<-s.tried
	_, _, err = asks(t, s, m, "typer")
	require.ErrorIs(t, err, errUsed)
}

func TestAPeerThatOnlyWatchesTheTypeIsNotMet(t *testing.T) {
	t.Parallel()
	a := newNode(t)
	b := newNode(t, a)
	m := meet("ABCMPX2Q9", "net")
	f := finder{meeting: m, node: b}
	// answers responds as a peer that has the code, except that change makes its last
	// answer.
	answers := func(m meeting, change func(run proofs) []byte) func(context.Context, *message.Message) ([]byte, error) {
		var run proofs
		return func(_ context.Context, q *message.Message) ([]byte, error) {
			if len(q.Data) == proofBytes {
				return change(run), nil
			}
			x := m.begin(q.From, a.ID())
			point, err := x.point(q.Data)
			run = proofsOf(point, q.Data, x.share)
			return x.share, err
		}
	}
	says := func(answer []byte, err error) func(context.Context, *message.Message) ([]byte, error) {
		return func(context.Context, *message.Message) ([]byte, error) { return answer, err }
	}
	for name, x := range map[string]struct {
		responder func(context.Context, *message.Message) ([]byte, error)
		want      string
	}{
		"nothing":           {says(nil, nil), errShare.Error()},
		"the neutral point": {says(make([]byte, shareBytes), nil), errShare.Error()},
		"a refusal":         {says(nil, errors.New("go away")), a.ID().String() + " refuses: go away"},
		"no proof":          {answers(m, func(proofs) []byte { return nil }), "has not proved"},
		"the typer's proof": {answers(m, proofs.ofTyper), "has not proved"},
		"of another name":   {answers(m, func(run proofs) []byte { return append(run.ofShower("charts"), "other"...) }), "has not proved"},
		"too short":         {answers(m, func(run proofs) []byte { return run.ofShower("")[:8] }), "has not proved"},
		"of another code":   {answers(meet("ABC000000", "net"), func(run proofs) []byte { return run.ofShower("") }), "has not proved"},
	} {
		remove, err := a.Respond(m.typ, x.responder)
		require.NoError(t, err)
		_, err = f.prove(testContext(t), a.ID())
		require.ErrorContains(t, err, x.want, name)
		remove()
	}
	remove, err := a.Respond(m.typ, answers(m, func(run proofs) []byte { return append(run.ofShower("../odd"), "../odd"...) }))
	require.NoError(t, err)
	defer remove()
	met, err := f.prove(testContext(t), a.ID())
	require.NoError(t, err)
	assert.Equal(t, Met{Peer: a.ID()}, met, "an invalid name is left out")
}

func TestACodeEndsInTimeAndWithItsCallerAndItsNode(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	ready := func(Code, time.Time) error { return nil }
	_, err := show(t.Context(), n, code, Shown{Valid: time.Millisecond, Ready: ready})
	require.ErrorIs(t, err, ErrExpired)
	require.ErrorContains(t, err, "1ms")
	past, end := context.WithTimeout(t.Context(), time.Millisecond)
	defer end()
	_, err = Find(past, n, code)
	require.ErrorIs(t, err, ErrNobody, "it is not shown any more")

	ctx, cancel := context.WithCancel(t.Context())
	_, err = show(ctx, n, code, Shown{Ready: func(Code, time.Time) error {
		cancel()
		return nil
	}})
	require.ErrorIs(t, err, context.Canceled)
	_, err = Find(ctx, n, code)
	require.ErrorIs(t, err, context.Canceled)
	broken := errors.New("nobody reads it")
	_, err = show(t.Context(), n, code, Shown{Ready: func(Code, time.Time) error { return broken }})
	require.ErrorIs(t, err, broken)
	_, err = show(t.Context(), n, code, Shown{Ready: func(Code, time.Time) error { return n.Close() }})
	require.ErrorIs(t, err, core.ErrClosed)
	_, err = Find(t.Context(), n, code)
	require.ErrorIs(t, err, core.ErrClosed)
}
