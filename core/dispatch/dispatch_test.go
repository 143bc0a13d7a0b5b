package dispatch_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/message"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

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
		assert.False(t, ok, "another reader reads")
		break
	}
	require.NoError(t, d.Close())
	_, ok = s.TryNext()
	assert.False(t, ok)
}
