package link_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/message"
)

// big fills a deaf peer's stream, so that later messages stay queued.
func big() *message.Message { return &message.Message{Type: "big", Data: make([]byte, 2*window)} }

// stuffed makes a node whose link to a deaf peer is stuck: one big message blocks its
// writer, and the queues are empty.
func stuffed(t *testing.T, n *fakeNet, opts link.Options) (*node, *deaf) {
	t.Helper()
	b := n.deaf("b")
	a := n.node(t, "a", opts)
	require.NoError(t, a.Post(t.Context(), "b", big(), link.Normal, nil))
	synctest.Wait()
	require.Zero(t, a.Stats().Queued[link.Normal].Messages)
	return a, b
}

// read reads a deaf peer's stream from now on and calls got with each message.
func (d *deaf) read(s network.Stream, got func(*message.Message)) {
	r := message.NewReader(s, 0)
	for {
		m, err := r.Next()
		if err != nil {
			_ = s.Reset()
			return
		}
		got(m)
	}
}

// outcomes collects the results of sending messages.
type outcomes struct {
	mu   sync.Mutex
	errs []error
}

func (o *outcomes) add(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.errs = append(o.errs, err)
}

func (o *outcomes) all() []error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.errs)
}

func TestLoneMessageLeavesAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{}), n.node(t, "b", link.Options{})
		start := time.Now()
		for i := range 100 {
			require.NoError(t, a.Send(t.Context(), "b", event("n", fmt.Sprint(i)), link.Priority(i%3)))
			synctest.Wait()
			require.Len(t, b.messages(), i+1)
		}
		assert.Zero(t, time.Since(start), "no timer was waited for")
		assert.EqualValues(t, 100, a.Stats().Batches)
	})
}

func TestHighGoesBeforeNormalBeforeLow(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := stuffed(t, n, link.Options{})
		for i := range 5 {
			for _, prio := range []link.Priority{link.Low, link.Normal, link.High} {
				require.NoError(t, a.Post(t.Context(), "b", event(prio.String(), fmt.Sprint(i)), prio, nil))
			}
		}
		var got []string
		go b.read(<-b.streams, func(m *message.Message) { got = append(got, m.Type+string(m.Data[:min(1, len(m.Data))])) })
		synctest.Wait()
		assert.Equal(t, strings.Fields("high0 high1 high2 high3 high4 normal0 normal1 normal2 normal3 normal4 low0 low1 low2 low3 low4"), got[1:])
	})
}

func TestLowIsNotStarved(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := stuffed(t, n, link.Options{})
		require.NoError(t, a.Post(t.Context(), "b", event("low", ""), link.Low, nil))
		var got []string
		done := make(chan struct{})
		go b.read(<-b.streams, func(m *message.Message) {
			if got = append(got, m.Type); len(got) == 2000 {
				close(done)
			}
		})
		// High never runs dry: its senders wait for room.
		ctx, stop := context.WithCancel(t.Context())
		for range 3 {
			go func() {
				for a.Post(ctx, "b", event("high", "x"), link.High, nil) == nil {
				}
			}()
		}
		<-done
		stop()
		synctest.Wait()
		at := slices.Index(got, "low")
		assert.Positive(t, at)
		assert.Less(t, at, 50)
	})
}

func TestQueueIsBoundedInMessages(t *testing.T) {
	for _, prio := range []link.Priority{link.Normal, link.Low} {
		t.Run(prio.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *fakeNet) {
				a, _ := stuffed(t, n, link.Options{QueueMessages: 10})
				for range 10 {
					require.NoError(t, a.Post(t.Context(), "b", event("n", "x"), prio, nil))
				}
				start := time.Now()
				err := a.Send(t.Context(), "b", event("n", "x"), prio)
				assert.ErrorIs(t, err, link.ErrQueueFull)
				assert.ErrorContains(t, err, prio.String())
				assert.ErrorIs(t, a.Post(t.Context(), "b", event("n", "x"), prio, nil), link.ErrQueueFull)
				assert.Zero(t, time.Since(start), "the sender is told at once")
				assert.EqualValues(t, 2, a.Stats().Unsent.QueueFull)
				assert.Equal(t, 10, a.Stats().Queued[prio].Messages)
				for _, other := range []link.Priority{link.High, link.Normal, link.Low} {
					if other != prio {
						assert.NoError(t, a.Post(t.Context(), "b", event("n", "x"), other, nil), "the others have queues of their own")
					}
				}
			})
		})
	}
}

func TestQueueIsBoundedInBytes(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, _ := stuffed(t, n, link.Options{QueueBytes: 1000})
		taken := 0
		for a.Post(t.Context(), "b", event("n", strings.Repeat("x", 80)), link.Normal, nil) == nil {
			taken++
		}
		assert.Equal(t, 10, taken)
		assert.LessOrEqual(t, a.Stats().Queued[link.Normal].Bytes, 1000)
		assert.NoError(t, a.Post(t.Context(), "b", event("n", strings.Repeat("x", 5000)), link.Low, nil), "an empty queue takes a message of any size")
		assert.ErrorIs(t, a.Post(t.Context(), "b", event("n", ""), link.Low, nil), link.ErrQueueFull)
	})
}

func TestHighWaitsForRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := stuffed(t, n, link.Options{QueueMessages: 3})
		var senders sync.WaitGroup
		for range 50 {
			senders.Go(func() { assert.NoError(t, a.Send(t.Context(), "b", event("n", "x"), link.High)) })
		}
		synctest.Wait()
		assert.Equal(t, 3, a.Stats().Queued[link.High].Messages)
		count := 0
		go b.read(<-b.streams, func(*message.Message) { count++ })
		senders.Wait()
		synctest.Wait()
		assert.Equal(t, 51, count)
		assert.Zero(t, a.Stats().Unsent)
	})
}

func TestHighWaitsNoLongerThanItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, _ := stuffed(t, n, link.Options{QueueMessages: 1})
		require.NoError(t, a.Post(t.Context(), "b", event("n", "x"), link.High, nil))
		for name, send := range map[string]func(context.Context) error{
			"Send": func(ctx context.Context) error { return a.Send(ctx, "b", event("n", "x"), link.High) },
			"Post": func(ctx context.Context) error { return a.Post(ctx, "b", event("n", "x"), link.High, nil) },
			"SendAll": func(ctx context.Context) error {
				return a.SendAll(ctx, []peer.ID{"b"}, event("n", "x"), link.High).Err()
			},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			start := time.Now()
			assert.ErrorIs(t, send(ctx), context.DeadlineExceeded, name)
			assert.Equal(t, 5*time.Second, time.Since(start), name)
			cancel()
		}
		assert.EqualValues(t, 3, a.Stats().Unsent.Expired)
		assert.Zero(t, a.Stats().Unsent.QueueFull)
	})
}

func TestMessageOfWhichItsSenderTiredIsTakenBack(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := stuffed(t, n, link.Options{})
		for _, prio := range []link.Priority{link.High, link.Normal, link.Low} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := a.Send(ctx, "b", event("n", "taken back"), prio)
			cancel()
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.NotErrorIs(t, err, link.ErrMayArrive)
		}
		assert.EqualValues(t, 3, a.Stats().Unsent.Expired, "each is counted")
		require.NoError(t, a.Post(t.Context(), "b", event("n", "kept"), link.Normal, nil))
		var got []string
		go b.read(<-b.streams, func(m *message.Message) { got = append(got, string(m.Data)) })
		synctest.Wait()
		assert.Equal(t, []string{"kept"}, got[1:])
	})
}

func TestMessageThatIsBeingWrittenMayArrive(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		n.deaf("b")
		a := n.node(t, "a", link.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := a.Send(ctx, "b", big(), link.Normal)
		assert.ErrorIs(t, err, link.ErrMayArrive)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestContextThatHasEndedSendsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, b := n.node(t, "a", link.Options{}), n.node(t, "b", link.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		assert.ErrorIs(t, a.Send(ctx, "b", event("n", "x"), link.Normal), context.Canceled)
		assert.ErrorIs(t, a.Post(ctx, "b", event("n", "x"), link.Normal, nil), context.Canceled)
		synctest.Wait()
		assert.Empty(t, b.messages())
		assert.EqualValues(t, 2, a.Stats().Unsent.Expired)
	})
}

func TestWhatCannotBeSentIsRefusedWithItsReason(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a := n.node(t, "a", link.Options{MaxData: 1000})
		n.node(t, "b", link.Options{})
		for name, c := range map[string]struct {
			to   peer.ID
			m    *message.Message
			prio link.Priority
			want string
			is   error
		}{
			"no type":       {"b", event("", "x"), link.Normal, "empty", message.ErrType},
			"reserved type": {"b", event("tombolo/x", "x"), link.Normal, "Tombolo's own", message.ErrType},
			"pattern":       {"b", event("room/*", "x"), link.Normal, "pattern", message.ErrType},
			"other kind":    {"b", &message.Message{Kind: message.Reply, Type: "n"}, link.Normal, "reply", nil},
			"priority":      {"b", event("n", "x"), 3, "priority 3", nil},
			"too large":     {"b", event("n", strings.Repeat("x", 1001)), link.Normal, "limit is 1000", message.ErrTooLarge},
			"itself":        {"a", event("n", "x"), link.Normal, "itself", nil},
			"nobody":        {"", event("n", "x"), link.Normal, "empty peer ID", nil},
		} {
			errs := map[string]error{
				"Send":    a.Send(t.Context(), c.to, c.m, c.prio),
				"Post":    a.Post(t.Context(), c.to, c.m, c.prio, func(error) { t.Error("done was called") }),
				"SendAll": a.SendAll(t.Context(), []peer.ID{c.to}, c.m, c.prio).Err(),
			}
			for how, err := range errs {
				assert.ErrorContains(t, err, c.want, "%s, %s", name, how)
				if c.is != nil {
					assert.ErrorIs(t, err, c.is, "%s, %s", name, how)
				}
			}
		}
		assert.Zero(t, n.opened())
		assert.EqualValues(t, 3, a.Stats().Unsent.TooLarge)
	})
}

func TestSendAllReportsWhoWasReachedAndWhyOthersWereNot(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a := n.node(t, "a", link.Options{QueueMessages: 2, OpenTimeout: time.Second})
		n.node(t, "ok", link.Options{})
		n.host("down").setDown(true)
		n.deaf("full")
		require.NoError(t, a.Post(t.Context(), "full", big(), link.Normal, nil))
		synctest.Wait()
		for range 2 {
			require.NoError(t, a.Post(t.Context(), "full", event("n", ""), link.Normal, nil))
		}

		peers := []peer.ID{"down", "ok", "full", "silent", "a", "ok"}
		r := a.SendAll(t.Context(), peers, event("n", "x"), link.Normal)
		assert.Equal(t, []peer.ID{"ok", "ok"}, r.Reached)
		require.Len(t, r.Failed, 4)
		assert.Equal(t, []peer.ID{"down", "full", "silent", "a"}, []peer.ID{r.Failed[0].Peer, r.Failed[1].Peer, r.Failed[2].Peer, r.Failed[3].Peer})
		assert.ErrorIs(t, r.Failed[0].Err, link.ErrUnreachable)
		assert.ErrorIs(t, r.Failed[0].Err, errDown)
		assert.ErrorIs(t, r.Failed[1].Err, link.ErrQueueFull)
		assert.ErrorIs(t, r.Failed[2].Err, context.DeadlineExceeded)
		assert.ErrorContains(t, r.Failed[3].Err, "itself")
		assert.ErrorIs(t, r.Err(), link.ErrQueueFull)

		assert.NoError(t, a.SendAll(t.Context(), nil, event("n", "x"), link.Normal).Err())
		assert.Empty(t, a.SendAll(t.Context(), nil, event("", "x"), link.Normal).Failed)
	})
}

func TestSendAllEndsWithItsContextAndSaysWhatIsOpen(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, _ := stuffed(t, n, link.Options{})
		n.deaf("c")
		n.node(t, "d", link.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := a.SendAll(ctx, []peer.ID{"b", "c", "d"}, big(), link.High)
		assert.Equal(t, []peer.ID{"d"}, r.Reached, "no peer waits for another")
		require.Len(t, r.Failed, 2)
		assert.NotErrorIs(t, r.Failed[0].Err, link.ErrMayArrive, "it was still queued")
		assert.ErrorIs(t, r.Failed[1].Err, link.ErrMayArrive)
	})
}

func TestPostAllTellsOfEachPeerOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a := n.node(t, "a", link.Options{OpenTimeout: time.Second})
		n.host("down").setDown(true)
		var peers []peer.ID
		for i := range 20 {
			peers = append(peers, peer.ID(fmt.Sprint(i)))
			n.node(t, peers[i], link.Options{})
		}
		peers = append(peers, "down", "a")
		told := make(map[peer.ID][]error)
		var mu sync.Mutex
		start := time.Now()
		require.NoError(t, a.PostAll(peers, event("n", "x"), link.High, func(p peer.ID, err error) {
			mu.Lock()
			defer mu.Unlock()
			told[p] = append(told[p], err)
		}))
		assert.Zero(t, time.Since(start))
		synctest.Wait()
		assert.Len(t, told, 22)
		for p, errs := range told {
			require.Len(t, errs, 1)
			switch p {
			case "down":
				assert.ErrorIs(t, errs[0], link.ErrUnreachable)
			case "a":
				assert.ErrorContains(t, errs[0], "itself")
			default:
				assert.NoError(t, errs[0])
			}
		}
		assert.ErrorIs(t, a.PostAll(peers, event("", "x"), link.High, func(peer.ID, error) { t.Error("done was called") }), message.ErrType)
	})
}

func TestPostAllDoesNotWaitForRoomInHigh(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, _ := stuffed(t, n, link.Options{QueueMessages: 2})
		var o outcomes
		for range 5 {
			require.NoError(t, a.PostAll([]peer.ID{"b"}, event("n", "x"), link.High, func(_ peer.ID, err error) { o.add(err) }))
		}
		require.Len(t, o.all(), 3)
		for _, err := range o.all() {
			assert.ErrorIs(t, err, link.ErrQueueFull)
		}
		assert.EqualValues(t, 3, a.Stats().Unsent.QueueFull)
		require.NoError(t, a.PostAll([]peer.ID{"b"}, event("n", "x"), link.High, nil), "done may be nil")
	})
}

func TestOnePeerThatTakesNothingCostsTheOthersNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a, _ := stuffed(t, n, link.Options{QueueMessages: 5})
		c := n.node(t, "c", link.Options{})
		start := time.Now()
		full := 0
		for i := range 1000 {
			if a.Post(t.Context(), "b", event("n", fmt.Sprint(i)), link.Normal, nil) != nil {
				full++
			}
			require.NoError(t, a.Send(t.Context(), "c", event("n", fmt.Sprint(i)), link.Normal))
		}
		synctest.Wait()
		assert.Len(t, c.messages(), 1000)
		assert.Equal(t, 995, full)
		assert.Zero(t, time.Since(start))
	})
}

// Whatever happens to a message, it is reported once and counted once.
func TestEveryMessageIsAccountedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 0))
		a := n.node(t, "a", link.Options{QueueMessages: 20, StallTimeout: 4 * time.Second})
		b := n.deaf("b")
		var reader sync.WaitGroup
		reader.Go(func() { // reads some streams, some of the time
			for s := range b.streams {
				for range r.IntN(30) {
					if _, err := s.Read(make([]byte, 4<<10)); err != nil {
						break
					}
					time.Sleep(10 * time.Millisecond)
				}
				_ = s.Reset()
			}
		})
		var sent, failed, full, expired int
		var mu sync.Mutex
		var senders sync.WaitGroup
		for i := range 6 {
			senders.Go(func() {
				for range 100 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+i)*50*time.Millisecond)
					err := a.Send(ctx, "b", &message.Message{Type: "n", Data: make([]byte, 10000)}, link.Priority(i%3))
					cancel()
					mu.Lock()
					switch {
					case err == nil:
						sent++
					case errors.Is(err, link.ErrMayArrive): // counted as sent or lost
					case errors.Is(err, link.ErrQueueFull):
						full++
					case errors.Is(err, context.DeadlineExceeded):
						expired++
					case errors.Is(err, link.ErrLost):
						failed++
					default:
						t.Errorf("what is this: %v", err)
					}
					mu.Unlock()
				}
			})
		}
		senders.Wait()
		require.NoError(t, a.Close())
		synctest.Wait() // until the last stream is in the channel
		close(b.streams)
		reader.Wait()
		s := a.Stats()
		assert.EqualValues(t, 6*100, s.Sent+s.Unsent.Lost+s.Unsent.QueueFull+s.Unsent.Expired, "seed %d", seed)
		assert.EqualValues(t, full, s.Unsent.QueueFull)
		assert.EqualValues(t, expired, s.Unsent.Expired)
		assert.GreaterOrEqual(t, s.Sent, uint64(sent))
		assert.GreaterOrEqual(t, s.Unsent.Lost, uint64(failed))
		assert.Positive(t, sent)
		assert.Zero(t, s.Queued)
	})
}
