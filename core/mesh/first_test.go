package mesh

import (
	"context"
	"fmt"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/message"
)

// carrying returns the options of a relay.
func carrying() Options { return Options{RelayTopics: 16} }

// keep sends a message as soon as there is a peer to send it to.
func (n *node) keep(t testing.TB, typ, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, n.Broadcast(ctx, typ, []byte(text), WaitForPeer()))
}

// waitForAll waits for the given texts in any order, and requires that there are no others.
func (in *inbox) waitForAll(t testing.TB, texts ...string) {
	t.Helper()
	require.Eventually(t, func() bool { return len(in.all()) >= len(texts) }, patience, 5*time.Millisecond, "%d wanted", len(texts))
	require.ElementsMatch(t, texts, in.texts())
}

// growOld waits until everything said so far is too old for a subscription that
// begins afterwards.
func growOld(t testing.TB) {
	t.Helper()
	said := time.Now()
	require.Eventually(t, func() bool { return time.Since(said) > clockSlack+clockSlack/4 }, patience, 10*time.Millisecond)
}

func TestWhatIsSaidRightAfterASubscriptionArrives(t *testing.T) {
	a, b := newNode(t, Options{}), newNode(t, Options{})
	connect(t, a, b)
	subscribe(t, "chat", b)
	a.keep(t, "chat", "first")
	b.waitFor(t, "first")
}

func TestWhatIsSaidRightAfterASubscriptionArrivesThroughAChain(t *testing.T) {
	ns := nodes(t, 3, Options{})
	connect(t, ns[0], ns[1])
	connect(t, ns[1], ns[2])
	subscribe(t, "chat", ns[1])
	waitPeers(t, ns[0], "chat", 1)
	subscribe(t, "chat", ns[2])
	ns[0].say(t, "chat", "1")
	ns[0].say(t, "chat", "2")
	ns[2].waitForAll(t, "1", "2")
	ns[1].waitForAll(t, "1", "2")
}

func TestWhatIsSaidRightAfterASubscriptionArrivesThroughARelay(t *testing.T) {
	r, a, b := newNode(t, carrying()), newNode(t, Options{}), newNode(t, Options{})
	connect(t, a, r)
	connect(t, b, r)
	subscribe(t, "chat", a)
	waitPeers(t, a, "chat", 1)
	subscribe(t, "chat", b)
	a.say(t, "chat", "1")
	b.waitFor(t, "1")
	b.say(t, "chat", "2")
	a.waitFor(t, "1", "2")
}

func TestWhatIsSaidRightAfterASubscriptionArrivesThroughTwoRelays(t *testing.T) {
	t.Parallel()
	r, s := newNode(t, carrying()), newNode(t, carrying())
	a, b := newNode(t, Options{}), newNode(t, Options{})
	connect(t, r, s)
	connect(t, a, r)
	connect(t, b, s)
	subscribe(t, "chat", a, b)
	a.keep(t, "chat", "1")
	b.waitFor(t, "1")
	b.keep(t, "chat", "2")
	a.waitFor(t, "1", "2")
}

// lose sends a message that GossipSub hands to no peer, as it does when a queue
// is full.
func (n *node) lose(t testing.TB, typ, text string) {
	t.Helper()
	tp := n.lookup(typ)
	tp.numbers.mu.Lock()
	defer tp.numbers.mu.Unlock()
	tp.numbers.last.Seq++
	msg := &message.Message{From: n.self, Via: n.self, ID: tp.numbers.last, Type: typ, Data: []byte(text)}
	var own signed
	require.NoError(t, tp.members.handle.Publish(context.Background(), tp.envelope(msg),
		pubsub.WithValidatorData(&own), pubsub.WithLocalPublication(true)))
	tp.history.add(msg, own.msg)
}

func TestMessageLostInAQueueIsAskedFor(t *testing.T) {
	a, b := newNode(t, Options{}), newNode(t, Options{})
	connect(t, a, b)
	subscribe(t, "chat", b)
	waitPeers(t, a, "chat", 1)
	a.say(t, "chat", "1")
	b.waitFor(t, "1")
	a.lose(t, "chat", "2")
	a.say(t, "chat", "3")
	b.waitForAll(t, "1", "2", "3")
	for _, m := range b.all() {
		assert.Equal(t, "chat", m.Type)
		if string(m.Data) == "2" {
			assert.True(t, m.Replayed)
			assert.Equal(t, a.self, m.Via)
		}
	}
	require.Eventually(t, func() bool { return b.Stats().Missing == 0 }, patience, 5*time.Millisecond)
	assert.NotZero(t, b.Stats().Replayed)
}

func TestWhatNobodyHasIsCountedAsMissing(t *testing.T) {
	t.Parallel()
	ns := nodes(t, 3, Options{})
	connect(t, ns[0], ns[1])
	connect(t, ns[1], ns[2])
	subscribe(t, "chat", ns[1], ns[2])
	waitPeers(t, ns[0], "chat", 1)
	waitPeers(t, ns[1], "chat", 1)
	_, err := ns[1].Validate("chat", func(_ context.Context, m *message.Message) Verdict {
		if string(m.Data) == "2" {
			return Ignore
		}
		return Accept
	})
	require.NoError(t, err)
	for i := 1; i <= 3; i++ {
		ns[0].say(t, "chat", fmt.Sprint(i))
	}
	ns[2].waitForAll(t, "1", "3")
	assert.Equal(t, uint64(1), ns[2].Stats().Missing)
	assert.Equal(t, uint64(1), ns[1].Stats().Refused)
}

func TestWhatWasSaidBeforeTheSubscriptionIsNotHeard(t *testing.T) {
	t.Parallel()
	a, b, c := newNode(t, Options{}), newNode(t, Options{}), newNode(t, Options{})
	connect(t, a, b)
	subscribe(t, "chat", b)
	waitPeers(t, a, "chat", 1)
	a.say(t, "chat", "before")
	b.waitFor(t, "before")
	growOld(t)
	connect(t, a, c)
	subscribe(t, "chat", c)
	waitPeers(t, a, "chat", 2)
	require.Eventually(t, func() bool { return c.Stats().History.Synced >= 2 }, patience, 5*time.Millisecond)
	a.say(t, "chat", "after")
	c.waitFor(t, "after")
}

// This is the behaviour of GossipSub that this package works round: a message that
// is published while no subscriber is known is lost, and Publish returns no error
// (issues 331, 152 and 217 of go-libp2p-pubsub).
func TestGossipSubAloneLosesTheFirstMessageSilently(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var topics []*pubsub.Topic
	var subs []*pubsub.Subscription
	a, b := hosttest.New(t, hosttest.Options{}), hosttest.New(t, hosttest.Options{})
	for _, h := range []*trackedHost{newTrackedHost(a, func(peer.ID) {}), newTrackedHost(b, func(peer.ID) {})} {
		ps, err := pubsub.NewGossipSub(ctx, h)
		require.NoError(t, err)
		t.Cleanup(h.close)
		topic, err := ps.Join("chat")
		require.NoError(t, err)
		topics = append(topics, topic)
	}
	require.NoError(t, a.Connect(ctx, hosttest.Info(b)))
	require.NoError(t, topics[0].Publish(ctx, []byte("lost")), "Publish returns no error")
	sub, err := topics[1].Subscribe()
	require.NoError(t, err)
	subs = append(subs, sub)
	require.Eventually(t, func() bool { return len(topics[0].ListPeers()) == 1 }, patience, time.Millisecond)
	require.NoError(t, topics[0].Publish(ctx, []byte("heard")))
	msg, err := subs[0].Next(ctx)
	require.NoError(t, err)
	require.Equal(t, "heard", string(msg.Data))
}
