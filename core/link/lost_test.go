package link_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/link"
)

// queued starts senders whose messages wait in the queue of a link; wait returns their
// errors.
func queued(t *testing.T, a *node, to peer.ID, count int) (wait func() []error) {
	var senders sync.WaitGroup
	var o outcomes
	for i := range count {
		senders.Go(func() { o.add(a.Send(t.Context(), to, event("n", fmt.Sprint(i)), link.Priority(i%3))) })
	}
	synctest.Wait()
	return func() []error {
		senders.Wait()
		return o.all()
	}
}

func TestDeadLinkFailsEachQueuedMessageWithAnErrorPerSender(t *testing.T) {
	for name, end := range map[string]func(a *node, b *deaf){
		"the peer resets the stream": func(_ *node, b *deaf) { _ = (<-b.streams).Reset() },
		"the peer closes the stream": func(_ *node, b *deaf) { _ = (<-b.streams).Close() },
		"the connection ends":        func(_ *node, b *deaf) { b.disconnect("a") },
		"it takes nothing for long":  func(*node, *deaf) { time.Sleep(link.DefaultStallTimeout + link.DefaultStallTimeout/2) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *fakeNet) {
				a, b := stuffed(t, n, link.Options{})
				wait := queued(t, a, "b", 30)
				end(a, b)
				errs := wait()
				require.Len(t, errs, 30)
				for _, err := range errs {
					assert.ErrorIs(t, err, link.ErrLost)
				}
				synctest.Wait()
				assert.EqualValues(t, 31, a.Stats().Unsent.Lost, "the one that was being written too")
				assert.Zero(t, a.Stats().Links)
				assert.Zero(t, a.host.(*fakeHost).live())
			})
		})
	}
}

func TestReconnectingIsTheNextSendsDoing(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{}), n.node(t, "b", link.Options{})
		require.NoError(t, a.Send(t.Context(), "b", event("n", "1"), link.Normal))
		synctest.Wait()
		a.host.(*fakeHost).disconnect("b")
		time.Sleep(time.Hour)
		assert.Equal(t, 1, n.opened(), "no stream is opened before one is needed")
		assert.Zero(t, a.Stats().Links)
		assert.Zero(t, b.Stats().Streams)
		require.NoError(t, a.Send(t.Context(), "b", event("n", "2"), link.Normal))
		synctest.Wait()
		assert.Equal(t, []string{"1", "2"}, b.texts())
		assert.Equal(t, 2, n.opened())
	})
}

func TestPeerThatCannotBeReachedFailsWhatWasQueuedAndIsTriedAgainByTheNextSend(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{}), n.host("b")
		b.setDown(true)
		for i := range 3 {
			err := a.Send(t.Context(), "b", event("n", "x"), link.Normal)
			assert.ErrorIs(t, err, link.ErrUnreachable)
			assert.ErrorIs(t, err, errDown)
			assert.Equal(t, i+1, n.opened())
		}
		assert.EqualValues(t, 3, a.Stats().Unsent.Lost)
	})
}

func TestOpeningTakesNoLongerThanItsTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a := n.node(t, "a", link.Options{OpenTimeout: 7 * time.Second})
		start := time.Now()
		wait := queued(t, a, "nobody", 10)
		for _, err := range wait() {
			assert.ErrorIs(t, err, link.ErrUnreachable)
		}
		assert.Equal(t, 7*time.Second, time.Since(start))
		assert.Equal(t, 1, n.opened(), "all wait for one attempt")
	})
}

func TestIdleLinkIsClosedAndLosesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{}), n.node(t, "b", link.Options{})
		for i := range 5 {
			require.NoError(t, a.Send(t.Context(), "b", event("n", fmt.Sprint(i)), link.Normal))
			time.Sleep(link.DefaultIdleTimeout / 2)
			require.Equal(t, 1, a.Stats().Links)
		}
		assert.Equal(t, 1, n.opened())
		time.Sleep(link.DefaultIdleTimeout)
		assert.Zero(t, a.Stats().Links)
		assert.Zero(t, b.Stats().Streams)
		assert.Zero(t, a.host.(*fakeHost).live()+b.host.(*fakeHost).live())
		require.NoError(t, a.Send(t.Context(), "b", event("n", "5"), link.Normal))
		synctest.Wait()
		assert.Equal(t, []string{"0", "1", "2", "3", "4", "5"}, b.texts())
		assert.Zero(t, a.Stats().Unsent)
		assert.Zero(t, b.Stats().Malformed)
	})
}

func TestLinkThatGoesIdleAsSomethingIsSentLosesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{IdleTimeout: 10 * time.Millisecond}), n.node(t, "b", link.Options{})
		for range 500 {
			for _, err := range queued(t, a, "b", 3)() {
				require.NoError(t, err)
			}
			time.Sleep(10*time.Millisecond + rand.N(5*time.Millisecond))
		}
		synctest.Wait()
		assert.Len(t, b.messages(), 1500)
		assert.Greater(t, n.opened(), 10)
	})
}

func TestSlowPeerIsNotAStuckOne(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := stuffed(t, n, link.Options{})
		require.NoError(t, a.Post(t.Context(), "b", big(), link.Normal, nil))
		wait := queued(t, a, "b", 1)
		s := <-b.streams
		var reader sync.WaitGroup
		reader.Go(func() { // reads 64 KiB in less than the limit
			for {
				if _, err := s.Read(make([]byte, 3<<10)); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		assert.NoError(t, wait()[0])
		assert.Zero(t, a.Stats().Unsent)
		_ = s.Reset()
		reader.Wait()
	})
}

func TestReplacedStreamLeaksNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a := n.node(t, "a", link.Options{})
		b := n.node(t, "b", link.Options{})
		for i := range 100 {
			require.NoError(t, a.Send(t.Context(), "b", event("n", fmt.Sprint(i)), link.Normal))
			synctest.Wait()
			require.Equal(t, 1, a.Stats().Links)
			require.Equal(t, 1, b.Stats().Streams)
			a.host.(*fakeHost).disconnect("b")
		}
		synctest.Wait()
		assert.Len(t, b.messages(), 100)
		assert.Zero(t, a.Stats().Links)
		assert.Zero(t, b.Stats().Streams)
		assert.Zero(t, a.host.(*fakeHost).live()+b.host.(*fakeHost).live())
	})
}

func TestStreamThatEndsLateSparesItsSuccessor(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		b := n.deaf("b")
		release := make(chan struct{})
		first := true
		var a *node
		a = n.node(t, "a", link.Options{Open: func(ctx context.Context, p peer.ID, _ protocol.ID) (network.Stream, error) {
			s, err := a.host.(*fakeHost).open(ctx, p)
			if first {
				first = false
				return slowReset{s, release}, err
			}
			return s, err
		}})
		require.NoError(t, a.Send(t.Context(), "b", event("n", "1"), link.Normal))
		_ = (<-b.streams).Reset() // the old link ends, but not at once
		synctest.Wait()
		require.NoError(t, a.Send(t.Context(), "b", event("n", "2"), link.Normal))
		close(release)
		synctest.Wait()
		assert.Equal(t, 1, a.Stats().Links, "only the second link is left")
		require.NoError(t, a.Send(t.Context(), "b", event("n", "3"), link.Normal))
		assert.Equal(t, 2, n.opened())
		assert.EqualValues(t, 2, a.host.(*fakeHost).live()+b.live())
	})
}

// slowReset is a stream whose Reset does not return before release is closed.
type slowReset struct {
	network.Stream
	release chan struct{}
}

func (s slowReset) Reset() error {
	<-s.release
	return s.Stream.Reset()
}

func TestRealConnectionThatEndsFailsTheLinkAndTheNextSendMakesAnother(t *testing.T) {
	a, b := pair(t, link.Options{}, link.Options{})
	for i := range 5 {
		require.NoError(t, a.Send(t.Context(), b.id(), event("n", fmt.Sprint(i)), link.Normal))
		require.Equal(t, fmt.Sprint(i), string(b.wait(t, i+1)[i].Data))
		require.NoError(t, a.host.Network().ClosePeer(b.id()))
		eventually(t, func() bool { return a.Stats().Links == 0 && b.Stats().Streams == 0 }, "both ends notice")
		eventually(t, func() bool { return len(b.host.Network().ConnsToPeer(a.id())) == 0 }, "and their hosts")
	}
	assert.Zero(t, streams(a.host)+streams(b.host))
}

func TestPeerWithoutTheProtocolFailsTheLink(t *testing.T) {
	a := newNode(t, link.Options{})
	b := hosttest.New(t, hosttest.Options{})
	a.host.Peerstore().AddAddrs(b.ID(), b.Addrs(), math.MaxInt64)
	err := a.Send(t.Context(), b.ID(), event("n", "x"), link.Normal)
	assert.ErrorIs(t, err, link.ErrUnreachable)
	assert.ErrorContains(t, err, string(link.Protocol))
}
