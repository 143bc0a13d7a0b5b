package link_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/message"
)

// respond makes n answer a type until the end of the test.
func respond(t *testing.T, n *node, typ string, f link.Responder) {
	t.Helper()
	remove, err := n.Respond(typ, f)
	require.NoError(t, err)
	t.Cleanup(remove)
}

func echo(_ context.Context, m *message.Message) ([]byte, error) {
	return append([]byte("re: "), m.Data...), nil
}

// untilItsEnd returns a responder that waits for the end of the request's ctx and sends its
// cause to ended.
func untilItsEnd(ended chan<- error) link.Responder {
	return func(ctx context.Context, _ *message.Message) ([]byte, error) {
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, ctx.Err()
	}
}

func TestRequestIsAnswered(t *testing.T) {
	a, b := pair(t, link.Options{}, link.Options{})
	respond(t, b, "stat", echo)
	m, err := a.Request(t.Context(), b.id(), "stat", []byte("x"))
	require.NoError(t, err)
	assert.Equal(t, "re: x", string(m.Data))
	assert.Equal(t, b.id(), m.From)
	assert.Equal(t, "stat", m.Type)
	assert.Equal(t, message.Reply, m.Kind)
}

func TestManyRequestsBothWaysAreEachAnsweredWithTheirs(t *testing.T) {
	a, b := pair(t, link.Options{PeerRequests: 500}, link.Options{PeerRequests: 500})
	respond(t, a, "stat", echo)
	respond(t, b, "stat", echo)
	var askers sync.WaitGroup
	for i := range 200 {
		from, to := a, b
		if i%2 > 0 {
			from, to = b, a
		}
		askers.Go(func() {
			for j := range 5 {
				m, err := from.Request(t.Context(), to.id(), "stat", fmt.Appendf(nil, "%d/%d", i, j))
				if assert.NoError(t, err) {
					assert.Equal(t, fmt.Sprintf("re: %d/%d", i, j), string(m.Data))
				}
			}
		})
	}
	askers.Wait()
	for _, n := range []*node{a, b} {
		s := n.Stats()
		assert.EqualValues(t, 500, s.Requests.Sent)
		assert.EqualValues(t, 500, s.Requests.Answered)
		assert.Zero(t, s.Requests.Pending)
		assert.Zero(t, s.Requests.Strays)
		assert.EqualValues(t, 500, s.Serving.Served)
		assert.Empty(t, n.messages(), "requests and replies are no events")
	}
}

func TestRemoteErrorHasItsTextAndItsKind(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{}), n.node(t, "b", link.Options{MaxData: 4 << 10})
		respond(t, b, "fails", func(context.Context, *message.Message) ([]byte, error) { return nil, errors.New("no such room: 7") })
		respond(t, b, "panics", func(context.Context, *message.Message) ([]byte, error) { panic("secret") })
		respond(t, b, "exits", func(context.Context, *message.Message) ([]byte, error) { runtime.Goexit(); return nil, nil })
		respond(t, b, "at length", func(context.Context, *message.Message) ([]byte, error) {
			return nil, errors.New(strings.Repeat("ж", 10_000))
		})
		respond(t, b, "too much", func(context.Context, *message.Message) ([]byte, error) { return make([]byte, 5000), nil })
		kinds := []error{link.ErrUnanswered, link.ErrBusy, link.ErrOverdue, link.ErrPanicked}
		for typ, c := range map[string]struct {
			code message.Code
			text string
			is   error
		}{
			"fails":     {message.Failed, "no such room: 7", nil},
			"panics":    {message.Panicked, "the handler crashed", link.ErrPanicked},
			"exits":     {message.Panicked, "the handler crashed", link.ErrPanicked},
			"nobody":    {message.Unanswered, `nobody answers "nobody" here`, link.ErrUnanswered},
			"at length": {message.Failed, strings.Repeat("ж", 512), nil},
			"too much":  {message.Failed, "the reply is too large", nil},
		} {
			_, err := a.Request(t.Context(), "b", typ, nil)
			var remote *link.RemoteError
			require.ErrorAs(t, err, &remote, typ)
			assert.Equal(t, c.code, remote.Code, typ)
			assert.Contains(t, remote.Text, c.text)
			assert.LessOrEqual(t, len(remote.Text), 1024)
			assert.Equal(t, typ, remote.Type)
			assert.EqualValues(t, "b", remote.Peer)
			assert.ErrorContains(t, err, c.text)
			assert.NotContains(t, err.Error(), "secret")
			for _, kind := range kinds {
				assert.Equal(t, kind == c.is, errors.Is(err, kind), "%s is %v", typ, kind)
			}
		}
		assert.EqualValues(t, 6, a.Stats().Requests.Errors)
		assert.Zero(t, a.Stats().Requests.Failed, "an error is an answer")
		assert.EqualValues(t, 1, b.Stats().Serving.Unanswered)
	})
}

func TestPanicInAHandlerIsLoggedAndTheNodeGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		var log bytes.Buffer
		a, b := n.node(t, "a", link.Options{}), n.node(t, "b", link.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		respond(t, b, "panics", func(context.Context, *message.Message) ([]byte, error) { panic("boom") })
		for range 3 {
			_, err := a.Request(t.Context(), "b", "panics", nil)
			assert.ErrorIs(t, err, link.ErrPanicked)
		}
		synctest.Wait()
		assert.EqualValues(t, 3, b.Stats().Serving.Handlers.Panics)
		for _, word := range []string{"boom", "request panics", "request_test.go"} {
			assert.Contains(t, log.String(), word)
		}
	})
}

func TestDeadlineTravelsToTheHandler(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{}), n.node(t, "b", link.Options{RequestTimeout: 7 * time.Second})
		left := make(chan time.Duration, 1)
		respond(t, b, "stat", func(ctx context.Context, _ *message.Message) ([]byte, error) {
			deadline, _ := ctx.Deadline()
			left <- time.Until(deadline)
			return nil, nil
		})
		ask := func(ctx context.Context) time.Duration {
			_, err := a.Request(ctx, "b", "stat", nil)
			require.NoError(t, err)
			return <-left
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		assert.Equal(t, 1500*time.Millisecond, ask(ctx))
		ctx, cancel = context.WithTimeout(t.Context(), math.MaxInt64)
		defer cancel()
		assert.Greater(t, ask(ctx), 100*365*24*time.Hour, "as long as anyone wants")
		assert.Equal(t, 7*time.Second, ask(t.Context()), "without a deadline, the limit of the responder applies")
	})
}

func TestRequestEndsWithItsDeadlineAtBothEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{}), n.node(t, "b", link.Options{})
		ended := make(chan error, 1)
		respond(t, b, "stat", untilItsEnd(ended))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := a.Request(ctx, "b", "stat", nil)
		assert.True(t, errors.Is(err, context.DeadlineExceeded) || errors.Is(err, link.ErrOverdue), "%v", err) // either may be first
		assert.Error(t, <-ended)
		assert.Equal(t, time.Second, time.Since(start))
	})
}

func TestHandlerThatOutlivesTheTimeOfTheOtherSideIsOverdue(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{}), n.node(t, "b", link.Options{RequestTimeout: time.Second})
		respond(t, b, "stat", untilItsEnd(make(chan error, 1)))
		_, err := a.Request(t.Context(), "b", "stat", nil)
		assert.ErrorIs(t, err, link.ErrOverdue)
		assert.ErrorContains(t, err, "time ended")
	})
}

func TestCancellationReachesTheRemoteHandler(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{}), n.node(t, "b", link.Options{})
		ended := make(chan error, 1)
		respond(t, b, "stat", untilItsEnd(ended))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait()
			cancel()
		}()
		start := time.Now()
		_, err := a.Request(ctx, "b", "stat", nil)
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, <-ended, context.Canceled)
		assert.Zero(t, time.Since(start))
		synctest.Wait()
		assert.Zero(t, a.Stats().Requests.Pending)
		assert.Zero(t, a.Stats().Requests.Strays, "a request that was cancelled is not answered")
		assert.Zero(t, b.Stats().Serving.Handlers.Running)
	})
}

func TestRealCancellationReachesTheRemoteHandler(t *testing.T) {
	a, b := pair(t, link.Options{}, link.Options{})
	ended := make(chan error, 1)
	respond(t, b, "stat", untilItsEnd(ended))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		eventuallyTrue(func() bool { return b.Stats().Serving.Handlers.Running == 1 })
		cancel()
	}()
	_, err := a.Request(ctx, b.id(), "stat", nil)
	assert.ErrorIs(t, err, context.Canceled)
	select {
	case err := <-ended:
		assert.ErrorIs(t, err, context.Canceled)
	case <-time.After(soon):
		t.Fatal("the handler was not told")
	}
}

// eventuallyTrue is eventually for goroutines other than the test's own.
func eventuallyTrue(ok func() bool) {
	for end := time.Now().Add(soon); !ok() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

func TestRequestThatWasNotWrittenYetIsTakenBack(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := stuffed(t, n, link.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := a.Request(ctx, "b", "stat", nil)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.EqualValues(t, 1, a.Stats().Unsent.Expired)
		assert.Zero(t, a.Stats().Queued)
		_ = (<-b.streams).Reset()
	})
}

func TestRequestFailsAtOnceWhenItsPeerIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{}), n.node(t, "b", link.Options{})
		ended := make(chan error, 1)
		respond(t, b, "stat", untilItsEnd(ended))
		go func() {
			synctest.Wait()
			b.host.(*fakeHost).disconnect("a")
		}()
		start := time.Now()
		_, err := a.Request(t.Context(), "b", "stat", nil)
		assert.ErrorIs(t, err, link.ErrLost)
		assert.ErrorIs(t, <-ended, context.Canceled, "and its handler need not go on")
		assert.Zero(t, time.Since(start))
		assert.EqualValues(t, 1, a.Stats().Requests.Failed)
	})
}

func TestRequestFailsAtOnceWhenWhatComesBackIsNoMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a := n.node(t, "a", link.Options{})
		b := n.deaf("b")
		go func() {
			synctest.Wait()
			_, _ = (<-b.streams).Write(lies["no protobuf"])
		}()
		_, err := a.Request(t.Context(), "b", "stat", nil)
		assert.ErrorIs(t, err, link.ErrLost)
		assert.ErrorIs(t, err, message.ErrMalformed)
	})
}

func TestIdleLinkThatWaitsForAnAnswerIsKept(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{}), n.node(t, "b", link.Options{RequestTimeout: 10 * time.Hour})
		respond(t, b, "stat", func(context.Context, *message.Message) ([]byte, error) {
			time.Sleep(9 * time.Hour)
			return []byte("at last"), nil
		})
		m, err := a.Request(t.Context(), "b", "stat", nil)
		require.NoError(t, err)
		assert.Equal(t, "at last", string(m.Data))
		assert.Equal(t, 1, n.opened(), "the answer needs no stream of its own")
	})
}

func TestPendingRequestsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{Pending: 5}), n.node(t, "b", link.Options{})
		release := make(chan struct{})
		respond(t, b, "stat", func(context.Context, *message.Message) ([]byte, error) { <-release; return nil, nil })
		var askers sync.WaitGroup
		for range 5 {
			askers.Go(func() { _, err := a.Request(t.Context(), "b", "stat", nil); assert.NoError(t, err) })
		}
		synctest.Wait()
		assert.Equal(t, 5, a.Stats().Requests.Pending)
		_, err := a.Request(t.Context(), "b", "stat", nil)
		assert.ErrorIs(t, err, link.ErrPending)
		close(release)
		askers.Wait()
		_, err = a.Request(t.Context(), "b", "stat", nil)
		assert.NoError(t, err)
		assert.Zero(t, a.Stats().Requests.Pending)
	})
}

func TestRequestsOfOnePeerAndOfAllAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		b := n.node(t, "b", link.Options{PeerRequests: 3, Requests: 5})
		release := make(chan struct{})
		respond(t, b, "stat", func(context.Context, *message.Message) ([]byte, error) { <-release; return nil, nil })
		a, c := n.node(t, "a", link.Options{}), n.node(t, "c", link.Options{})
		var o outcomes
		var askers sync.WaitGroup
		for i := range 20 {
			from := a
			if i >= 10 {
				from = c
			}
			askers.Go(func() { _, err := from.Request(t.Context(), "b", "stat", nil); o.add(err) })
			synctest.Wait()
			assert.LessOrEqual(t, b.Stats().Serving.Handlers.Running, 5)
			if i == 9 {
				assert.Equal(t, 3, b.Stats().Serving.Handlers.Running)
			}
		}
		require.Len(t, o.all(), 15, "a refused request fails at once")
		for _, err := range o.all() {
			assert.ErrorIs(t, err, link.ErrBusy)
		}
		close(release)
		askers.Wait()
		assert.EqualValues(t, 15, b.Stats().Serving.Busy)
		_, err := a.Request(t.Context(), "b", "stat", nil)
		assert.NoError(t, err, "and later it is answered again")
	})
}

func TestWhoReadsAnAnswerMayAskAgainAtOnce(t *testing.T) {
	a, b := pair(t, link.Options{}, link.Options{PeerRequests: 1})
	respond(t, b, "stat", echo)
	for range 300 {
		_, err := a.Request(t.Context(), b.id(), "stat", nil)
		require.NoError(t, err)
	}
}

func TestRequestThatComesTwiceIsALie(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		b := n.node(t, "b", link.Options{})
		told := make(chan error, 1)
		respond(t, b, "stat", untilItsEnd(told))
		n.deaf("liar")
		s := n.raw(t, "liar", "b")
		frame := (&message.Message{Kind: message.Request, Type: "stat", ID: message.ID{Seq: 1}}).AppendFrame(nil)
		_, err := s.Write(append(frame, frame...))
		require.NoError(t, err)
		assert.ErrorIs(t, ended(s), network.ErrReset)
		assert.ErrorIs(t, <-told, context.Canceled)
		synctest.Wait()
		assert.EqualValues(t, 1, b.Stats().Malformed)
	})
}

func TestTypeHasOneResponderUntilItIsRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{}), n.node(t, "b", link.Options{})
		remove, err := b.Respond("stat", echo)
		require.NoError(t, err)
		_, err = b.Respond("stat", echo)
		assert.ErrorIs(t, err, link.ErrTaken)
		for _, typ := range []string{"", "tombolo/x", "room/*"} {
			_, err = b.Respond(typ, echo)
			assert.ErrorIs(t, err, message.ErrType)
		}
		remove()
		_, err = a.Request(t.Context(), "b", "stat", nil)
		assert.ErrorIs(t, err, link.ErrUnanswered)
		respond(t, b, "stat", echo)
		remove() // a second call does not remove the new responder
		_, err = a.Request(t.Context(), "b", "stat", nil)
		assert.NoError(t, err)
	})
}

func TestRequestThatCannotBeMadeIsRefusedWithItsReason(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a := n.node(t, "a", link.Options{MaxData: 1000})
		n.host("down").setDown(true)
		_, err := a.Request(t.Context(), "down", "stat", nil)
		assert.ErrorIs(t, err, link.ErrUnreachable)
		_, err = a.Request(t.Context(), "down", "tombolo/x", nil)
		assert.ErrorIs(t, err, message.ErrType)
		_, err = a.Request(t.Context(), "down", "stat", make([]byte, 2000))
		assert.ErrorIs(t, err, message.ErrTooLarge)
		_, err = a.Request(t.Context(), "a", "stat", nil)
		assert.ErrorContains(t, err, "itself")
		assert.Zero(t, a.Stats().Requests.Pending)
		assert.EqualValues(t, 4, a.Stats().Requests.Failed)
	})
}

func TestHandlerBeyondItsLimitIsNamed(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{}), n.node(t, "b", link.Options{HandlerLimit: time.Second})
		respond(t, b, "stat", func(context.Context, *message.Message) ([]byte, error) { time.Sleep(5 * time.Second); return nil, nil })
		go func() {
			time.Sleep(2 * time.Second)
			overdue := b.Stats().Serving.Handlers.Overdue
			if assert.Len(t, overdue, 1) {
				assert.Equal(t, "request stat", overdue[0].Handler)
			}
		}()
		_, err := a.Request(t.Context(), "b", "stat", nil)
		assert.NoError(t, err)
		assert.EqualValues(t, 1, b.Stats().Serving.Handlers.Late)
	})
}
