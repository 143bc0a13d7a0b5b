package dispatch_test

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/message"
)

func logged() (*hosttest.Log, *slog.Logger) {
	l := new(hosttest.Log)
	return l, slog.New(slog.NewTextHandler(l, nil))
}

// Every way of reading must give the same messages.
func TestEveryWayToReadGivesAllInOrder(t *testing.T) {
	ways := map[string]func(t *testing.T, d *dispatch.Dispatcher) <-chan string{
		"iterator": func(t *testing.T, d *dispatch.Dispatcher) <-chan string {
			s, out := subscribe(t, d, "chat"), make(chan string, 10)
			go func() {
				for m := range s.All() {
					out <- show(m)
				}
			}()
			return out
		},
		"iterators one after the other": func(t *testing.T, d *dispatch.Dispatcher) <-chan string {
			s, out := subscribe(t, d, "chat"), make(chan string, 10)
			go func() {
				for s.Err() == nil {
					for m := range s.All() {
						out <- show(m)
						break
					}
				}
			}()
			return out
		},
		"next": func(t *testing.T, d *dispatch.Dispatcher) <-chan string {
			s, out := subscribe(t, d, "chat"), make(chan string, 10)
			go func() {
				for {
					m, err := s.Next(background)
					if err != nil {
						return
					}
					out <- show(m)
				}
			}()
			return out
		},
		"channel": func(t *testing.T, d *dispatch.Dispatcher) <-chan string {
			s, out := subscribe(t, d, "chat"), make(chan string, 10)
			ch := s.Chan()
			assert.Equal(t, ch, s.Chan(), "it has one")
			go func() {
				for m := range ch {
					out <- show(m)
				}
			}()
			return out
		},
		"handler": func(t *testing.T, d *dispatch.Dispatcher) <-chan string {
			out := make(chan string, 10)
			_, err := d.Handle("chat", func(_ context.Context, m dispatch.Delivery) { out <- show(m) })
			require.NoError(t, err)
			return out
		},
	}
	for name, read := range ways {
		t.Run(name, func(t *testing.T) {
			d := newDispatcher(t, dispatch.Options{})
			out := read(t, d)
			for round := range uint64(3) {
				offer(t, d, "chat", "a", 2*round+1, 2*round+2)
				for i := range uint64(2) {
					assert.Equal(t, show(dispatch.Delivery{Message: event("chat", "a", 2*round+i+1)}), within(t, out, "a message"))
				}
			}
		})
	}
}

func TestNextWaitsAsLongAsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t, dispatch.Options{})
		s := subscribe(t, d, "chat")
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		_, err := s.Next(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		offer(t, d, "chat", "a", 1, 2)
		m, err := s.Next(ctx)
		require.NoError(t, err, "what is there is returned")
		assert.Equal(t, "a:1", show(m))
		assert.Equal(t, []string{"a:2"}, got(s), "and what came after is not lost")
	})
}

func TestSecondReaderIsTurnedAway(t *testing.T) {
	l, logger := logged()
	d := newDispatcher(t, dispatch.Options{Logger: logger})
	s := subscribe(t, d, "chat")
	offer(t, d, "chat", "a", 1, 2)
	for range s.All() {
		_, err := s.Next(background)
		assert.ErrorIs(t, err, dispatch.ErrBusy)
		for range s.All() {
			t.Error("two at a time")
		}
		_, open := <-s.Chan()
		assert.False(t, open)
		break
	}
	assert.Equal(t, 2, bytes.Count([]byte(l.String()), []byte("another reader")))
	m, open := within(t, s.Chan(), "the channel"), true
	assert.Equal(t, "a:2", show(m), "it may have a channel when the loop is left")
	assert.True(t, open)
	_, err := s.Next(background)
	assert.ErrorIs(t, err, dispatch.ErrBusy, "for good")
}

func TestClosedChannelLosesNothingUncounted(t *testing.T) {
	for name, end := range map[string]func(*dispatch.Dispatcher, *dispatch.Subscription) error{
		"by the subscription": func(_ *dispatch.Dispatcher, s *dispatch.Subscription) error { return s.Close() },
		"by the dispatcher":   func(d *dispatch.Dispatcher, _ *dispatch.Subscription) error { return d.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDispatcher(t, dispatch.Options{})
				s := subscribe(t, d, "chat")
				ch := s.Chan()
				offer(t, d, "chat", "a", 1, 5)
				assert.Equal(t, "a:1", show(<-ch))
				synctest.Wait() // the second is offered to the channel
				require.NoError(t, end(d, s))
				_, open := <-ch
				assert.False(t, open)
				assert.Equal(t, dispatch.SubscriptionStats{Delivered: 1, Dropped: dispatch.Drops{Closed: 4}}, s.Stats())
				require.NoError(t, s.Close())
				assert.Equal(t, s.Stats(), d.Stats().SubscriptionStats)
			})
		})
	}
}

func TestChannelOfWhatHasEnded(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	slow := subscribe(t, d, "chat", dispatch.Buffer(1), dispatch.CloseOnOverflow)
	s := subscribe(t, d, "chat")
	offer(t, d, "chat", "a", 1, 2)
	assert.Equal(t, "a:1", show(within(t, slow.Chan(), "what was queued")))
	_, open := <-slow.Chan()
	assert.False(t, open)
	require.NoError(t, d.Close())
	_, open = <-s.Chan()
	assert.False(t, open)
	assert.Equal(t, dispatch.Drops{Closed: 2}, s.Stats().Dropped)
}

func TestPanicOfAHandlerIsLoggedAndTheSubscriptionGoesOn(t *testing.T) {
	l, logger := logged()
	d := newDispatcher(t, dispatch.Options{Logger: logger})
	out := make(chan string, 3)
	s, err := d.Handle("room/*", func(_ context.Context, m dispatch.Delivery) {
		switch m.ID.Seq {
		case 1:
			panic("boom")
		case 2:
			runtime.Goexit()
		}
		out <- show(m)
	})
	require.NoError(t, err)
	offer(t, d, "room/7", "a", 1, 3)
	assert.Equal(t, "a:3", within(t, out, "the third"))
	require.NoError(t, s.Close())
	for _, word := range []string{"handler=room/*", "type=room/7", "id=1.1", "boom", "id=1.2", "Goexit", "reader_test.go", "stack="} {
		assert.Contains(t, l.String(), word)
	}
	st := d.Stats()
	assert.Equal(t, uint64(3), st.Delivered)
	assert.Equal(t, uint64(2), st.Handlers.Panics)
	assert.Equal(t, uint64(3), st.Handlers.Runs)
}

func TestLateHandlerIsNamedInTheLogAndInStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, logger := logged()
		d := newDispatcher(t, dispatch.Options{Logger: logger, HandlerLimit: time.Second})
		_, err := d.Handle("chat", func(context.Context, dispatch.Delivery) { time.Sleep(3 * time.Second) })
		require.NoError(t, err)
		offer(t, d, "chat", "a", 7, 7)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		st := d.Stats().Handlers
		require.Len(t, st.Overdue, 1)
		assert.Equal(t, "chat", st.Overdue[0].Handler)
		assert.Equal(t, message.ID{Epoch: 1, Seq: 7}, st.Overdue[0].ID)
		assert.Equal(t, 2*time.Second, st.Overdue[0].For)
		assert.Equal(t, uint64(1), st.Late)
		for _, word := range []string{"still running", "handler=chat", "id=1.7"} {
			assert.Contains(t, l.String(), word)
		}
		time.Sleep(2 * time.Second)
		assert.Empty(t, d.Stats().Handlers.Overdue)
	})
}

func TestSlowHandlerHoldsUpNoOther(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	release, out := make(chan struct{}), make(chan string, 10)
	_, err := d.Handle("chat", func(ctx context.Context, _ dispatch.Delivery) { <-release })
	require.NoError(t, err)
	_, err = d.Handle("chat", func(_ context.Context, m dispatch.Delivery) { out <- show(m) })
	require.NoError(t, err)
	offer(t, d, "chat", "a", 1, 3)
	for _, want := range []string{"a:1", "a:2", "a:3"} {
		assert.Equal(t, want, within(t, out, "the quick one"))
	}
	close(release)
}

func TestCloseDuringADelivery(t *testing.T) {
	ways := map[string]func(*dispatch.Dispatcher, *dispatch.Subscription) error{
		"of the subscription": func(_ *dispatch.Dispatcher, s *dispatch.Subscription) error { return s.Close() },
		"of the dispatcher":   func(d *dispatch.Dispatcher, _ *dispatch.Subscription) error { return d.Close() },
	}
	for name, end := range ways {
		t.Run(name+" from within its handler", func(t *testing.T) {
			d := newDispatcher(t, dispatch.Options{})
			var s *dispatch.Subscription
			ready, calls := make(chan struct{}), make(chan error, 9)
			s, err := d.Handle("chat", func(ctx context.Context, _ dispatch.Delivery) {
				<-ready
				assert.NoError(t, end(d, s))
				calls <- ctx.Err()
			})
			require.NoError(t, err)
			offer(t, d, "chat", "a", 1, 5)
			close(ready)
			assert.ErrorIs(t, within(t, calls, "the handler"), context.Canceled)
			require.NoError(t, s.Close(), "this waits for it")
			assert.Empty(t, calls, "it gets nothing more")
			assert.Equal(t, dispatch.SubscriptionStats{Delivered: 1, Dropped: dispatch.Drops{Closed: 4}}, s.Stats())
		})
		t.Run(name+" from another goroutine waits for the handler", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDispatcher(t, dispatch.Options{})
				over := false
				s, err := d.Handle("chat", func(ctx context.Context, _ dispatch.Delivery) {
					<-ctx.Done()
					time.Sleep(time.Second)
					over = true
				})
				require.NoError(t, err)
				offer(t, d, "chat", "a", 1, 2)
				synctest.Wait()
				require.NoError(t, end(d, s))
				assert.True(t, over)
			})
		})
		t.Run(name+" within its loop", func(t *testing.T) {
			d := newDispatcher(t, dispatch.Options{})
			s := subscribe(t, d, "chat")
			offer(t, d, "chat", "a", 1, 3)
			var list []string
			for m := range s.All() {
				list = append(list, show(m))
				assert.NoError(t, end(d, s))
			}
			if name == "of the subscription" {
				assert.Equal(t, []string{"a:1"}, list, "nothing after Close")
			} else {
				assert.Equal(t, []string{"a:1", "a:2", "a:3"}, list, "read to its end")
			}
			rest, err := s.Next(background)
			require.ErrorIs(t, err, dispatch.ErrClosed)
			assert.Equal(t, uint64(3-len(list)), rest.Missed)
		})
		t.Run(name+" wakes who waits", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDispatcher(t, dispatch.Options{})
				s := subscribe(t, d, "chat")
				result := make(chan error, 1)
				go func() { _, err := s.Next(background); result <- err }()
				synctest.Wait()
				require.NoError(t, end(d, s))
				assert.ErrorIs(t, <-result, dispatch.ErrClosed)
			})
		})
	}
}

// Two handlers that each close the other's subscription do not wait for each other.
func TestHandlersThatCloseEachOther(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	var subs [2]*dispatch.Subscription
	var both, over sync.WaitGroup
	both.Add(2)
	over.Add(2)
	ready := make(chan struct{})
	for i := range subs {
		s, err := d.Handle("chat", func(context.Context, dispatch.Delivery) {
			<-ready
			both.Done()
			both.Wait()
			assert.NoError(t, subs[1-i].Close())
			over.Done()
		})
		require.NoError(t, err)
		subs[i] = s
	}
	offer(t, d, "chat", "a", 1, 1)
	close(ready)
	ended := make(chan struct{})
	go func() { over.Wait(); close(ended) }()
	within(t, ended, "both")
}

func TestSubscriptionsComeAndGoDuringDelivery(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	stays := subscribe(t, d, "chat", dispatch.Buffer(4096))
	var late *dispatch.Subscription
	first, err := d.Handle("chat", func(_ context.Context, m dispatch.Delivery) {
		if m.ID.Seq == 1 {
			s, err := d.Subscribe("chat")
			assert.NoError(t, err)
			late = s
			assert.NoError(t, d.Offer(event("chat", "a", 2)))
		}
	})
	require.NoError(t, err)
	offer(t, d, "chat", "a", 1, 1)
	for _, want := range []string{"a:1", "a:2"} {
		m, err := stays.Next(background)
		require.NoError(t, err)
		assert.Equal(t, want, show(m))
	}
	require.NoError(t, first.Close())
	assert.Equal(t, []string{"a:2"}, got(late), "what is published after Subscribe returned")
}

func TestOnEndOfAPanicAndOfManyAtOnce(t *testing.T) {
	l, logger := logged()
	d := newDispatcher(t, dispatch.Options{Logger: logger})
	var mu sync.Mutex
	var ended []int
	for i := range 20 {
		subscribe(t, d, "chat", dispatch.Buffer(1), dispatch.CloseOnOverflow, dispatch.OnEnd(func() {
			mu.Lock()
			defer mu.Unlock()
			ended = append(ended, i)
			panic("in the end")
		}))
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { _ = d.Offer(event("chat", "a", 1)) })
	}
	wg.Go(func() { assert.NoError(t, d.Close()) })
	wg.Wait()
	require.NoError(t, d.Close())
	slices.Sort(ended)
	assert.Len(t, ended, 20)
	assert.Len(t, slices.Compact(ended), 20)
	assert.Contains(t, l.String(), "in the end")
}
