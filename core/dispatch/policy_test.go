package dispatch_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/message"
)

func TestOptionsThatMakeNoSense(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	for name, opts := range map[string][]dispatch.Option{
		"no buffer":       {dispatch.Buffer(0)},
		"too large":       {dispatch.Buffer(dispatch.MaxBuffer + 1)},
		"two policies":    {dispatch.DropOldest, dispatch.Block},
		"no key":          {dispatch.LatestPerKey(nil)},
		"no end":          {dispatch.OnEnd(nil)},
		"the same policy": {dispatch.Block, dispatch.Block},
	} {
		_, err := d.Subscribe("chat", opts...)
		assert.ErrorContains(t, err, `"chat"`, name)
	}
	assert.Zero(t, d.Stats().Subscriptions)
}

func TestDropNewestIsTheDefaultAndTellsOfTheGapWhereItIs(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	s := subscribe(t, d, "chat", dispatch.Buffer(3))
	offer(t, d, "chat", "a", 1, 5)
	first, _ := s.TryNext()
	assert.Equal(t, "a:1", show(first))
	offer(t, d, "chat", "a", 6, 8)
	assert.Equal(t, []string{"a:2", "a:3", "a+2:6"}, got(s))
	offer(t, d, "chat", "a", 9, 9)
	assert.Equal(t, []string{"a+2:9"}, got(s))
	assert.Equal(t, dispatch.SubscriptionStats{Delivered: 5, Dropped: dispatch.Drops{Full: 4}}, s.Stats())
}

func TestDropOldestKeepsWhatIsNew(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	s := subscribe(t, d, "chat", dispatch.Buffer(3), dispatch.DropOldest)
	offer(t, d, "chat", "a", 1, 5)
	first, _ := s.TryNext()
	assert.Equal(t, "a+2:3", show(first))
	offer(t, d, "chat", "a", 6, 8)
	assert.Equal(t, []string{"a+2:6", "a:7", "a:8"}, got(s))
	assert.Equal(t, uint64(4), s.Dropped())
}

func TestWhoHoldsTheMostPlacesLosesFirst(t *testing.T) {
	for name, tc := range map[string]struct {
		policy dispatch.Option
		want   []string
	}{
		"drop-newest": {dispatch.DropNewest, []string{"flood:1", "flood:2", "calm+2:1", "calm:2"}},
		"drop-oldest": {dispatch.DropOldest, []string{"flood+2:3", "flood:4", "calm:1", "calm:2"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDispatcher(t, dispatch.Options{})
			s := subscribe(t, d, "chat", dispatch.Buffer(4), tc.policy)
			offer(t, d, "chat", "flood", 1, 4)
			offer(t, d, "chat", "calm", 1, 2)
			assert.Equal(t, tc.want, got(s))
		})
	}
	t.Run("a gap in the middle", func(t *testing.T) {
		d := newDispatcher(t, dispatch.Options{})
		s := subscribe(t, d, "chat", dispatch.Buffer(4), dispatch.DropOldest)
		offer(t, d, "chat", "a", 1, 1)
		offer(t, d, "chat", "flood", 1, 3)
		offer(t, d, "chat", "b", 1, 2)
		assert.Equal(t, []string{"a:1", "flood+2:3", "b:1", "b:2"}, got(s))
	})
}

func TestLatestPerKeyKeepsOneOfEach(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	s := subscribe(t, d, "at", dispatch.Buffer(2), dispatch.LatestPerKey(func(m *message.Message) string { return string(m.From) }))
	offer(t, d, "at", "a", 1, 3)
	offer(t, d, "at", "b", 1, 2)
	offer(t, d, "at", "a", 4, 4)
	assert.Equal(t, []string{"a+3:4", "b+1:2"}, got(s), "the newest message takes the place of the first")
	assert.Equal(t, dispatch.SubscriptionStats{Delivered: 2, Dropped: dispatch.Drops{Superseded: 4}}, s.Stats())

	offer(t, d, "at", "a", 5, 5)
	offer(t, d, "at", "b", 3, 3)
	offer(t, d, "at", "c", 1, 1)
	offer(t, d, "at", "a", 6, 6)
	assert.Equal(t, []string{"c+2:1", "a:6"}, got(s), "full of distinct keys, it drops the oldest")
	assert.Equal(t, dispatch.Drops{Superseded: 4, Full: 2}, s.Stats().Dropped)
}

func TestKeyThatPanicsCostsNothingButTheKey(t *testing.T) {
	var log bytes.Buffer
	d := newDispatcher(t, dispatch.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s := subscribe(t, d, "at", dispatch.LatestPerKey(func(m *message.Message) string { return string(m.Data[:1]) }))
	offer(t, d, "at", "a", 1, 2)
	assert.Equal(t, []string{"a:1", "a:2"}, got(s))
	for _, word := range []string{"panicked", "type=at", "id=1.2", "policy_test.go"} {
		assert.Contains(t, log.String(), word)
	}
}

func TestCloseOnOverflowGivesWhatWasQueuedAndThenErrSlow(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	s := subscribe(t, d, "chat", dispatch.Buffer(2), dispatch.CloseOnOverflow)
	other := subscribe(t, d, "chat")
	offer(t, d, "chat", "a", 1, 2)
	require.NoError(t, s.Err())
	offer(t, d, "chat", "a", 3, 4)
	within(t, s.Done(), "the end")
	require.ErrorIs(t, s.Err(), dispatch.ErrSlow)
	for seq := range uint64(2) {
		m, err := s.Next(background)
		require.NoError(t, err)
		assert.Equal(t, seq+1, m.ID.Seq)
	}
	rest, err := s.Next(background)
	require.ErrorIs(t, err, dispatch.ErrSlow)
	assert.Equal(t, uint64(1), rest.Missed, "only the message that found it full: after that, it had ended")
	assert.Equal(t, uint64(1), s.Dropped())
	assert.Len(t, got(other), 4)
	require.NoError(t, s.Close())
	assert.ErrorIs(t, s.Err(), dispatch.ErrSlow, "Close keeps the error that ended it")
}

func TestBlockWaitsForRoomAndServesThoseWhoWaitInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t, dispatch.Options{})
		s := subscribe(t, d, "chat", dispatch.Buffer(2), dispatch.Block)
		offer(t, d, "chat", "a", 1, 2)
		var wg sync.WaitGroup
		for seq := uint64(3); seq <= 5; seq++ {
			wg.Go(func() { assert.NoError(t, d.Publish(background, event("chat", "a", seq))) })
			synctest.Wait()
		}
		assert.ErrorIs(t, d.Offer(event("chat", "a", 6)), dispatch.ErrNotTaken)
		for seq := uint64(1); seq <= 5; seq++ {
			m, err := s.Next(background)
			require.NoError(t, err)
			assert.Equal(t, seq, m.ID.Seq)
		}
		wg.Wait()
		assert.Equal(t, dispatch.SubscriptionStats{Delivered: 5, Dropped: dispatch.Drops{Full: 1}}, s.Stats())
	})
}

func TestBlockEndsWithTheContextOfThePublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t, dispatch.Options{})
		s := subscribe(t, d, "chat", dispatch.Buffer(1), dispatch.Block)
		prefix := subscribe(t, d, "room/*", dispatch.Buffer(1), dispatch.Block)
		offer(t, d, "chat", "a", 1, 1)
		why := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(background, time.Second, why)
		defer cancel()
		err := d.Publish(ctx, event("chat", "a", 2))
		require.ErrorIs(t, err, dispatch.ErrNotTaken)
		require.ErrorIs(t, err, why)
		assert.ErrorContains(t, err, `"chat"`)
		assert.Equal(t, []string{"a:1"}, got(s))
		offer(t, d, "chat", "a", 3, 3)
		assert.Equal(t, []string{"a+1:3"}, got(s))
		assert.Equal(t, dispatch.Drops{Timeout: 1}, s.Stats().Dropped)
		assert.Zero(t, prefix.Dropped())
	})
}

func TestOneWhoStopsWaitingLeavesTheOthersInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t, dispatch.Options{})
		s := subscribe(t, d, "chat", dispatch.Buffer(1), dispatch.Block)
		offer(t, d, "chat", "a", 1, 1)
		results := make([]error, 3)
		ctx, cancel := context.WithCancel(background)
		var wg sync.WaitGroup
		for i, ctx := range []context.Context{background, ctx, background} {
			wg.Go(func() { results[i] = d.Publish(ctx, event("chat", "a", uint64(i)+2)) })
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		var list []string
		for range 3 {
			m, err := s.Next(background)
			require.NoError(t, err)
			list = append(list, show(m))
		}
		wg.Wait()
		assert.Equal(t, []string{"a:1", "a+1:2", "a:4"}, list)
		assert.NoError(t, results[0])
		assert.ErrorIs(t, results[1], context.Canceled)
		assert.NoError(t, results[2])
	})
}

func TestPublisherThatWaitsIsLetGoByAClose(t *testing.T) {
	for name, tc := range map[string]struct {
		close func(*dispatch.Dispatcher, *dispatch.Subscription) error
		want  error
	}{
		"of the subscription": {func(_ *dispatch.Dispatcher, s *dispatch.Subscription) error { return s.Close() }, nil},
		"of the dispatcher":   {func(d *dispatch.Dispatcher, _ *dispatch.Subscription) error { return d.Close() }, dispatch.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDispatcher(t, dispatch.Options{})
				s := subscribe(t, d, "chat", dispatch.Buffer(1), dispatch.Block)
				offer(t, d, "chat", "a", 1, 1)
				result := make(chan error, 1)
				go func() { result <- d.Publish(background, event("chat", "a", 2)) }()
				synctest.Wait()
				require.NoError(t, tc.close(d, s))
				assert.Equal(t, tc.want, <-result)
				require.NoError(t, s.Close())
				assert.Equal(t, uint64(2), s.Dropped())
			})
		})
	}
}

func TestCopyOfAMessageThatWaitsIsDeliveredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t, dispatch.Options{})
		require.NoError(t, d.Deduplicate("chat", dispatch.Window{}))
		s := subscribe(t, d, "chat", dispatch.Buffer(1), dispatch.Block)
		offer(t, d, "chat", "a", 1, 1)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { assert.NoError(t, d.Publish(background, event("chat", "a", 2))) })
		}
		synctest.Wait()
		for seq := range uint64(2) {
			m, err := s.Next(background)
			require.NoError(t, err)
			assert.Equal(t, seq+1, m.ID.Seq)
		}
		wg.Wait()
		assert.Equal(t, dispatch.SubscriptionStats{Delivered: 2, Duplicates: 2}, s.Stats())
	})
}

// A reader that takes a message while a publisher starts to wait must wake the publisher.
func TestNoPublisherWaitsWhereThereIsRoom(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	s := subscribe(t, d, "chat", dispatch.Buffer(1), dispatch.Block)
	const n = 20_000
	ctx, cancel := context.WithTimeout(background, limit)
	defer cancel()
	published := make(chan error, 1)
	go func() {
		for seq := range uint64(n) {
			if err := d.Publish(ctx, event("chat", "a", seq+1)); err != nil {
				published <- err
				return
			}
		}
		published <- nil
	}()
	for seq := range uint64(n) {
		m, err := s.Next(ctx)
		require.NoError(t, err)
		require.Equal(t, seq+1, m.ID.Seq)
		require.Zero(t, m.Missed)
	}
	require.NoError(t, within(t, published, "the publisher"))
}

// A gap in one sender's messages counts exactly the missing ones, whatever the policy and
// the timing of reader and publisher.
func TestGapsAreAsWideAsWhatIsMissing(t *testing.T) {
	for name, policy := range map[string]dispatch.Option{
		"drop-newest": dispatch.DropNewest, "drop-oldest": dispatch.DropOldest, "block": dispatch.Block, "close": dispatch.CloseOnOverflow,
		"latest of no keys": dispatch.LatestPerKey(func(m *message.Message) string { return strconv.FormatUint(m.ID.Seq, 10) }),
	} {
		for _, buffer := range []int{1, 2, 7, 64, 1000} {
			t.Run(name+" "+strconv.Itoa(buffer), func(t *testing.T) {
				const n = 2000
				d := newDispatcher(t, dispatch.Options{})
				s := subscribe(t, d, "chat", dispatch.Buffer(buffer), policy)
				var publisher sync.WaitGroup
				publisher.Go(func() {
					for seq := range uint64(n) {
						_ = d.Offer(event("chat", "a", seq+1)) // with Block, the publisher gets an error, too
						if rand.IntN(buffer) == 0 {
							runtime.Gosched()
						}
					}
					assert.NoError(t, d.Close())
				})
				var last, delivered, missed uint64
				for {
					m, err := s.Next(background)
					missed += m.Missed
					if err != nil {
						break
					}
					require.Equal(t, m.ID.Seq-last-1, m.Missed, "before %d", m.ID.Seq)
					last = m.ID.Seq
					delivered++
					if rand.IntN(2*buffer) == 0 {
						runtime.Gosched()
					}
				}
				publisher.Wait()
				assert.Equal(t, s.Dropped(), missed)
				assert.Equal(t, s.Stats().Delivered, delivered)
				if s.Err() != dispatch.ErrSlow {
					assert.Equal(t, uint64(n), delivered+missed)
				}
			})
		}
	}
}
