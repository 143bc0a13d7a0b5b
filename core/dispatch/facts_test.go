package dispatch_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/message"
)

// The facts are behaviours of Nebulas' dispatcher, with their numbers.
func TestFactsOfNebulas(t *testing.T) {
	for name, fact := range map[string]func(t *testing.T){
		"1 start and stop: what was only made stops, and stopping waits":                     factStop,
		"2 a table type -> set of subscribers: each hears its types, in order, and no other": factTable,
		"3 each subscriber is bounded, and delivery never waits for it: a full one drops":    factBounded,
		"4 a type nobody subscribes to is skipped, and what waits is gauged":                 factSkipped,
		"5 de-duplication per type, off until asked for":                                     factDeduplicate,
		"8 reserved names never reach subscribers":                                           factReserved,
	} {
		t.Run(name, fact)
	}
}

func factStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dispatch.New(dispatch.Options{})
		require.NoError(t, d.Close(), "nothing was begun")
		require.NoError(t, d.Close(), "again")

		d = dispatch.New(dispatch.Options{})
		began, ended := make(chan struct{}), false
		_, err := d.Handle("chat", func(ctx context.Context, _ dispatch.Delivery) {
			close(began)
			<-ctx.Done()
			time.Sleep(time.Second)
			ended = true
		})
		require.NoError(t, err)
		offer(t, d, "chat", "a", 1, 1)
		<-began
		require.NoError(t, d.Close())
		assert.True(t, ended, "Close waits for what is under way")
	})
}

func factTable(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	patterns := []string{"chat", "chat", "room/1", "room/*", "room/1/*", "*", "room", "r*m"}
	subs := make([]*dispatch.Subscription, len(patterns))
	for i, p := range patterns {
		subs[i] = subscribe(t, d, p)
		assert.Equal(t, p, subs[i].Pattern())
	}
	heard := map[string][]int{ // by type: the indexes of subs
		"chat":          {0, 1},
		"chat/":         nil,
		"room":          {6},
		"room/":         {3},
		"room/1":        {2, 3},
		"room/2":        {3},
		"room/1/":       {3, 4},
		"room/1/2/3":    {3, 4},
		"rooms/1":       nil,
		"*":             {5}, // a star is a pattern only after a slash
		"r*m":           {7},
		"unheard/of":    nil,
		"/room/1":       nil,
		"Room/1":        nil,
		"room/*/deeper": {3},
	}
	for typ, by := range heard {
		offer(t, d, typ, "a", 1, 3)
		for i, s := range subs {
			var want []string
			for _, j := range by {
				if i == j {
					want = []string{"a:1", "a:2", "a:3"}
				}
			}
			assert.ElementsMatch(t, want, got(s), "%q to %q", typ, patterns[i])
		}
	}
}

func factBounded(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	full := subscribe(t, d, "chat", dispatch.Buffer(2))
	other := subscribe(t, d, "chat")
	for seq := range uint64(5) {
		require.NoError(t, d.Publish(background, event("chat", "a", seq+1)))
	}
	assert.Equal(t, uint64(3), full.Dropped())
	assert.Equal(t, []string{"a:1", "a:2"}, got(full))
	assert.Equal(t, []string{"a:1", "a:2", "a:3", "a:4", "a:5"}, got(other))
}

func factSkipped(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	s := subscribe(t, d, "chat")
	offer(t, d, "nobody", "a", 1, 3)
	offer(t, d, "chat", "a", 1, 2)
	st := d.Stats()
	assert.Equal(t, uint64(5), st.Published)
	assert.Equal(t, uint64(3), st.Unclaimed)
	assert.Equal(t, 2, st.Depth)
	assert.Equal(t, 2, st.Deepest)
	assert.Equal(t, 1, st.Subscriptions)
	assert.Equal(t, 1, st.Types)
	require.Len(t, got(s), 2)
	require.NoError(t, s.Close())
	st = d.Stats()
	assert.Equal(t, dispatch.Stats{Published: 5, Unclaimed: 3, SubscriptionStats: dispatch.SubscriptionStats{Delivered: 2}}, st)
}

func factDeduplicate(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	chat, other := subscribe(t, d, "chat"), subscribe(t, d, "other")
	twice := func() {
		for range 2 {
			offer(t, d, "chat", "a", 1, 2)
			offer(t, d, "other", "a", 1, 1)
		}
	}
	twice()
	assert.Equal(t, []string{"a:1", "a:2", "a:1", "a:2"}, got(chat), "off by default")
	require.NoError(t, d.Deduplicate("chat", dispatch.Window{}))
	got(other)
	twice()
	assert.Equal(t, []string{"a:1", "a:2"}, got(chat))
	assert.Equal(t, []string{"a:1", "a:1"}, got(other))
	assert.Equal(t, uint64(2), chat.Stats().Duplicates)
	assert.Zero(t, chat.Dropped(), "a copy is no loss")
	require.NoError(t, d.Deduplicate("chat", dispatch.Off))
	twice()
	assert.Len(t, got(chat), 4)
}

func factReserved(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	every := subscribe(t, d, "tombolos/*")
	for _, typ := range []string{"tombolo/", "tombolo/route-sync", "tombolo/handshake/1"} {
		_, err := d.Subscribe(typ)
		assert.ErrorIs(t, err, message.ErrType, typ)
		assert.ErrorIs(t, d.Offer(event(typ, "a", 1)), message.ErrType, typ)
	}
	for _, p := range []string{"tombolo/*", "tombolo/x/*", "/*", "", string(make([]byte, 129)), "\xff", "\xff/*"} {
		_, err := d.Subscribe(p)
		assert.ErrorIs(t, err, message.ErrType, "%q", p)
		_, err = d.Handle(p, func(context.Context, dispatch.Delivery) {})
		assert.ErrorIs(t, err, message.ErrType, "%q", p)
		assert.ErrorIs(t, d.Deduplicate(p, dispatch.Window{}), message.ErrType, "%q", p)
	}
	for kind := message.Request; kind <= message.Gone; kind++ {
		m := event("tombolos/1", "a", 1)
		m.Kind = kind
		assert.ErrorIs(t, d.Offer(m), message.ErrType, kind)
	}
	assert.Empty(t, got(every))
	st := d.Stats()
	assert.Equal(t, uint64(3+7), st.Refused)
	assert.Zero(t, st.Published)
}

// The defects of Nebulas' dispatcher that concern a dispatcher.
func TestDefectsOfNebulas(t *testing.T) {
	for name, defect := range map[string]func(t *testing.T){
		"a dropped message is already in the de-duplication cache":                     defectDroppedRemembered,
		"the de-duplication key ignores type and sender":                               defectKey,
		"deregistering one subscriber switches de-duplication off for the others":      defectDeregister,
		"an equal-looking but different subscriber value is not removed":               defectEqualLooking,
		"filters is an unlocked map":                                                   defectUnlocked,
		"put after stop blocks once the queue is full, stop before start panics":       defectPutAfterStop,
		"stop posts a token and never waits":                                           factStop,
		"drops are not counted and the sender is told nothing":                         defectUncounted,
		"metric names and map keys are chosen by the remote, without bound":            defectUnbounded,
		"one slow subscriber (of the peers' issues): it costs the others nothing":      defectSlow,
		"one peer floods (of the peers' issues): it loses its own messages, no others": defectFlood,
	} {
		t.Run(name, defect)
	}
}

func defectDroppedRemembered(t *testing.T) {
	for name, tc := range map[string]struct {
		policy  dispatch.Option
		dropped uint64 // of 1, 2, 3 in a buffer of 2
		then    []string
	}{
		"drop-newest": {dispatch.DropNewest, 3, []string{"a:1", "a:2"}},
		"drop-oldest": {dispatch.DropOldest, 1, []string{"a+1:2", "a:3"}},
		"block":       {dispatch.Block, 3, []string{"a:1", "a:2"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDispatcher(t, dispatch.Options{})
			require.NoError(t, d.Deduplicate("chat", dispatch.Window{}))
			s := subscribe(t, d, "chat", dispatch.Buffer(2), tc.policy)
			for seq := range uint64(3) {
				_ = d.Offer(event("chat", "a", seq+1))
			}
			assert.Equal(t, tc.then, got(s))
			_ = d.Offer(event("chat", "a", tc.dropped))
			again, ok := s.TryNext()
			require.True(t, ok, "what was dropped can be delivered later")
			assert.Equal(t, tc.dropped, again.ID.Seq)
			for seq := range uint64(3) {
				require.NoError(t, d.Offer(event("chat", "a", seq+1)))
			}
			assert.Empty(t, got(s), "by now all have been delivered")
		})
	}
	t.Run("block, when the publisher gave up", func(t *testing.T) {
		d := newDispatcher(t, dispatch.Options{})
		require.NoError(t, d.Deduplicate("chat", dispatch.Window{}))
		s := subscribe(t, d, "chat", dispatch.Buffer(1), dispatch.Block)
		offer(t, d, "chat", "a", 1, 1)
		ctx, cancel := context.WithCancel(background)
		cancel()
		require.ErrorIs(t, d.Publish(ctx, event("chat", "a", 2)), dispatch.ErrNotTaken)
		assert.Equal(t, []string{"a:1"}, got(s))
		offer(t, d, "chat", "a", 2, 2)
		assert.Equal(t, []string{"a+1:2"}, got(s))
	})
}

func defectKey(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	require.NoError(t, d.Deduplicate("room/*", dispatch.Window{}))
	s := subscribe(t, d, "room/*")
	for _, typ := range []string{"room/1", "room/2"} {
		for _, from := range []peer.ID{"a", "b"} {
			for range 2 {
				offer(t, d, typ, from, 1, 2)
			}
		}
	}
	assert.Equal(t, []string{"a:1", "a:2", "b:1", "b:2", "a:1", "a:2", "b:1", "b:2"}, got(s))
	other := event("room/1", "a", 1)
	other.ID.Epoch++
	require.NoError(t, d.Offer(other))
	assert.Len(t, got(s), 1, "the sender has started a new epoch")
	for range 2 {
		require.NoError(t, d.Offer(&message.Message{Type: "room/1", From: "a"}))
	}
	assert.Len(t, got(s), 2, "what has no ID has no copies")
}

func defectDeregister(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	require.NoError(t, d.Deduplicate("chat", dispatch.Window{}))
	leaves, stays := subscribe(t, d, "chat"), subscribe(t, d, "chat")
	offer(t, d, "chat", "a", 1, 1)
	require.NoError(t, leaves.Close())
	offer(t, d, "chat", "a", 1, 2)
	assert.Equal(t, []string{"a:1", "a:2"}, got(stays))
	require.NoError(t, stays.Close())
	late := subscribe(t, d, "chat")
	for range 2 {
		offer(t, d, "chat", "a", 1, 2)
	}
	assert.Equal(t, []string{"a:1", "a:2"}, got(late), "a new subscription remembers no messages and gets each one once")
}

func defectEqualLooking(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	one, two := subscribe(t, d, "chat"), subscribe(t, d, "chat")
	require.NoError(t, one.Close())
	require.NoError(t, one.Close(), "again")
	offer(t, d, "chat", "a", 1, 1)
	assert.Empty(t, got(one))
	assert.Equal(t, []string{"a:1"}, got(two))
	require.NoError(t, two.Close())
	assert.Zero(t, d.Stats().Subscriptions)
	assert.Zero(t, d.Stats().Types)
}

func defectUnlocked(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range uint64(100) {
				typ := fmt.Sprintf("room/%d", (uint64(i)+n)%3)
				assert.NoError(t, d.Deduplicate(typ, dispatch.Window{Count: 1 + int(n)}))
				s, err := d.Subscribe(typ)
				if !assert.NoError(t, err) {
					return
				}
				assert.NoError(t, d.Offer(event(typ, "a", n+1)))
				assert.NoError(t, d.Deduplicate("room/*", dispatch.Window{}))
				_ = d.Stats()
				assert.NoError(t, d.Deduplicate(typ, dispatch.Off))
				assert.NoError(t, s.Close())
			}
		})
	}
	wg.Wait()
	assert.Zero(t, d.Stats().Subscriptions)
}

func defectPutAfterStop(t *testing.T) {
	d := dispatch.New(dispatch.Options{})
	s := subscribe(t, d, "chat", dispatch.Buffer(1), dispatch.Block)
	offer(t, d, "chat", "a", 1, 1)
	require.NoError(t, d.Close())
	for range 3 {
		assert.ErrorIs(t, d.Publish(background, event("chat", "a", 2)), dispatch.ErrClosed)
		assert.ErrorIs(t, d.Offer(event("chat", "a", 2)), dispatch.ErrClosed)
	}
	_, err := d.Subscribe("chat")
	require.ErrorIs(t, err, dispatch.ErrClosed)
	_, err = d.Handle("chat", func(context.Context, dispatch.Delivery) {})
	require.ErrorIs(t, err, dispatch.ErrClosed)
	require.ErrorIs(t, d.Deduplicate("chat", dispatch.Window{}), dispatch.ErrClosed)
	assert.Equal(t, []string{"a:1"}, got(s), "what was queued is read to its end")
	_, err = s.Next(background)
	require.ErrorIs(t, err, dispatch.ErrClosed)
}

func defectUncounted(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	quiet := subscribe(t, d, "chat", dispatch.Buffer(1))
	told := subscribe(t, d, "chat", dispatch.Buffer(1), dispatch.Block)
	offer(t, d, "chat", "a", 1, 1)
	err := d.Offer(event("chat", "a", 2))
	require.ErrorIs(t, err, dispatch.ErrNotTaken)
	assert.ErrorContains(t, err, "1 of 2", "the error counts the subscriptions that would hold up the sender")
	assert.Equal(t, dispatch.Drops{Full: 1}, quiet.Stats().Dropped)
	assert.Equal(t, dispatch.Drops{Full: 1}, told.Stats().Dropped)
	assert.Equal(t, dispatch.Drops{Full: 2}, d.Stats().Dropped)
	require.NoError(t, quiet.Close())
	assert.Equal(t, dispatch.Drops{Full: 2, Closed: 1}, d.Stats().Dropped, "including those of closed subscriptions")
}

func defectUnbounded(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	const count, buffer = 100, 64
	require.NoError(t, d.Deduplicate("room/*", dispatch.Window{Count: count}))
	s := subscribe(t, d, "room/*", dispatch.Buffer(buffer), dispatch.DropOldest)
	for i := range uint64(5000) {
		from := peer.ID(fmt.Sprint("peer", i))
		require.NoError(t, d.Offer(event(fmt.Sprint("room/", i), from, i+1)))
		require.NoError(t, d.Offer(event(fmt.Sprint("unheard/", i), from, i+1)))
		if i%500 == 0 {
			got(s)
		}
		if remembered := s.Remembered(); remembered > count {
			t.Fatalf("%d messages are remembered", remembered)
		}
		if accounts := s.Accounts(); accounts > buffer {
			t.Fatalf("accounts are kept for %d senders", accounts)
		}
	}
	assert.LessOrEqual(t, s.Places(), 2*buffer)
	assert.Equal(t, 1, d.Stats().Types)
}

func defectSlow(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	policies := map[string]dispatch.Option{
		"drop-newest": dispatch.DropNewest, "drop-oldest": dispatch.DropOldest, "block": dispatch.Block,
		"latest-per-key": dispatch.LatestPerKey(func(m *message.Message) string { return m.ID.String() }), "close": dispatch.CloseOnOverflow,
	}
	for _, p := range policies {
		subscribe(t, d, "chat", dispatch.Buffer(1), p) // nobody reads these
	}
	const n = 500
	quick := subscribe(t, d, "chat", dispatch.Buffer(n))
	ctx, cancel := context.WithCancel(background)
	blocked := make(chan error)
	offer(t, d, "chat", "a", 1, 1)
	go func() { blocked <- d.Publish(ctx, event("chat", "a", 2)) }()
	for range 2 { // the second arrives although its publisher is blocked
		_, err := quick.Next(background)
		require.NoError(t, err)
	}
	cancel()
	require.ErrorIs(t, within(t, blocked, "the publisher"), context.Canceled)
	for seq := range uint64(n) {
		require.ErrorIs(t, d.Offer(event("chat", "a", seq+3)), dispatch.ErrNotTaken)
	}
	assert.Len(t, got(quick), n)
	assert.Zero(t, quick.Dropped())
}

func defectFlood(t *testing.T) {
	for name, policy := range map[string]dispatch.Option{"drop-newest": dispatch.DropNewest, "drop-oldest": dispatch.DropOldest} {
		t.Run(name, func(t *testing.T) {
			d := newDispatcher(t, dispatch.Options{})
			s := subscribe(t, d, "chat", dispatch.Buffer(10), policy)
			offer(t, d, "chat", "calm", 1, 2)
			offer(t, d, "chat", "flood", 1, 1000)
			offer(t, d, "chat", "calm", 3, 4)
			offer(t, d, "chat", "flood", 1001, 2000)
			calm, missed := []uint64{}, uint64(0)
			for {
				m, ok := s.TryNext()
				if !ok {
					break
				}
				missed += m.Missed
				if m.From == "calm" {
					calm = append(calm, m.ID.Seq)
				}
			}
			assert.Equal(t, []uint64{1, 2, 3, 4}, calm)
			assert.Equal(t, uint64(2000-6), s.Dropped())
			assert.LessOrEqual(t, missed, s.Dropped())
		})
	}
}
