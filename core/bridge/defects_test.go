package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
)

// The defects of Kubo's p2p that concern this package. Half-close is tested in
// TestAReplyComesWholeAfterAHalfClose and the tests of the splice.
func TestDefectsOfTheModelAreMended(t *testing.T) {
	t.Run("a forward without a peer is refused, and leaves the registry whole", func(t *testing.T) {
		n := newNode(t, bridge.Timeouts{})
		_, err := n.Forward(t.Context(), "/x/a", newPipeAcceptor(), "")
		require.ErrorContains(t, err, "the peer")
		assert.Empty(t, n.Bridge().Forwards())
		f, err := n.Forward(t.Context(), "/x/a", newPipeAcceptor(), newID(t))
		require.NoError(t, err)
		assert.Len(t, n.Bridge().Forwards(), 1)
		require.NoError(t, f.Close())
	})
	t.Run("accept errors back off and pass", func(t *testing.T) {
		here, there := pair(t, bridge.Timeouts{})
		listen(t, there, "/x/echo", echo)
		from := newPipeAcceptor()
		f, err := here.Forward(t.Context(), "/x/echo", from, there.ID())
		require.NoError(t, err)
		start := time.Now()
		const failures = 6
		for range failures {
			from.fail(errNoFiles)
		}
		eventually(t, func() bool { return f.Info().Error != "" })
		assert.Contains(t, f.Info().Error, "accept")
		c := from.dial()
		// 5, 10, 20, 40, 80, 160 ms: the wait doubles with each failure.
		assert.GreaterOrEqual(t, time.Since(start), 315*time.Millisecond)
		assertEchoes(t, c)
		eventually(t, func() bool { return f.Info().Error == "" })
		from.fail(errNoFiles)
		start = time.Now()
		assertEchoes(t, from.dial())
		assert.Less(t, time.Since(start), patience/2, "a success starts the waits anew")
		require.NoError(t, f.Close())
	})
	t.Run("an acceptor that closes itself takes its forward along", func(t *testing.T) {
		n := newNode(t, bridge.Timeouts{})
		from := newPipeAcceptor()
		_, err := n.Forward(t.Context(), "/x/a", from, newID(t))
		require.NoError(t, err)
		require.NoError(t, from.Close())
		eventually(t, func() bool { return len(n.Bridge().Forwards()) == 0 })
	})
	t.Run("a forward that waits for an accept to work again can be closed", func(t *testing.T) {
		n := newNode(t, bridge.Timeouts{})
		from := newPipeAcceptor()
		f, err := n.Forward(t.Context(), "/x/a", from, newID(t))
		require.NoError(t, err)
		for range 5 {
			from.fail(errNoFiles)
		}
		require.NoError(t, f.Close())
	})
	t.Run("the target's connection goes when the peer's id cannot be written", func(t *testing.T) {
		here, there := pair(t, bridge.Timeouts{Target: 100 * time.Millisecond})
		ends := make(chan pipeEnd, 2)
		listen(t, there, "/x/gone", bridge.DialTarget("gone", func(context.Context) (bridge.Local, error) {
			near, far := pipe()
			ends <- far
			return deaf{near}, nil
		}), bridge.ReportPeer)
		listen(t, there, "/x/stuck", bridge.DialTarget("stuck", func(context.Context) (bridge.Local, error) {
			near, far := pipe()
			ends <- far
			return near, nil
		}), bridge.ReportPeer)
		assert.ErrorIs(t, refused(t, here, there.ID(), "/x/gone"), bridge.TargetFailed)
		_, err := (<-ends).Read(make([]byte, 1))
		assert.ErrorIs(t, err, errPipeReset)
		assert.ErrorIs(t, refused(t, here, there.ID(), "/x/stuck"), bridge.TargetFailed, "a target that reads nothing does not hold up the stream")
		_, err = (<-ends).Write(make([]byte, 1))
		assert.ErrorIs(t, err, errPipeReset)
		endedWith(t, there)
	})
	t.Run("the client's connection goes when there is no stream", func(t *testing.T) {
		here, there := pair(t, bridge.Timeouts{})
		from := newPipeAcceptor()
		_, err := here.Forward(t.Context(), "/x/none", from, there.ID())
		require.NoError(t, err)
		_, err = io.ReadAll(from.dial())
		assert.ErrorIs(t, err, errPipeReset)
		eventually(t, func() bool { return here.Bridge().Forwards()[0].Live == 0 })
	})
}

// A target may fail with its own reason, which the caller gets.
func TestATargetsOwnReasonIsTold(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	listen(t, there, "/x/full", bridge.DialTarget("full", func(context.Context) (bridge.Local, error) {
		return nil, fmt.Errorf("%w: of files", bridge.TooMany)
	}))
	listen(t, there, "/x/late", bridge.DialTarget("late", func(context.Context) (bridge.Local, error) {
		return nil, errors.Join(errors.New("dial"), context.DeadlineExceeded)
	}))
	assert.ErrorIs(t, refused(t, here, there.ID(), "/x/full"), bridge.TooMany)
	assert.ErrorIs(t, refused(t, here, there.ID(), "/x/late"), bridge.TargetTimedOut)
}
