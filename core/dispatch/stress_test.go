package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/message"
)

// load is a number of publishers, and subscriptions that come and go at the same time.
type load struct {
	d          *dispatch.Dispatcher
	types      []string
	publishers int
	each       uint64 // messages of a publisher
	copies     bool   // messages may be published twice, and de-duplication is on

	published map[string]*atomic.Uint64 // by type
	fresh     map[string]*atomic.Uint64 // those of published that are not copies
}

// policies are the policies by name. The key of latest-per-key contains the type.
var policies = map[string]dispatch.Option{
	"drop-newest":    dispatch.DropNewest,
	"drop-oldest":    dispatch.DropOldest,
	"block":          dispatch.Block,
	"latest-per-key": dispatch.LatestPerKey(func(m *message.Message) string { return fmt.Sprint(m.Type, m.From, m.ID.Seq%3) }),
	"close":          dispatch.CloseOnOverflow,
}

// matches is independent of the dispatcher's own matching, and only for the test's types.
func matches(pattern, typ string) bool {
	return pattern == typ || pattern == "room/*" && len(typ) > 5 && typ[:5] == "room/"
}

// audit records what a reader saw of its subscription.
type audit struct {
	t         *testing.T
	name      string
	policy    string
	delivered uint64
	missed    uint64
	last      map[string]uint64 // by type and sender
}

func (a *audit) see(m dispatch.Delivery) {
	a.delivered++
	a.missed += m.Missed
	key := m.Type + " " + string(m.From)
	if a.policy == "latest-per-key" { // it keeps the order only within a key
		key += fmt.Sprint(m.ID.Seq % 3)
	}
	if m.ID.Seq <= a.last[key] {
		a.t.Errorf("%s: %d of %s came after %d", a.name, m.ID.Seq, key, a.last[key])
	}
	a.last[key] = m.ID.Seq
}

// read reads a subscription to its end in the given way. It returns how many messages were
// lost that no Missed has reported, and whether this way of reading can tell.
func (a *audit) read(s *dispatch.Subscription, way int) (rest uint64, known bool) {
	switch way {
	case 0:
		for m := range s.All() {
			a.see(m)
			if rand.IntN(50) == 0 {
				runtime.Gosched()
			}
		}
	case 1:
		for m := range s.Chan() {
			a.see(m)
		}
		return 0, false
	default:
		for s.Err() == nil {
			if m, ok := s.TryNext(); ok {
				a.see(m)
			} else {
				runtime.Gosched()
			}
		}
	}
	for {
		m, err := s.Next(background)
		if err != nil {
			return m.Missed, true
		}
		a.see(m)
	}
}

func (l *load) publish(t *testing.T, from peer.ID, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	for seq := range l.each {
		typ := l.types[rnd.IntN(len(l.types))]
		n := 1
		if l.copies {
			n += rnd.IntN(2)
		}
		for i := range n {
			err := error(nil)
			if rnd.IntN(2) == 0 {
				ctx, cancel := context.WithCancel(background)
				if rnd.IntN(4) == 0 {
					cancel()
				}
				err = l.d.Publish(ctx, event(typ, from, seq+1))
				cancel()
			} else {
				err = l.d.Offer(event(typ, from, seq+1))
			}
			if err != nil && !errors.Is(err, dispatch.ErrNotTaken) {
				t.Errorf("publish: %v", err)
				return
			}
			l.published[typ].Add(1)
			if i == 0 {
				l.fresh[typ].Add(1)
			}
		}
	}
}

// Every message published to a subscription is delivered, or dropped and counted, or a
// copy, and each publisher's order is kept. Meanwhile, everything that may happen
// concurrently does.
func TestDeliveredAndDroppedAreAllThatWasPublished(t *testing.T) {
	for _, copies := range []bool{false, true} {
		t.Run(fmt.Sprintf("copies %t", copies), func(t *testing.T) { stress(t, copies) })
	}
}

func stress(t *testing.T, copies bool) {
	l := &load{
		d:          dispatch.New(dispatch.Options{}),
		types:      []string{"chat", "room/1", "room/2", "room/2/deep", "unheard"},
		publishers: 4, each: 600, copies: copies,
		published: map[string]*atomic.Uint64{}, fresh: map[string]*atomic.Uint64{},
	}
	for _, typ := range l.types {
		l.published[typ], l.fresh[typ] = new(atomic.Uint64), new(atomic.Uint64)
	}
	if copies {
		require.NoError(t, l.d.Deduplicate("room/*", dispatch.Window{Count: 1 << 20}))
		require.NoError(t, l.d.Deduplicate("chat", dispatch.Window{Count: 1 << 20}))
	}
	var readers, publishers, visitors sync.WaitGroup
	for policy, option := range policies {
		for way := range 3 {
			for _, pattern := range []string{"chat", "room/2", "room/*"} {
				buffer := 1 << rand.IntN(9)
				a := &audit{t: t, name: fmt.Sprint(policy, " of ", buffer, " on ", pattern, " read by ", way), policy: policy, last: map[string]uint64{}}
				s := subscribe(t, l.d, pattern, dispatch.Buffer(buffer), option)
				readers.Go(func() { l.check(t, a, s, way) })
			}
		}
	}
	done := make(chan struct{})
	for range 3 {
		visitors.Go(func() { l.visit(t, done) })
	}
	for p := range l.publishers {
		publishers.Go(func() { l.publish(t, peer.ID(fmt.Sprint("p", p)), uint64(p)) })
	}
	publishers.Wait()
	close(done)
	visitors.Wait()
	require.NoError(t, l.d.Close())
	readers.Wait()
	total := uint64(0)
	for _, n := range l.published {
		total += n.Load()
	}
	st := l.d.Stats()
	assert.Equal(t, total, st.Published)
	assert.GreaterOrEqual(t, st.Unclaimed, l.published["unheard"].Load(), "and perhaps some of room/1")
	assert.Zero(t, st.Depth)
}

// check reads a subscription that exists all the time.
func (l *load) check(t *testing.T, a *audit, s *dispatch.Subscription, way int) {
	rest, known := a.read(s, way)
	<-s.Done()
	if !errors.Is(s.Err(), dispatch.ErrSlow) && !errors.Is(l.d.Offer(event("chat", "x", 1)), dispatch.ErrClosed) {
		t.Errorf("%s: it ended with %v before the dispatcher did", a.name, s.Err())
	}
	st := s.Stats()
	assert.Equal(t, st.Delivered, a.delivered, a.name)
	if known {
		assert.Equal(t, st.Dropped.Total(), a.missed+rest, "%s: each lost message is reported once", a.name)
	} else {
		assert.LessOrEqual(t, a.missed, st.Dropped.Total(), a.name)
	}
	if errors.Is(s.Err(), dispatch.ErrSlow) {
		assert.Equal(t, uint64(1), st.Dropped.Full, a.name)
		assert.NoError(t, s.Close())
		return
	}
	var published, fresh uint64
	for typ, n := range l.published {
		if matches(s.Pattern(), typ) {
			published += n.Load()
			fresh += l.fresh[typ].Load()
		}
	}
	assert.Equal(t, published, st.Delivered+st.Duplicates+st.Dropped.Total(), "%s: %+v", a.name, st)
	if l.copies {
		assert.LessOrEqual(t, st.Delivered, fresh, "%s: a copy was delivered", a.name)
	}
}

// visit makes subscriptions, reads a little of each in some way, and ends them.
func (l *load) visit(t *testing.T, done <-chan struct{}) {
	visited := []string{"chat", "room/1", "room/2", "room/2/deep", "room/*", "nothing/*"}
	var names []string
	for name := range policies {
		names = append(names, name)
	}
	for {
		select {
		case <-done:
			return
		default:
		}
		policy := names[rand.IntN(len(names))]
		pattern := visited[rand.IntN(len(visited))]
		opts := []dispatch.Option{dispatch.Buffer(1 + rand.IntN(30)), policies[policy]}
		a := &audit{t: t, name: "visitor of " + pattern, policy: policy, last: map[string]uint64{}}
		if rand.IntN(2) == 0 {
			s, err := l.d.Handle(pattern, func(_ context.Context, m dispatch.Delivery) { a.see(m) }, opts...)
			if !assert.NoError(t, err) {
				return
			}
			for range rand.IntN(50) {
				runtime.Gosched()
			}
			assert.NoError(t, s.Close())
			assert.Equal(t, s.Stats().Delivered, a.delivered, a.name)
			continue
		}
		s, err := l.d.Subscribe(pattern, opts...)
		if !assert.NoError(t, err) {
			return
		}
		for range rand.IntN(50) {
			if m, ok := s.TryNext(); ok {
				a.see(m)
			} else {
				runtime.Gosched()
			}
		}
		assert.NoError(t, s.Close())
		m, err := s.Next(background)
		assert.ErrorIs(t, err, s.Err())
		assert.Equal(t, s.Stats().Delivered, a.delivered, a.name)
		assert.Equal(t, s.Stats().Dropped.Total(), a.missed+m.Missed, a.name)
	}
}

// Close during a publish ends it with ErrClosed and no other error.
func TestCloseDuringPublish(t *testing.T) {
	for range 50 {
		d := dispatch.New(dispatch.Options{})
		for _, p := range policies {
			subscribe(t, d, "chat", dispatch.Buffer(3), p)
		}
		var wg sync.WaitGroup
		_, err := d.Handle("chat", func(ctx context.Context, _ dispatch.Delivery) { <-ctx.Done() }, dispatch.Buffer(1))
		require.NoError(t, err)
		began := make(chan struct{}, 4)
		for p := range 4 {
			wg.Go(func() {
				for seq := uint64(1); ; seq++ {
					err := d.Publish(background, event("chat", peer.ID(fmt.Sprint(p)), seq))
					if seq == 1 {
						began <- struct{}{}
					}
					if err != nil {
						assert.Equal(t, dispatch.ErrClosed, err)
						return
					}
				}
			})
		}
		within(t, began, "a publisher")
		require.NoError(t, d.Close())
		wg.Wait()
	}
}
