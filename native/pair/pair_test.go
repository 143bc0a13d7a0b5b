package pair

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

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

// vectors are what the page derives, too: web/test/unit/pairing.test.ts reads the same file.
type vectors struct {
	Read []struct {
		Typed string
		Code  *Code // nil: it is not a code
	}
	// Meeting is one only: with the race detector, each takes many seconds.
	Meeting struct {
		Code                         Code
		Network, Type, Typer, Shower string
		TypedProof                   string
		Shown                        []struct{ Name, Proof string }
	}
}

func TestTheVectorsThatThePageDerivesToo(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	var v vectors
	require.NoError(t, json.Unmarshal(b, &v))
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
	w := v.Meeting
	typer, err := peer.Decode(w.Typer)
	require.NoError(t, err)
	shower, err := peer.Decode(w.Shower)
	require.NoError(t, err)
	m, err := meet(w.Code, w.Network)
	require.NoError(t, err)
	assert.Equal(t, w.Type, m.typ)
	assert.Equal(t, w.TypedProof, hex.EncodeToString(m.typed(typer, shower)))
	require.NotEmpty(t, w.Shown)
	for _, s := range w.Shown {
		assert.Equal(t, s.Proof, hex.EncodeToString(m.shown(typer, shower, s.Name)), s.Name)
	}
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

// newNode is a node that is connected to others.
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

func TestTwoPeersMeetByACodeOnce(t *testing.T) {
	t.Parallel()
	a := newNode(t)
	b := newNode(t, a)
	m := meeting{"pair/a", []byte("key")} // what a code gives, native/cmd/tombolo tests
	ready, shown := make(chan struct{}), make(chan outcome, 1)
	var askedFor peer.ID
	go func() {
		p, err := m.show(testContext(t), a, "", Shown{
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

	// A peer that knows where they meet, but not the code, does not use it up.
	var err error
	for _, wrong := range [][]byte{nil, make([]byte, proofBytes), m.typed(a.ID(), b.ID()), append(m.typed(b.ID(), a.ID()), 0)} {
		_, err = b.Request(testContext(t), a.ID(), m.typ, wrong)
		require.ErrorContains(t, err, errWrong.Error())
	}
	met, err := m.find(testContext(t), b)
	require.NoError(t, err)
	assert.Equal(t, Met{a.ID(), "/x/charts/http"}, met)
	assert.Equal(t, outcome{b.ID(), nil}, <-shown)
	assert.Equal(t, b.ID(), askedFor)
	_, connected := a.Peer(b.ID())
	assert.True(t, connected)

	_, err = b.Request(testContext(t), a.ID(), m.typ, m.typed(b.ID(), a.ID()))
	require.ErrorIs(t, err, link.ErrUnanswered, "it works once")
}

func TestOfTwoPeersWithTheCodeTheSecondIsRefused(t *testing.T) {
	m := meeting{"pair/a", []byte("key")}
	s := shower{meeting: m, self: "shower", met: make(chan peer.ID, 1)}
	proof, err := s.answer(t.Context(), &message.Message{From: "first", Data: m.typed("first", "shower")})
	require.NoError(t, err)
	assert.Equal(t, m.shown("first", "shower", ""), proof)
	_, err = s.answer(t.Context(), &message.Message{From: "second", Data: m.typed("second", "shower")})
	require.ErrorIs(t, err, errUsed)
	assert.Equal(t, peer.ID("first"), <-s.met)
}

func TestAPeerThatOnlyWatchesTheTypeIsNotMet(t *testing.T) {
	t.Parallel()
	a := newNode(t)
	b := newNode(t, a)
	m := meeting{"pair/a", []byte("key")}
	f := finder{meeting: m, node: b}
	for name, x := range map[string]struct {
		answer []byte
		err    error
		want   string
	}{
		"nothing":          {nil, nil, "has not proved"},
		"its own proof":    {m.typed(b.ID(), a.ID()), nil, "has not proved"},
		"of another name":  {append(m.shown(b.ID(), a.ID(), "charts"), "other"...), nil, "has not proved"},
		"a refusal":        {nil, errors.New("go away"), a.ID().String() + " refuses: go away"},
		"of another peer":  {m.shown(b.ID(), b.ID(), ""), nil, "has not proved"},
		"too short":        {m.shown(b.ID(), a.ID(), "")[:8], nil, "has not proved"},
		"of another key":   {meeting{key: []byte("k")}.shown(b.ID(), a.ID(), ""), nil, "has not proved"},
		"of another typer": {m.shown(a.ID(), a.ID(), ""), nil, "has not proved"},
	} {
		remove, err := a.Respond(m.typ, func(context.Context, *message.Message) ([]byte, error) { return x.answer, x.err })
		require.NoError(t, err)
		_, err = f.prove(testContext(t), a.ID())
		require.ErrorContains(t, err, x.want, name)
		remove()
	}
	remove, err := a.Respond(m.typ, func(context.Context, *message.Message) ([]byte, error) {
		return append(m.shown(b.ID(), a.ID(), "../odd"), "../odd"...), nil
	})
	require.NoError(t, err)
	defer remove()
	met, err := f.prove(testContext(t), a.ID())
	require.NoError(t, err)
	assert.Equal(t, Met{Peer: a.ID()}, met, "a name that is none is left out")
}

func TestACodeEndsInTimeAndWithItsCallerAndItsNode(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	m := meeting{"pair/a", []byte("key")}
	ready := func(Code, time.Time) error { return nil }
	_, err := m.show(t.Context(), n, "", Shown{Valid: time.Millisecond, Ready: ready})
	require.ErrorIs(t, err, ErrExpired)
	require.ErrorContains(t, err, "1ms")
	past, end := context.WithTimeout(t.Context(), time.Millisecond)
	defer end()
	_, err = m.find(past, n)
	require.ErrorIs(t, err, ErrNobody, "it is not shown any more")

	ctx, cancel := context.WithCancel(t.Context())
	_, err = m.show(ctx, n, "", Shown{Ready: func(Code, time.Time) error {
		cancel()
		return nil
	}})
	require.ErrorIs(t, err, context.Canceled)
	_, err = m.find(ctx, n)
	require.ErrorIs(t, err, context.Canceled)
	broken := errors.New("nobody reads it")
	_, err = m.show(t.Context(), n, "", Shown{Ready: func(Code, time.Time) error { return broken }})
	require.ErrorIs(t, err, broken)
	_, err = m.show(t.Context(), n, "", Shown{Ready: func(Code, time.Time) error { return n.Close() }})
	require.ErrorIs(t, err, core.ErrClosed)
	_, err = m.find(t.Context(), n)
	require.ErrorIs(t, err, core.ErrClosed)
}
