package direct

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	mocknet "github.com/libp2p/go-libp2p/p2p/net/mock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestModeIsAutoOrNever(t *testing.T) {
	for s, want := range map[string]bool{"auto": true, "never": false, "": false} {
		auto, err := ParseMode(s)
		require.NoError(t, err)
		assert.Equal(t, want, auto, s)
	}
	_, err := ParseMode("always")
	require.EqualError(t, err, `"always" is neither "auto" nor "never"`)
}

func aHost(t *testing.T) host.Host {
	t.Helper()
	net := mocknet.New()
	t.Cleanup(func() { _ = net.Close() })
	h, err := net.GenPeer()
	require.NoError(t, err)
	return h
}

func TestAttemptsAreBoundedAndTheSamePeerIsLeftAlone(t *testing.T) {
	p := New(aHost(t), Options{})
	now := time.Now()
	require.True(t, p.begin("a", now))
	require.False(t, p.begin("a", now), "one at a time")
	for _, id := range []peer.ID{"b", "c", "d"} {
		require.True(t, p.begin(id, now))
	}
	require.False(t, p.begin("e", now), "no more may be under way at once")

	p.attempt(t.Context(), "a", p.dial) // there is no such peer
	require.Equal(t, Stats{Tried: 4, Failed: Failures{Other: 1}}, p.Stats())
	first := p.pauses["a"].length
	require.False(t, p.begin("a", time.Now()))
	later := time.Now().Add(first)
	require.True(t, p.begin("a", later))
	p.attempt(t.Context(), "a", p.dial)
	require.Equal(t, 2*first, p.pauses["a"].length, "less often each time")
}

func TestPausesDoNotGrowWithTheNumberOfPeers(t *testing.T) {
	p := New(aHost(t), Options{})
	now := time.Now()
	for i := range maxPauses {
		p.pauses[peer.ID(rune(i))+"x"] = &pause{until: now.Add(time.Minute)}
	}
	require.False(t, p.begin("new", now))
	require.True(t, p.begin("new", now.Add(2*time.Minute)))
	require.Less(t, len(p.pauses), maxPauses)
}
