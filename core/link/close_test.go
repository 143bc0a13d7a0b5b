package link_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/message"
)

func TestCloseFailsWhatWaitsWithErrClosed(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, _ := stuffed(t, n, link.Options{QueueMessages: 2})
		var o outcomes
		var waiting sync.WaitGroup
		for range 5 { // two in the queue, and three that wait for room
			waiting.Go(func() { o.add(a.Send(t.Context(), "b", event("n", "x"), link.High)) })
		}
		waiting.Go(func() { _, err := a.Request(t.Context(), "b", "stat", nil); o.add(err) })
		waiting.Go(func() { o.add(a.Send(t.Context(), "nobody", event("n", "x"), link.Low)) }) // its link is being opened
		synctest.Wait()
		start := time.Now()
		require.NoError(t, a.Close())
		waiting.Wait()
		assert.Zero(t, time.Since(start), "Close ends everything at once")
		require.Len(t, o.all(), 7)
		for _, err := range o.all() {
			assert.ErrorIs(t, err, link.ErrClosed)
		}
		assert.Zero(t, a.host.(*fakeHost).live())
	})
}

func TestNothingBlocksAfterClose(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a := n.node(t, "a", link.Options{QueueMessages: 1})
		b := n.node(t, "b", link.Options{})
		require.NoError(t, a.Send(t.Context(), "b", event("n", "x"), link.Normal))
		require.NoError(t, a.Close())
		start := time.Now()
		for range 10 {
			for _, prio := range []link.Priority{link.High, link.Normal, link.Low} {
				assert.ErrorIs(t, a.Send(t.Context(), "b", event("n", "x"), prio), link.ErrClosed)
				assert.ErrorIs(t, a.Post(t.Context(), "b", event("n", "x"), prio, nil), link.ErrClosed)
				assert.ErrorIs(t, a.SendAll(t.Context(), []peer.ID{"b"}, event("n", "x"), prio).Err(), link.ErrClosed)
			}
			_, err := a.Request(t.Context(), "b", "stat", nil)
			assert.ErrorIs(t, err, link.ErrClosed)
			_, err = a.Respond(fmt.Sprint("stat", start), echo)
			assert.ErrorIs(t, err, link.ErrClosed)
		}
		assert.Zero(t, time.Since(start))
		assert.Error(t, b.Send(t.Context(), "a", event("n", "x"), link.Normal), "it accepts nothing either")
	})
}

func TestCloseIsIdempotentAlsoAtOnceAndEachWaitsForAll(t *testing.T) {
	delivering := make(chan struct{})
	var release atomic.Bool
	a, b := pair(t, link.Options{}, link.Options{Deliver: func(ctx context.Context, _ *message.Message) {
		close(delivering)
		<-ctx.Done()
		time.Sleep(20 * time.Millisecond) // so that a Close that does not wait is noticed
		release.Store(true)
	}})
	require.NoError(t, a.Send(t.Context(), b.id(), event("n", "x"), link.Normal))
	<-delivering
	var closers sync.WaitGroup
	for range 10 {
		closers.Go(func() {
			assert.NoError(t, b.Close())
			assert.True(t, release.Load())
		})
	}
	closers.Wait()
}

func TestCloseDoesNotTakeBackWhatWasWritten(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{}), n.deaf("b")
		for i := range 20 {
			require.NoError(t, a.Send(t.Context(), "b", event("n", fmt.Sprint(i)), link.Normal))
		}
		require.NoError(t, a.Close())
		count := 0
		b.read(<-b.streams, func(*message.Message) { count++ })
		assert.Equal(t, 20, count)
	})
}

func TestCloseEndsHandlersAndNamesThoseThatDoNotReturn(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		var log bytes.Buffer
		a, b := n.node(t, "a", link.Options{}), n.node(t, "b", link.Options{
			Logger: slog.New(slog.NewTextHandler(&log, nil)), HandlerLimit: time.Second,
		})
		ended := make(chan error, 1)
		respond(t, b, "good", untilItsEnd(ended))
		release := make(chan struct{})
		respond(t, b, "stubborn", func(context.Context, *message.Message) ([]byte, error) { <-release; return nil, nil })
		var o outcomes
		var askers sync.WaitGroup
		for _, typ := range []string{"good", "stubborn"} {
			askers.Go(func() { _, err := a.Request(t.Context(), "b", typ, nil); o.add(err) })
		}
		synctest.Wait()
		start := time.Now()
		require.NoError(t, b.Close())
		assert.Less(t, time.Since(start), 10*time.Second)
		assert.ErrorIs(t, <-ended, context.Canceled)
		assert.Contains(t, log.String(), "request stubborn")
		b.host.(*fakeHost).disconnect("a")
		askers.Wait()
		for _, err := range o.all() {
			assert.ErrorIs(t, err, link.ErrLost)
		}
		close(release)
		synctest.Wait()
	})
}

// Close may be called at any moment: every call under way ends and returns an error.
func TestCloseAmidstEverything(t *testing.T) {
	for i := range 5 {
		a, b := pair(t, link.Options{QueueMessages: 4}, link.Options{QueueMessages: 4})
		respond(t, a, "stat", echo)
		respond(t, b, "stat", echo)
		var users sync.WaitGroup
		for j := range 12 {
			from, to := a, b
			if j%2 > 0 {
				from, to = b, a
			}
			users.Go(func() {
				for ended := false; !ended; {
					var err error
					switch j / 2 {
					case 0:
						_, err = from.Request(t.Context(), to.id(), "stat", nil)
					case 1:
						err = from.SendAll(t.Context(), []peer.ID{to.id()}, event("n", "x"), link.High).Err()
					case 2:
						err = from.PostAll([]peer.ID{to.id()}, event("n", "x"), link.Low, nil)
						ended = from.Send(t.Context(), to.id(), event("n", "x"), link.Normal) != nil
					default:
						err = from.Send(t.Context(), to.id(), event("n", "x"), link.Priority(j%3))
					}
					// The other may have closed: the message is lost or the link
					// does not open.
					ended = ended || err != nil && !errors.Is(err, link.ErrQueueFull)
				}
			})
		}
		b.wait(t, 10*i)
		var closers sync.WaitGroup
		closers.Go(func() { assert.NoError(t, a.Close()) })
		closers.Go(func() { assert.NoError(t, b.Close()) })
		closers.Wait()
		users.Wait()
		for _, n := range []*node{a, b} {
			s := n.Stats()
			assert.Zero(t, s.Links+s.Streams+s.Requests.Pending+s.Serving.Handlers.Running)
			assert.Zero(t, s.Queued)
			assert.Zero(t, s.Malformed)
		}
	}
}
