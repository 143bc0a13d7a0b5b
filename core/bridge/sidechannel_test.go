package bridge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
)

// stranger makes a host that is not a Tombolo node, connected to n.
func stranger(t testing.TB, n *core.Node) host.Host {
	t.Helper()
	h := hosttest.New(t, hosttest.Options{})
	require.NoError(t, h.Connect(testContext(t), hosttest.Info(n.Host())))
	return h
}

// put sends any bytes to n as a question and returns the answer.
func put(t testing.TB, h host.Host, n *core.Node, b []byte) ([]byte, error) {
	t.Helper()
	s, err := h.NewStream(testContext(t), n.ID(), bridge.Protocol)
	require.NoError(t, err)
	defer s.Reset()
	if _, err = s.Write(b); err == nil {
		_ = s.CloseWrite()
	}
	return io.ReadAll(s)
}

func TestGarbageIsNotAnswered(t *testing.T) {
	n := newNode(t, bridge.Timeouts{})
	listen(t, n, "/x/echo", echo, bridge.Announce("echoes"))
	h := stranger(t, n)
	for _, garbage := range []string{"", "{", "[]", "null", "\x00\xff", `{"ask":"secrets"}`, `{"ask":7}`, `"ask"`,
		strings.Repeat("[", 1<<16), strings.Repeat(" ", 1<<16) + `{"ask":"services"}`} {
		got, err := put(t, h, n, []byte(garbage))
		assert.Error(t, err, "%.20q", garbage)
		assert.Empty(t, got)
	}
	got, err := put(t, h, n, []byte(`{"ask":"services","and":"more"}`))
	require.NoError(t, err)
	assert.JSONEq(t, `{"services":[{"protocol":"/x/echo","description":"echoes"}]}`, string(got))
}

func TestAQuestionThatIsNeverFinishedHoldsUpNobody(t *testing.T) {
	t.Parallel() // it mostly waits
	here, there := pair(t, bridge.Timeouts{})
	h := stranger(t, there)
	const unfinished = 200
	for range unfinished {
		s, err := h.NewStream(testContext(t), there.ID(), bridge.Protocol)
		require.NoError(t, err)
		defer s.Reset()
		_, _ = s.Write([]byte(`{"ask":`))
	}
	_, err := here.Services(testContext(t), there.ID())
	require.NoError(t, err)
	// Streams beyond the limit are reset at once, the others after the timeout.
	eventually(t, func() bool {
		open := 0
		for _, c := range there.Host().Network().ConnsToPeer(h.ID()) {
			for _, s := range c.GetStreams() {
				if s.Protocol() == bridge.Protocol {
					open++
				}
			}
		}
		return open == 0
	})
}

// liar makes a host that refuses every stream of a protocol and answers questions with
// answer.
func liar(t testing.TB, n *core.Node, proto protocol.ID, answer func(network.Stream)) host.Host {
	t.Helper()
	h := hosttest.New(t, hosttest.Options{})
	h.SetStreamHandler(proto, func(s network.Stream) { _ = s.Reset() })
	h.SetStreamHandler(bridge.Protocol, answer)
	require.NoError(t, n.ConnectPeer(testContext(t), hosttest.Info(h)))
	return h
}

func TestAReasonOfAPeerIsBoundedAndReadable(t *testing.T) {
	n := newNode(t, bridge.Timeouts{})
	for name, c := range map[string]struct {
		answer string
		want   bridge.Reason
	}{
		"a megabyte of control characters": {`{"reason":"` + strings.Repeat(`\u001b`, 1<<20/6) + `"}`, bridge.PeerReset},
		"a few of them":                    {`{"reason":"` + strings.Repeat(`\u001b`, 200) + `"}`, bridge.PeerReset},
		"colours":                          {`{"reason":"\u001b[31mred\nline"}`, "[31mredline"},
		"a long one":                       {`{"reason":"` + strings.Repeat("x", 1000) + `"}`, bridge.Reason(strings.Repeat("x", 64))},
		"a character cut":                  {`{"reason":"` + strings.Repeat("x", 63) + `é"}`, bridge.Reason(strings.Repeat("x", 63))},
		"no JSON":                          {"sorry", bridge.PeerReset},
		"nothing":                          {"", bridge.PeerReset},
		"one that we do not know":          {`{"reason":"tired"}`, "tired"},
	} {
		t.Run(name, func(t *testing.T) {
			h := liar(t, n, "/x/liar", func(s network.Stream) {
				_, _ = io.Copy(io.Discard, s)
				_, _ = io.WriteString(s, c.answer)
				_ = s.Close()
			})
			err := refused(t, n, h.ID(), "/x/liar")
			var e *bridge.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, c.want, e.Reason)
			assert.True(t, e.Remote)
			assert.NotContains(t, err.Error(), "\x1b")
		})
	}
	assert.Empty(t, n.Bridge().Stats().Ended["tired"], "a peer does not choose our labels")
	assert.NotZero(t, n.Bridge().Stats().Ended["other"]+n.Bridge().Stats().Ended[bridge.PeerReset])
}

func TestAPeerThatIsNoBridgeIsOneThatDoesNotSayWhy(t *testing.T) {
	n := newNode(t, bridge.Timeouts{})
	h := hosttest.New(t, hosttest.Options{})
	h.SetStreamHandler("/x/kubo", func(s network.Stream) { _ = s.Reset() })
	require.NoError(t, n.ConnectPeer(testContext(t), hosttest.Info(h)))
	assert.ErrorIs(t, refused(t, n, h.ID(), "/x/kubo"), bridge.PeerReset)
	_, err := n.Services(testContext(t), h.ID())
	assert.ErrorIs(t, err, bridge.NoSuchProtocol)
}

func TestServicesOfAPeerThatAreNoneAreLeftOut(t *testing.T) {
	n := newNode(t, bridge.Timeouts{})
	h := liar(t, n, "/x/liar", func(s network.Stream) {
		_ = json.NewEncoder(s).Encode(map[string]any{"services": []bridge.Service{
			{Protocol: "/x/good", Description: "it is"},
			{Protocol: "/x/ctl", Description: "\x1b[31m"},
			{Protocol: "no name", Description: ""},
			{Protocol: "/x/long", Description: strings.Repeat("x", bridge.MaxDescription+1)},
		}})
		_ = s.Close()
	})
	got, err := n.Services(testContext(t), h.ID())
	require.NoError(t, err)
	assert.Equal(t, []bridge.Service{{Protocol: "/x/good", Description: "it is"}}, got)
}

// If a peer resets its own streams, their reasons are not given for a later stream.
func TestTheReasonToldIsThatOfTheStream(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	l := listen(t, there, "/x/echo", echo)
	target, dialled := pipeTarget()
	listen(t, there, "/x/pipe", target)
	for range 5 {
		c, err := here.Dial(testContext(t), there.ID(), "/x/pipe")
		require.NoError(t, err)
		_, err = c.Write([]byte{1})
		require.NoError(t, err)
		end := <-dialled
		require.NoError(t, c.Reset())
		_, err = io.ReadAll(end)
		require.Error(t, err)
	}
	endedWith(t, there)
	require.NoError(t, l.Update(func(a *bridge.Access, _ *bridge.Limits) { a.Deny = append(a.Deny, here.ID()) }))
	assert.ErrorIs(t, refused(t, here, there.ID(), "/x/echo"), bridge.NotAllowed)
	pipe, _ := there.Bridge().Listener("/x/pipe")
	require.NoError(t, pipe.Update(func(a *bridge.Access, _ *bridge.Limits) { a.Deny = append(a.Deny, here.ID()) }))
	assert.ErrorIs(t, refused(t, here, there.ID(), "/x/pipe"), bridge.NotAllowed)
}

func TestManyRefusalsAtOnceAreEachToldWhy(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	listen(t, there, "/x/closed", echo, bridge.Deny(here.ID()))
	// A peer that never asks for reasons does not displace those that do.
	h := stranger(t, there)
	l := listen(t, there, "/x/flood", echo, bridge.Deny(h.ID()))
	for range 500 {
		if s, err := h.NewStream(testContext(t), there.ID(), "/x/flood"); err == nil {
			_, _ = s.Read(make([]byte, 1))
			_ = s.Reset()
		}
	}
	eventually(t, func() bool { return l.Info().Refused == 500 })
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			c, err := here.Dial(t.Context(), there.ID(), "/x/closed")
			if err == nil {
				defer c.Close()
				_, err = c.Read(make([]byte, 1))
			}
			assert.ErrorIs(t, err, bridge.NotAllowed)
		})
	}
	all.Wait()
}

func FuzzQuestion(f *testing.F) {
	for _, seed := range []string{`{"ask":"services"}`, `{"ask":"reason","protocol":"/x/a"}`, `{"ask":"reason"}`, "{", "\xff"} {
		f.Add([]byte(seed))
	}
	n := newNode(f, bridge.Timeouts{})
	h := stranger(f, n)
	_, err := n.Listen(f.Context(), "/x/a", echo, bridge.Announce("a"))
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, q []byte) {
		s, err := h.NewStream(t.Context(), n.ID(), bridge.Protocol)
		require.NoError(t, err)
		defer s.Reset()
		require.NoError(t, s.SetDeadline(time.Now().Add(patience)))
		if _, err = s.Write(q); err == nil {
			_ = s.CloseWrite()
		}
		got, err := io.ReadAll(s)
		var timeout interface{ Timeout() bool }
		if err != nil {
			require.NotErrorAs(t, err, &timeout, fmt.Sprintf("%q", q))
			return
		}
		require.True(t, json.Valid(bytes.TrimSpace(got)), "%q", got)
	})
}

// A stream between a node and a host without our protocols, such as Kubo, carries only the
// bytes of the service.
func TestAHostThatKnowsNothingOfUsIsAPeer(t *testing.T) {
	n := newNode(t, bridge.Timeouts{})
	h := stranger(t, n)
	l := listen(t, n, "/x/echo", echo)
	s, err := h.NewStream(testContext(t), n.ID(), "/x/echo")
	require.NoError(t, err)
	_, err = io.WriteString(s, "to the node")
	require.NoError(t, err)
	require.NoError(t, s.CloseWrite())
	got, err := io.ReadAll(s)
	require.NoError(t, err)
	assert.Equal(t, "to the node", string(got))
	assert.EqualValues(t, 1, l.Info().Total)

	h.SetStreamHandler("/x/theirs", func(s network.Stream) {
		_, _ = io.Copy(s, s)
		_ = s.Close()
	})
	from := newPipeAcceptor()
	_, err = n.Forward(t.Context(), "/x/theirs", from, h.ID())
	require.NoError(t, err)
	c := from.dial()
	go func() {
		_, _ = io.WriteString(c, "to the host")
		_ = c.CloseWrite()
	}()
	got, err = io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, "to the host", string(got))
}
