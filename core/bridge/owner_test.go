package bridge_test

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
)

// Tests for owners of a Conn that bypass its Read and Write, and for owners that stop reading.

func TestAReadThatThisSideEndedIsNoFailure(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	heard := make(chan []byte, 1)
	_, err := there.Listen(testContext(t), "/x/hear", bridge.Func(func(_ context.Context, c net.Conn) {
		all, _ := io.ReadAll(c) // heard is empty if this fails
		heard <- all
	}))
	require.NoError(t, err)
	c, err := here.Dial(testContext(t), there.ID(), "/x/hear")
	require.NoError(t, err)
	_, err = c.Write([]byte("hello"))
	require.NoError(t, err)
	reading := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		reading <- err
	}()
	require.NoError(t, c.CloseRead())
	require.Error(t, <-reading)
	require.NoError(t, c.Failure())
	_, err = c.Write([]byte(", and good bye"))
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	require.Equal(t, "hello, and good bye", string(<-heard))
	require.NoError(t, c.Close())
	<-c.Done()
	require.NoError(t, c.Failure())
	require.Empty(t, here.Bridge().Ended()[0].Reason)
}

func TestAnOwnerCanAskWhyWithoutReading(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	_, err := there.Listen(testContext(t), "/x/refused", bridge.Func(func(context.Context, net.Conn) {}), bridge.Deny(here.ID()))
	require.NoError(t, err)
	c, err := here.Dial(testContext(t), there.ID(), "/x/refused")
	if err != nil { // the refusal was faster than the negotiation
		require.ErrorIs(t, err, bridge.NotAllowed)
		return
	}
	_, _ = c.Stream.Read(make([]byte, 1)) // as a browser does
	require.ErrorIs(t, c.Explain(&network.StreamError{Remote: true}), bridge.NotAllowed)
	require.ErrorIs(t, c.Failure(), bridge.NotAllowed)
	_ = c.Close() // some transports have nothing left to close then
}

func TestARefusalBeforeTheNegotiationIsOverSaysWhy(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	var resets atomic.Int32
	// No handler can reset a stream in the middle of the negotiation. Among many quick refusals, both cases occur.
	_, err := there.Listen(testContext(t), "/x/quick", bridge.Func(func(context.Context, net.Conn) {}), bridge.Deny(here.ID()))
	require.NoError(t, err)
	for range 50 {
		require.NoError(t, here.Host().Peerstore().RemoveProtocols(there.ID(), "/x/quick")) // so that it is negotiated at once
		c, err := here.Dial(testContext(t), there.ID(), "/x/quick")
		if err != nil {
			resets.Add(1)
			require.ErrorIs(t, err, bridge.NotAllowed)
			continue
		}
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, bridge.NotAllowed)
		_ = c.Close() // some transports have nothing left to close then
	}
	t.Logf("%d of 50 were refused before they were negotiated", resets.Load())
}
