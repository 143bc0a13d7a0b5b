package mesh

import (
	"testing"
	"testing/synctest"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func said(from peer.ID, size int) *pubsub.RPC {
	return &pubsub.RPC{RPC: pb.RPC{Publish: []*pb.Message{{From: []byte(from), Data: make([]byte, size)}}}}
}

func TestAPeerMayBroadcastAtItsRateAfterABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slowed, rate := 0, 1000
		p := newPaces(&Pace{Rate: func(peer.ID) int { return rate }, Burst: 5000, Slowed: func(peer.ID) { slowed++ }})
		took := func(from peer.ID) time.Duration {
			began := time.Now()
			p.wait(from, nil)
			return time.Since(began)
		}
		p.charge("a", said("a", 5000))
		assert.Zero(t, took("a"))
		p.charge("a", said("a", 2000))
		p.charge("a", said("b", 1<<20))
		assert.Zero(t, took("b"), "a message that a forwards for b is not charged to b")
		assert.InDelta(t, 2*time.Second, took("a"), float64(10*time.Millisecond))
		assert.Equal(t, 1, slowed)
		p.charge("a", said("a", 1000))
		assert.InDelta(t, time.Second, took("a"), float64(10*time.Millisecond))

		p.charge("a", said("a", 1<<30))
		ended := make(chan struct{})
		close(ended)
		p.wait("a", ended) // a peer that has left no longer waits
		rate = 0
		assert.Zero(t, took("a"), "without a rate, nobody waits")
		rate = 1000
		time.Sleep(2 * paceForgets)
		p.charge("b", said("b", 1))
		assert.Len(t, p.debts, 1, "a peer that owes nothing is forgotten")
	})
}

func TestWhoBroadcastsTooMuchWaitsAndLosesNothingAndOthersDoNotWait(t *testing.T) {
	slowed := make(chan peer.ID, 1000)
	carrier := newNode(t, Options{RelayTopics: 8, Pace: &Pace{
		Rate: func(peer.ID) int { return 30_000 }, Burst: 10_000, Slowed: func(p peer.ID) { slowed <- p },
	}})
	loud, quiet, ear := newNode(t, Options{}), newNode(t, Options{}), newNode(t, Options{})
	for _, n := range []*node{loud, quiet, ear} {
		connect(t, n, carrier)
		subscribe(t, "chat", n)
	}
	waitPeers(t, loud, "chat", 1)
	waitPeers(t, quiet, "chat", 1)
	var texts []string
	for i := range 20 { // GossipSub reads some of them before it looks at the first
		text := string(make([]byte, 5000+i))
		texts = append(texts, text)
		loud.say(t, "chat", text)
	}
	select {
	case p := <-slowed:
		require.Equal(t, loud.self, p)
	case <-time.After(patience):
		t.Fatal("nobody is slowed")
	}
	quiet.say(t, "chat", "hello")
	require.Eventually(t, func() bool { return len(ear.all()) == 21 }, patience, 5*time.Millisecond)
	assert.ElementsMatch(t, append(texts, "hello"), ear.texts())
	for len(slowed) > 0 {
		require.Equal(t, loud.self, <-slowed)
	}
}
