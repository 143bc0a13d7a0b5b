package mesh

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/message"
)

func watch(t testing.TB, n *node, typ string) *Presence {
	t.Helper()
	p, err := n.Presence(typ)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, p.Close()) })
	return p
}

func next(t testing.TB, p *Presence) Change {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := p.Next(ctx)
	require.NoError(t, err)
	return c
}

// waitAsked waits until n knows that somebody watches a type.
func waitAsked(t testing.TB, n *node, typ string) {
	t.Helper()
	require.Eventually(t, func() bool {
		topic := n.lookup(typ)
		if topic == nil {
			return false
		}
		topic.presence.mu.Lock()
		defer topic.presence.mu.Unlock()
		return !topic.presence.asked.IsZero()
	}, patience, time.Millisecond)
}

// waitMeshed waits until two nodes forward broadcasts of a type to each other.
func waitMeshed(t testing.TB, typ string, a, b *node) {
	t.Helper()
	has := func(n, other *node) bool {
		n.meshed.mu.Lock()
		defer n.meshed.mu.Unlock()
		_, in := n.meshed.topics[other.self][n.prefix+typ]
		return in
	}
	require.Eventually(t, func() bool { return has(a, b) && has(b, a) }, patience, time.Millisecond)
}

func TestPresenceTellsWhoComesAndLeavesBehindARelay(t *testing.T) {
	r, a, b, c := newNode(t, carrying()), newNode(t, Options{}), newNode(t, Options{}), newNode(t, Options{})
	for _, n := range []*node{a, b, c} {
		connect(t, n, r)
	}
	subscribe(t, "chat", b)
	p := watch(t, a, "chat")
	assert.Equal(t, Change{b.self, true}, next(t, p), "it was there before")
	leave, err := c.Subscribe("chat")
	require.NoError(t, err)
	assert.Equal(t, Change{c.self, true}, next(t, p))
	want := []peer.ID{b.self, c.self}
	slices.Sort(want)
	assert.Equal(t, want, p.Now(), "neither the relay, which only carries the type, nor the node itself is listed")
	leave()
	assert.Equal(t, Change{c.self, false}, next(t, p))
	assert.Equal(t, []peer.ID{b.self}, p.Now())
}

func TestPresenceNoticesWhoVanishes(t *testing.T) {
	t.Parallel()
	for _, through := range []string{"its own connection", "a relay"} {
		t.Run(through, func(t *testing.T) {
			a, r := newNode(t, Options{}), newNode(t, carrying())
			h := hosttest.Unmanaged(t, hosttest.Options{})
			b := onHost(t, h, Options{})
			connect(t, a, r)
			if through == "a relay" {
				connect(t, b, r)
			} else {
				connect(t, b, a)
			}
			subscribe(t, "chat", b)
			p := watch(t, a, "chat")
			require.Equal(t, Change{b.self, true}, next(t, p))
			if through == "a relay" {
				waitAsked(t, r, "chat") // r knows that somebody watches
			}
			require.NoError(t, h.Close())
			require.Equal(t, Change{b.self, false}, next(t, p))
		})
	}
}

func TestPeerThatLostOneOfItsWaysIsStillThere(t *testing.T) {
	t.Parallel()
	a, r, s, b := newNode(t, Options{}), newNode(t, carrying()), newNode(t, carrying()), newNode(t, Options{})
	for _, n := range []*node{r, s} {
		connect(t, a, n)
		connect(t, b, n)
	}
	subscribe(t, "chat", b)
	p := watch(t, a, "chat")
	require.Equal(t, Change{b.self, true}, next(t, p))
	waitAsked(t, r, "chat")
	waitMeshed(t, "chat", a, s)
	waitMeshed(t, "chat", s, b)
	gather(s, "chat", 1<<20/mostTold) // few words of a crowd are forwarded, but the answer is
	for _, c := range b.host.Network().ConnsToPeer(r.self) {
		require.NoError(t, c.Close())
	}
	// a asks for b, and b answers.
	known := &a.lookup("chat").presence
	state := func() (asked bool, suspected bool) {
		known.mu.Lock()
		defer known.mu.Unlock()
		s := known.sightings[b.self]
		return !known.asked.IsZero(), s != nil && !s.suspect.IsZero()
	}
	require.Eventually(t, func() bool {
		asked, suspected := state()
		return asked && !suspected
	}, patience, time.Millisecond)
	assert.Equal(t, []peer.ID{b.self}, p.Now())
}

func TestPresenceOfASlowReaderDoesNotGrow(t *testing.T) {
	n := newNode(t, Options{})
	p := watch(t, n, "chat")
	known := &n.lookup("chat").presence
	now := time.Now()
	known.mu.Lock()
	for i := range 3 * mostPresent {
		known.sight(peer.ID(fmt.Sprint(i)), message.ID{Epoch: 1, Seq: 1}, true, now)
	}
	assert.Len(t, known.sightings, mostPresent)
	later := now
	for range 3 { // all leave, are forgotten, and others come
		later = later.Add(absentAfter)
		known.dropAbsent(later)
		later = later.Add(absentAfter)
		known.dropAbsent(later)
		assert.Empty(t, known.sightings)
		assert.Empty(t, p.among)
		assert.LessOrEqual(t, len(p.waits), 16)
		for i := range mostPresent {
			known.sight(peer.ID(fmt.Sprint(i)), message.ID{Epoch: 1, Seq: 1}, true, later)
		}
	}
	known.mu.Unlock()
	assert.Equal(t, uint64(2*mostPresent), n.Stats().Uncounted)
	assert.Len(t, p.Now(), mostPresent)
	for range mostPresent {
		assert.True(t, next(t, p).Joined)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := p.Next(ctx)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestSlowReaderMissesWhoCameAndLeft(t *testing.T) {
	n := newNode(t, Options{})
	p := watch(t, n, "chat")
	known := &n.lookup("chat").presence
	now := time.Now()
	known.mu.Lock()
	known.sight("x", message.ID{Epoch: 1, Seq: 1}, true, now)
	known.sight("x", message.ID{Epoch: 1, Seq: 3}, false, now)
	known.sight("x", message.ID{Epoch: 1, Seq: 2}, true, now) // an older word that comes late
	known.sight("y", message.ID{Epoch: 1, Seq: 1}, true, now)
	known.mu.Unlock()
	assert.Equal(t, Change{"y", true}, next(t, p))
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
	_, err := p.Next(context.Background())
	assert.ErrorIs(t, err, ErrClosed)
	assert.Empty(t, p.Now())
}

func TestEveryReaderOfAPresenceIsWoken(t *testing.T) {
	n := newNode(t, Options{})
	p := watch(t, n, "chat")
	got := make(chan Change)
	for range 3 {
		go func() {
			c, _ := p.Next(context.Background())
			got <- c
		}()
	}
	known := &n.lookup("chat").presence
	known.mu.Lock()
	for _, id := range []peer.ID{"x", "y", "z"} {
		known.sight(id, message.ID{Epoch: 1, Seq: 1}, true, time.Now())
	}
	known.mu.Unlock()
	for range 3 {
		assert.True(t, (<-got).Joined)
	}
}

// When relays lose one another, in a partition or because some of them end, they do not ask
// the tabs of all types about each other.
func TestNobodyIsAskedForARelayThatHasGone(t *testing.T) {
	r, gone, a, b := newNode(t, carrying()), newNode(t, carrying()), newNode(t, Options{}), newNode(t, Options{})
	connect(t, r, gone)
	connect(t, a, r)
	connect(t, b, r)
	connect(t, b, gone)
	subscribe(t, "chat", a, b)
	p := watch(t, a, "chat")
	assert.Equal(t, Change{b.self, true}, next(t, p))
	waitAsked(t, r, "chat")
	waitAsked(t, b, "chat")
	waitPeers(t, r, "chat", 3)
	waitPeers(t, b, "chat", 2)
	require.Eventually(t, func() bool { return r.isCarrier(gone.self) && b.isCarrier(gone.self) }, patience, time.Millisecond)
	require.NoError(t, gone.host.Close())
	waitPeers(t, r, "chat", 2)
	waitPeers(t, b, "chat", 1)
	b.say(t, "chat", "of b")
	r.say(t, "chat", "of r")
	a.waitForAll(t, "of b", "of r") // a question of r or b would have come before
	topic := a.lookup("chat")
	topic.presence.mu.Lock()
	defer topic.presence.mu.Unlock()
	assert.Zero(t, topic.presence.asked, "nobody but a itself has asked")
}
