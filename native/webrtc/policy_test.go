package webrtc_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/direct"
	core "github.com/tombolo-net/tombolo/core/webrtc"
	"github.com/tombolo-net/tombolo/native/webrtc"
)

// losing is a platform whose last connection a test can lose.
type losing struct {
	core.Platform
	mu   sync.Mutex
	last core.Events
}

func (l *losing) New(e core.Events) (core.PeerConnection, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = e
	return l.Platform.New(e)
}

func (l *losing) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last.Ended(core.ErrUnanswered)
}

// keepDirect runs a policy until the end of the test.
func keepDirect(t *testing.T, a side, o direct.Options) *direct.Policy {
	t.Helper()
	o.Upkeep = func(p protocol.ID) bool { return strings.HasPrefix(string(p), "/ipfs/") }
	p := direct.New(a, o)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	t.Cleanup(func() { stop(); <-done })
	return p
}

// connections returns how many direct connections and circuits there are to a peer.
func connections(a side, to peer.ID) (directs, circuits int) {
	for _, c := range a.Network().ConnsToPeer(to) {
		if c.RemoteMultiaddr().Equal(core.Addr) {
			directs++
		} else {
			circuits++
		}
	}
	return directs, circuits
}

func TestCircuitThatCarriesNothingIsClosedAndMadeAgainWhenTheDirectConnectionIsLost(t *testing.T) {
	platform := &losing{Platform: webrtc.New(webrtc.Options{Loopback: true})}
	a, b := introducedOn(t, platform, core.Options{})
	b.SetStreamHandler("/echo", func(s network.Stream) {
		_, _ = io.Copy(s, s)
		_ = s.Close()
	})
	circuit := a.Network().ConnsToPeer(b.ID())[0].RemoteMultiaddr()
	p := keepDirect(t, a, direct.Options{
		Grace: time.Millisecond,
		Connect: func(ctx context.Context, id peer.ID) error {
			return a.Connect(ctx, peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{circuit}})
		},
	})
	s, err := a.NewStream(network.WithAllowLimitedConn(t.Context(), "test"), b.ID(), "/echo")
	require.NoError(t, err)
	_, err = s.Write([]byte("a"))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		directs, _ := connections(a, b.ID())
		return directs == 1
	}, waitLimit, 10*time.Millisecond)
	// The open stream keeps its circuit.
	s2, err := a.NewStream(t.Context(), b.ID(), "/echo")
	require.NoError(t, err)
	require.NoError(t, s2.Close())
	_, err = s.Write([]byte("b"))
	require.NoError(t, err)
	require.NoError(t, s.CloseWrite())
	got, err := io.ReadAll(s)
	require.NoError(t, err)
	require.Equal(t, "ab", string(got))
	require.NoError(t, s.Close())
	require.Eventually(t, func() bool {
		_, circuits := connections(a, b.ID())
		return circuits == 0
	}, waitLimit, 10*time.Millisecond)
	require.EventuallyWithT(t, func(c *assert.CollectT) { // a circuit is counted when it has closed
		assert.Equal(c, direct.Stats{Open: 1, Tried: 1, Made: 1, CircuitsClosed: 1}, p.Stats())
	}, waitLimit, 10*time.Millisecond)

	platform.lose()
	require.Eventually(t, func() bool { return p.Stats().CircuitsMade == 1 }, waitLimit, 10*time.Millisecond)
	require.EqualValues(t, 1, p.Stats().Lost)
	s, err = a.NewStream(network.WithAllowLimitedConn(t.Context(), "test"), b.ID(), "/echo")
	require.NoError(t, err)
	require.NotEqual(t, core.Addr, s.Conn().RemoteMultiaddr())
	require.NoError(t, s.Close())
}

func TestConnectionThatEitherEndClosesIsNotMadeAgain(t *testing.T) {
	a, b := introduced(t, core.Options{})
	p := keepDirect(t, a, direct.Options{Never: true, Connect: func(context.Context, peer.ID) error { return nil }})
	for _, end := range []side{a, b} {
		made := goDirect(t, a, b)
		ofBoth := map[side]network.Conn{}
		require.Eventually(t, func() bool { // b's end may come a moment later
			for _, of := range []side{a, b} {
				for _, c := range of.Network().Conns() {
					if c.RemoteMultiaddr().Equal(core.Addr) && !c.IsClosed() {
						ofBoth[of] = c
					}
				}
			}
			return len(ofBoth) == 2
		}, waitLimit, 10*time.Millisecond)
		require.NoError(t, ofBoth[end].Close())
		require.Eventually(t, func() bool { return ofBoth[a].IsClosed() && ofBoth[b].IsClosed() }, waitLimit, 10*time.Millisecond)
		require.False(t, core.Lost(made))
	}
	require.Eventually(t, func() bool { return p.Stats() == direct.Stats{} }, waitLimit, 10*time.Millisecond) // closed connections stay listed for a moment
}

// broken is a platform that makes no connections.
type broken struct{ core.Platform }

func (broken) New(core.Events) (core.PeerConnection, error) {
	return nil, errors.New("there are too many")
}

// deaf tells the peer none of its addresses, and never connects.
type deaf struct{ core.Platform }

func (d deaf) New(e core.Events) (core.PeerConnection, error) {
	e.Candidate, e.Connected = func(string) {}, func() {}
	return d.Platform.New(e)
}

func TestFailuresAreCountedByReason(t *testing.T) {
	for name, c := range map[string]struct {
		platform core.Platform
		options  core.Options
		refuse   bool
		want     direct.Failures
	}{
		"platform":   {platform: broken{}, want: direct.Failures{Platform: 1}},
		"unanswered": {platform: deaf{webrtc.New(webrtc.Options{})}, options: core.Options{Timeout: time.Second}, want: direct.Failures{Unanswered: 1}},
		"refused":    {platform: webrtc.New(webrtc.Options{}), refuse: true, want: direct.Failures{Refused: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := introducedOn(t, c.platform, c.options)
			if c.refuse {
				b.SetStreamHandler(core.Protocol, func(s network.Stream) { _ = s.Reset() })
			}
			p := keepDirect(t, a, direct.Options{})
			require.Eventually(t, func() bool {
				p.Spoke(b.ID())
				return p.Stats().Failed != direct.Failures{}
			}, waitLimit, 10*time.Millisecond)
			require.Equal(t, c.want, p.Stats().Failed)
		})
	}
}
