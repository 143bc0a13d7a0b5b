package mesh

import (
	"context"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

// If a broadcast comes by replay first, the node still forwards it once when GossipSub
// brings it, because other peers may get it from nobody else. It does not deliver the
// broadcast again.
func TestWhatCameByReplayIsPassedOnOnceAndNotHeardAgain(t *testing.T) {
	n := newNode(t, Options{})
	subscribe(t, "chat", n)
	tp := n.lookup("chat")
	id := message.ID{Epoch: 1, Seq: 1}
	require.True(t, tp.history.past.Add(replay.Entry{Publisher: "p", ID: id, Replayed: true}).New)
	msg := &message.Message{From: "p", Via: "q", ID: id, Type: "chat"}
	tp.acceptReplayed(msg)
	require.Len(t, n.all(), 1)
	for _, passedOn := range []bool{true, false, false} {
		assert.Equal(t, passedOn, tp.accept(msg, &pb.Message{}))
		assert.Len(t, n.all(), 1)
	}
	other := &message.Message{From: "p", Via: "q", ID: message.ID{Epoch: 1, Seq: 2}, Type: "chat"}
	for _, passedOn := range []bool{true, false} {
		assert.Equal(t, passedOn, tp.accept(other, &pb.Message{}))
		assert.Len(t, n.all(), 2)
	}
}

func TestBroadcastsOfForeignNodesWithoutANumberAreHeard(t *testing.T) {
	n := newNode(t, Options{})
	subscribe(t, "chat", n)
	for _, id := range []message.ID{{}, {Seq: 5}, {Epoch: 5}} {
		assert.True(t, n.lookup("chat").accept(&message.Message{From: "p", Via: "q", ID: id, Type: "chat"}, &pb.Message{}))
	}
	assert.Len(t, n.all(), 3)
	assert.Zero(t, n.Stats().Missing)
}

// A node that leaves a type and comes back receives what is said from then on. What was
// said meanwhile does not count as missing, and nothing is delivered twice.
func TestWhoComesBackMissesNothingAndHearsNothingTwice(t *testing.T) {
	t.Parallel()
	a, b := newNode(t, Options{}), newNode(t, Options{})
	connect(t, a, b)
	require.NoError(t, a.KeepHistory("chat", replay.Limits{})) // a could replay it
	leave, err := b.Subscribe("chat")
	require.NoError(t, err)
	waitPeers(t, a, "chat", 1)
	a.say(t, "chat", "1")
	b.waitFor(t, "1")
	leave()
	waitOff(t, a, "chat", 0)
	for _, text := range []string{"2", "3"} {
		_ = a.Broadcast(context.Background(), "chat", []byte(text)) // there is no subscriber
		a.lose(t, "chat", text)
	}
	growOld(t)
	subscribe(t, "chat", b)
	waitPeers(t, a, "chat", 1)
	require.Eventually(t, func() bool { return b.Stats().History.Synced >= 2 }, patience, 5*time.Millisecond)
	a.say(t, "chat", "4")
	b.waitFor(t, "1", "4")
	assert.Zero(t, b.Stats().Missing)
}

// A history that begins to be kept includes the recent broadcasts that the node remembers.
func TestWhatWasHeardOfLateIsKeptToo(t *testing.T) {
	store := dssync.MutexWrap(datastore.NewMapDatastore())
	h := hosttest.New(t, hosttest.Options{})
	n := onHost(t, h, Options{Store: store})
	subscribe(t, "chat", n)
	say := heardBy(t, n, 3)
	require.NoError(t, n.KeepHistory("chat", replay.Limits{}))
	assert.Equal(t, 3, n.Stats().Histories.Entries)
	say(4, 5)
	require.NoError(t, n.Close())
	again := onHost(t, h, Options{Store: store})
	require.NoError(t, again.KeepHistory("chat", replay.Limits{}))
	assert.Equal(t, 5, again.Stats().Histories.Entries)
}

// A node that carries a type for its peers and then keeps it for itself has one history
// of the type, under one name in its store.
func TestAHistoryThatIsCarriedBecomesOnesOwn(t *testing.T) {
	store := dssync.MutexWrap(datastore.NewMapDatastore())
	r, a := newNode(t, Options{RelayTopics: 4, KeepHistories: &replay.Limits{}, Store: store}), newNode(t, Options{})
	connect(t, a, r)
	subscribe(t, "chat", a)
	a.count(t, "chat", 1, 3)
	require.Eventually(t, func() bool { return r.memoryOf("chat").Stats().Added == 3 }, patience, time.Millisecond)
	require.NoError(t, r.KeepHistory("chat", replay.Limits{Count: 100}))
	assert.Equal(t, 3, r.memoryOf("chat").Stats().Entries)
	assert.Equal(t, 100, r.memoryOf("chat").Limits().Count)
	require.NoError(t, r.Close())
	names, err := replay.Names(context.Background(), store)
	require.NoError(t, err)
	assert.Equal(t, []string{"tombolo/chat"}, names)
}
