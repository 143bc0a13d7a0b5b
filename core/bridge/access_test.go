package bridge_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
)

// hold opens a stream to /x/echo and checks that it works.
func hold(t testing.TB, n *core.Node, p peer.ID) *bridge.Conn {
	t.Helper()
	c, err := n.Dial(testContext(t), p, "/x/echo")
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	assertEchoes(t, c)
	return c
}

func TestAccessChangesFromTheNextStreamOn(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	l := listen(t, there, "/x/echo", echo, bridge.Deny(here.ID()))
	assert.ErrorIs(t, refused(t, here, there.ID(), "/x/echo"), bridge.NotAllowed)
	require.NoError(t, l.Update(func(a *bridge.Access, _ *bridge.Limits) { *a = bridge.Access{Allow: []peer.ID{here.ID()}} }))
	c := hold(t, here, there.ID())
	require.NoError(t, l.Update(func(a *bridge.Access, _ *bridge.Limits) { a.Allow = []peer.ID{there.ID()} }))
	assert.ErrorIs(t, refused(t, here, there.ID(), "/x/echo"), bridge.NotAllowed)
	assertEchoes(t, c) // open streams are not closed
	info := l.Info()
	assert.EqualValues(t, 2, info.Refused)
	assert.EqualValues(t, 1, info.Total)
	assert.Equal(t, 1, info.Live)
	assert.Error(t, l.Update(func(_ *bridge.Access, m *bridge.Limits) { m.Streams = -1 }))
	assert.Zero(t, l.Info().Limits.Streams, "a refused update changes nothing")
}

func TestOneStreamTooManyIsToldSo(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	other := newNode(t, bridge.Timeouts{})
	require.NoError(t, other.ConnectPeer(testContext(t), hosttest.Info(there.Host())))
	l := listen(t, there, "/x/echo", echo, bridge.Limit(bridge.Limits{StreamsPerPeer: 2, Streams: 3}))
	first := hold(t, here, there.ID())
	hold(t, here, there.ID())
	assert.ErrorIs(t, refused(t, here, there.ID(), "/x/echo"), bridge.TooMany, "the limit per peer")
	hold(t, other, there.ID())
	assert.ErrorIs(t, refused(t, other, there.ID(), "/x/echo"), bridge.TooMany, "the limit of all peers together")
	require.NoError(t, first.Close())
	eventually(t, func() bool { return l.Info().Live == 2 })
	hold(t, here, there.ID())
	require.NoError(t, l.Update(func(_ *bridge.Access, m *bridge.Limits) { m.Streams, m.StreamsPerPeer = 0, 0 }))
	hold(t, other, there.ID())
}

func TestARateHoldsBothWays(t *testing.T) {
	t.Parallel() // it mostly waits
	here, there := pair(t, bridge.Timeouts{})
	const rate = 1 << 20     // bytes a second
	const amount = 512 << 10 // bytes each way
	l := listen(t, there, "/x/rate", bridge.Func(func(_ context.Context, c net.Conn) {
		_, _ = io.Copy(io.Discard, c)
		_, _ = c.Write(make([]byte, amount))
	}), bridge.Limit(bridge.Limits{Rate: rate}))
	transfer := func() time.Duration {
		c, err := here.Dial(testContext(t), there.ID(), "/x/rate")
		require.NoError(t, err)
		defer c.Close()
		start := time.Now()
		_, err = c.Write(make([]byte, amount))
		require.NoError(t, err)
		require.NoError(t, c.CloseWrite())
		n, err := io.Copy(io.Discard, c)
		require.NoError(t, err)
		assert.EqualValues(t, amount, n)
		return time.Since(start)
	}
	// The first 64 KiB each way pass without a wait.
	least := time.Duration(2*(amount-(64<<10))) * time.Second / rate
	assert.Greater(t, transfer(), least*9/10)
	require.NoError(t, l.Update(func(_ *bridge.Access, m *bridge.Limits) { m.Rate = rate / 2 }))
	assert.Greater(t, transfer(), 2*least*9/10, "a new rate takes effect")
}

func TestARateIsOfAllStreamsTogether(t *testing.T) {
	t.Parallel() // it mostly waits
	here, there := pair(t, bridge.Timeouts{})
	const rate, amount, streams = 1 << 20, 256 << 10, 3
	listen(t, there, "/x/rate", bridge.Func(func(_ context.Context, c net.Conn) { _, _ = c.Write(make([]byte, amount)) }),
		bridge.Limit(bridge.Limits{Rate: rate}))
	start := time.Now()
	done := make(chan int64, streams)
	for range streams {
		go func() {
			c, err := here.Dial(t.Context(), there.ID(), "/x/rate")
			if !assert.NoError(t, err) {
				done <- 0
				return
			}
			defer c.Close()
			n, _ := io.Copy(io.Discard, c)
			done <- n
		}()
	}
	for range streams {
		assert.EqualValues(t, amount, <-done)
	}
	assert.Greater(t, time.Since(start), time.Duration(streams*amount-(64<<10))*time.Second/rate*9/10)
}

// At a low rate, data passes in small pieces after short waits, not in large ones after
// long waits. The rate can be raised or removed during a transfer.
func TestALowRateFlows(t *testing.T) {
	for name, next := range map[string]int64{"raised": 1 << 30, "removed": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			lowRateFlows(t, next)
		})
	}
}

func lowRateFlows(t *testing.T, next int64) {
	here, there := pair(t, bridge.Timeouts{})
	l := listen(t, there, "/x/low", bridge.Func(func(_ context.Context, c net.Conn) { _, _ = c.Write(make([]byte, 1<<20)) }),
		bridge.Limit(bridge.Limits{Rate: 1 << 10}))
	c, err := here.Dial(testContext(t), there.ID(), "/x/low")
	require.NoError(t, err)
	defer c.Close()
	_, err = io.ReadFull(c, make([]byte, 64<<10)) // this much passes without a wait
	require.NoError(t, err)
	// A piece of 16 KiB would now pass after 16 s.
	require.NoError(t, c.SetReadDeadline(time.Now().Add(8*time.Second)))
	_, err = c.Read(make([]byte, 16<<10))
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Time{}))
	require.NoError(t, l.Update(func(_ *bridge.Access, m *bridge.Limits) { m.Rate = next }))
	_, err = io.Copy(io.Discard, c)
	require.NoError(t, err)
}
