package dispatch_test

import (
	"context"
	"fmt"
	"math/bits"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/message"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

var background = context.Background()

// event returns the seq-th event of a sender.
func event(typ string, from peer.ID, seq uint64) *message.Message {
	return &message.Message{Type: typ, From: from, ID: message.ID{Epoch: 1, Seq: seq}}
}

func newDispatcher(t testing.TB, opts dispatch.Options) *dispatch.Dispatcher {
	d := dispatch.New(opts)
	t.Cleanup(func() { assert.NoError(t, d.Close()) })
	return d
}

func subscribe(t testing.TB, d *dispatch.Dispatcher, pattern string, opts ...dispatch.Option) *dispatch.Subscription {
	t.Helper()
	s, err := d.Subscribe(pattern, opts...)
	require.NoError(t, err)
	return s
}

// offer publishes the messages first..last of a sender.
func offer(t testing.TB, d *dispatch.Dispatcher, typ string, from peer.ID, first, last uint64) {
	t.Helper()
	for seq := first; seq <= last; seq++ {
		require.NoError(t, d.Offer(event(typ, from, seq)))
	}
}

// got reads the messages that a subscription holds now, each as "sender+missed:seq", or
// "sender:seq" if none was missed.
func got(s *dispatch.Subscription) []string {
	list := []string{}
	for {
		d, ok := s.TryNext()
		if !ok {
			return list
		}
		list = append(list, show(d))
	}
}

func show(d dispatch.Delivery) string {
	if d.Missed == 0 {
		return fmt.Sprintf("%s:%d", string(d.From), d.ID.Seq)
	}
	return fmt.Sprintf("%s+%d:%d", string(d.From), d.Missed, d.ID.Seq)
}

// within waits for ch, but not forever.
func within[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(limit):
		require.FailNow(t, "in vain", "waited for %s", what)
		panic("not reached")
	}
}

const limit = 30 * time.Second

func TestOnEndIsCalledOnceWhateverEndedTheSubscription(t *testing.T) {
	ways := map[string]func(t *testing.T, d *dispatch.Dispatcher, s *dispatch.Subscription){
		"Close":            func(t *testing.T, _ *dispatch.Dispatcher, s *dispatch.Subscription) { require.NoError(t, s.Close()) },
		"Dispatcher.Close": func(t *testing.T, d *dispatch.Dispatcher, _ *dispatch.Subscription) { require.NoError(t, d.Close()) },
		"ErrSlow": func(t *testing.T, d *dispatch.Dispatcher, s *dispatch.Subscription) {
			for range 2 {
				require.NoError(t, d.Publish(context.Background(), &message.Message{Type: "chat"}))
			}
			require.ErrorIs(t, s.Err(), dispatch.ErrSlow)
		},
	}
	for name, end := range ways {
		t.Run(name, func(t *testing.T) {
			d := dispatch.New(dispatch.Options{})
			calls := make(chan struct{}, 9)
			var s *dispatch.Subscription
			s, err := d.Subscribe("chat", dispatch.Buffer(1), dispatch.CloseOnOverflow, dispatch.OnEnd(func() {
				assert.NoError(t, s.Close(), "it may close what has ended")
				calls <- struct{}{}
			}))
			require.NoError(t, err)
			end(t, d, s)
			require.NoError(t, s.Close())
			require.NoError(t, d.Close())
			assert.Len(t, calls, 1)
		})
	}
}

func TestTryNextDoesNotWait(t *testing.T) {
	d := dispatch.New(dispatch.Options{})
	s, err := d.Subscribe("chat")
	require.NoError(t, err)
	_, ok := s.TryNext()
	assert.False(t, ok)
	m := &message.Message{Type: "chat"}
	require.NoError(t, d.Offer(m))
	got, ok := s.TryNext()
	assert.True(t, ok)
	assert.Same(t, m, got.Message)
	require.NoError(t, d.Offer(m))
	for range s.All() {
		_, ok = s.TryNext()
		assert.False(t, ok, "another reader is active")
		break
	}
	require.NoError(t, d.Close())
	_, ok = s.TryNext()
	assert.False(t, ok)
}

// If the fields of both share a cache line, a message costs a third more.
func TestReaderAndPublishersTouchDifferentCacheLines(t *testing.T) {
	const line = 64
	if bits.UintSize == 32 {
		t.Skip("where pointers are small, more of it shares a line")
	}
	reader, publishers := dispatch.ReaderEnds()
	assert.LessOrEqual(t, reader, uintptr(line))
	assert.GreaterOrEqual(t, publishers, uintptr(line))
}
