package mesh

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/mesh/replay"
)

func TestRelayLeavesATopicThatNobodyIsOn(t *testing.T) {
	r, s, a := newNode(t, carrying()), newNode(t, carrying()), newNode(t, Options{})
	connect(t, r, s)
	connect(t, a, r)
	leave, err := a.Subscribe("chat")
	require.NoError(t, err)
	waitPeers(t, a, "chat", 1)
	waitPeers(t, r, "chat", 2) // a, and the other relay
	assert.Equal(t, 1, r.Stats().Carried)
	leave()
	waitOff(t, r, "chat", 1)

	// Each relay keeps the topic because the other is on it, until one of them
	// looks for subscribers behind the other.
	require.Eventually(t, func() bool { return r.isCarrier(s.self) && s.isCarrier(r.self) }, patience, time.Millisecond)
	<-r.carrier.pause(func() {
		now := time.Now()
		topic := r.carrier.topics["chat"]
		r.carrier.check(topic, now)
		assert.True(t, topic.resting.IsZero(), "not at once")
		r.carrier.check(topic, now.Add(carryCheck))
		assert.NotNil(t, topic.presence)
		r.carrier.check(topic, now.Add(carryCheck+carryAnswer))
		assert.False(t, topic.resting.IsZero())
	})
	assert.Zero(t, r.Stats().Carried)
	waitOff(t, s, "chat", 0)
	<-s.carrier.pause(func() {
		now := time.Now()
		topic := s.carrier.topics["chat"]
		s.carrier.check(topic, now)
		s.carrier.check(topic, now.Add(carryGrace))
		assert.False(t, topic.resting.IsZero())
	})
}

func waitOff(t testing.TB, n *node, typ string, count int) {
	t.Helper()
	require.Eventually(t, func() bool {
		topic := n.lookup(typ)
		return len(n.Peers(typ)) <= count && (topic == nil || len(topic.members.peers()) <= count)
	}, patience, 5*time.Millisecond)
}

func TestRelayThatIsFullSaysSoAndTakesWhatWaitedOnceItHasRoom(t *testing.T) {
	t.Parallel()
	r, a, b, c := newNode(t, Options{RelayTopics: 2}), newNode(t, Options{}), newNode(t, Options{}), newNode(t, Options{})
	connect(t, a, r)
	connect(t, b, r)
	connect(t, c, r)
	var leave []func()
	for i := range 3 {
		l, err := a.Subscribe(fmt.Sprint(i))
		require.NoError(t, err)
		leave = append(leave, l)
	}
	require.Eventually(t, func() bool { return r.Stats().NotCarried > 0 }, patience, 5*time.Millisecond)
	assert.Equal(t, 1, r.Stats().Carried, "one peer gets half of the room")
	subscribe(t, "x", b)
	waitPeers(t, b, "x", 1)
	assert.Equal(t, 2, r.Stats().Carried)
	before := r.Stats().NotCarried
	subscribe(t, "waits", c)
	require.Eventually(t, func() bool { return r.Stats().NotCarried > before }, patience, 5*time.Millisecond)
	for _, l := range leave {
		l()
	}
	subscribe(t, "y", b)
	waitOff(t, r, "0", 0)
	waitOff(t, r, "1", 0)
	waitOff(t, r, "2", 0)
	<-r.carrier.pause(func() {
		now := time.Now()
		for _, topic := range r.carrier.topics {
			r.carrier.check(topic, now)
			r.carrier.check(topic, now.Add(carryGrace))
		}
	})
	waitPeers(t, c, "waits", 1)
	assert.Equal(t, uint64(0), r.Stats().TooManyTopics)
}

func TestPeersThatTakeAllTypesGiveSomeUpForOthers(t *testing.T) {
	r, a, b, c := newNode(t, Options{RelayTopics: 8}), newNode(t, Options{}), newNode(t, Options{}), newNode(t, Options{})
	for _, n := range []*node{a, b, c} {
		connect(t, n, r)
	}
	for i := range 8 {
		subscribe(t, fmt.Sprint("a", i), a)
		subscribe(t, fmt.Sprint("b", i), b)
	}
	require.Eventually(t, func() bool { return r.Stats().Carried == 8 }, patience, 5*time.Millisecond, "two take all")
	for i := range 2 {
		typ := fmt.Sprint("c", i)
		subscribe(t, typ, c)
		waitPeers(t, c, typ, 1)
	}
	<-r.carrier.pause(func() {
		assert.Len(t, r.carrier.topics, 8)
		assert.Equal(t, 2, r.carrier.shares[c.self])
		assert.Equal(t, 3, r.carrier.shares[a.self])
		assert.Equal(t, 3, r.carrier.shares[b.self])
	})
}

func TestRelayRemembersForThoseWhoComeBack(t *testing.T) {
	limits := replay.Limits{Count: 100}
	r := newNode(t, Options{RelayTopics: 4, KeepHistories: &limits})
	a := newNode(t, Options{})
	connect(t, a, r)
	leave, err := a.Subscribe("chat")
	require.NoError(t, err)
	waitPeers(t, a, "chat", 1)
	a.say(t, "chat", "1")
	require.Eventually(t, func() bool { return r.Stats().Histories.Entries == 1 }, patience, 5*time.Millisecond)
	leave()
	waitOff(t, r, "chat", 0)
	<-r.carrier.pause(func() {
		now := time.Now()
		topic := r.carrier.topics["chat"]
		r.carrier.check(topic, now)
		r.carrier.check(topic, now.Add(carryGrace))
		assert.False(t, topic.resting.IsZero())
	})
	b := newNode(t, Options{})
	connect(t, b, r)
	subscribe(t, "chat", b)
	require.NoError(t, b.KeepHistory("chat", limits))
	got, err := b.Recover(context.Background(), "chat")
	require.NoError(t, err)
	assert.True(t, got.Complete)
	b.waitFor(t, "1")
	require.Eventually(t, func() bool { return r.Stats().Carried == 1 }, patience, 5*time.Millisecond, "it is carried again")
}

func TestRecoverWaitsForARelayThatDoesNotCarryTheTypeYet(t *testing.T) {
	limits := replay.Limits{Count: 100}
	r := newNode(t, Options{RelayTopics: 4, KeepHistories: &limits})
	b := newNode(t, Options{})
	connect(t, b, r)
	begun, begin := make(chan struct{}), make(chan struct{})
	paused := r.carrier.pause(func() { close(begun); <-begin })
	<-begun
	subscribe(t, "chat", b)
	require.NoError(t, b.KeepHistory("chat", limits))
	recovered := make(chan error, 1)
	go func() {
		got, err := b.Recover(context.Background(), "chat")
		if err == nil && !got.Complete {
			err = errors.New("something is missing")
		}
		recovered <- err
	}()
	require.Eventually(t, func() bool { return r.Stats().History.Asked > 0 }, patience, 5*time.Millisecond)
	close(begin)
	<-paused
	select {
	case err := <-recovered:
		require.NoError(t, err)
	case <-time.After(patience):
		t.Fatal("Recover does not return")
	}
}

// pause makes the carrier's goroutine call f. It returns a channel that is closed
// once f has returned.
func (c *carrier) pause(f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		called := make(chan struct{})
		c.pauses <- func() {
			defer close(called)
			f()
		}
		<-called
	}()
	return done
}

func TestRelayRemembersOverARestartAndErasesWhatIsOver(t *testing.T) {
	store := dssync.MutexWrap(datastore.NewMapDatastore())
	opts := Options{RelayTopics: 1, KeepHistories: &replay.Limits{}, Store: store}
	h := hosttest.Unmanaged(t, hosttest.Options{})
	r, a := onHost(t, h, opts), newNode(t, Options{})
	connect(t, a, r)
	subscribe(t, "chat", a)
	a.keep(t, "chat", "1")
	require.Eventually(t, func() bool { return r.Stats().Histories.Entries == 1 }, patience, time.Millisecond)
	require.NoError(t, r.Close())
	require.NoError(t, h.Close())
	require.NoError(t, a.Close())

	r = newNode(t, opts)
	require.Eventually(t, func() bool { return r.Stats().Histories.Entries == 1 }, patience, time.Millisecond)
	n := newNode(t, Options{})
	connect(t, n, r)
	subscribe(t, "chat", n)
	require.NoError(t, n.KeepHistory("chat", replay.Limits{}))
	assert.Equal(t, 1, recoverAll(t, n, "chat").Messages)

	// There is room for one topic: a new one replaces one that rests.
	require.NoError(t, n.Close())
	waitOff(t, r, "chat", 0)
	<-r.carrier.pause(func() {
		now := time.Now()
		topic := r.carrier.topics["chat"]
		if topic.resting.IsZero() {
			r.carrier.check(topic, now)
			r.carrier.check(topic, now.Add(carryGrace))
		}
		assert.False(t, topic.resting.IsZero())
	})
	b := newNode(t, Options{})
	connect(t, b, r)
	subscribe(t, "x", b)
	b.keep(t, "x", "2")
	require.Eventually(t, func() bool {
		topic := r.lookup("x")
		return topic != nil && topic.remembers() == 1
	}, patience, time.Millisecond)
	require.NoError(t, r.Close())
	names, err := replay.Names(context.Background(), store)
	require.NoError(t, err)
	assert.Equal(t, []string{"carried tombolo/x"}, names)
}
