package mesh

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/message"
)

// member returns the ID of a peer that does not exist.
func member(i int) peer.ID {
	return peer.ID(fmt.Sprintf("\x12\x20%032d", i))
}

// gather makes a node believe that size peers are on a type.
func gather(n *node, typ string, size int) (tp *topic, crowd []peer.ID) {
	tp = n.lookup(typ)
	for i := range size {
		crowd = append(crowd, member(i))
		tp.members.came(crowd[i])
	}
	return tp, crowd
}

// tells delivers a word of a peer, and reports whether the node forwards it.
func tells(tp *topic, from peer.ID, kind message.Kind, seq uint64, about []byte) bool {
	return tp.accept(&message.Message{From: from, Kind: kind, ID: message.ID{Epoch: 1, Seq: seq}, Data: about, Type: tp.typ}, &pb.Message{})
}

func TestWordsOfPresenceInARoundAreBounded(t *testing.T) {
	for _, size := range []int{mostTold, 500, 3000} {
		r := newNode(t, carrying())
		p := watch(t, r, "chat")
		tp, crowd := gather(r, "chat", size)
		told := make(map[peer.ID]struct{})
		for round := range uint64(50) {
			passed := 0
			for _, id := range crowd {
				if tells(tp, id, message.Here, round+1, nil) {
					told[id] = struct{}{}
					passed++
				}
			}
			if size <= mostTold {
				require.Equal(t, size, passed, "every word is forwarded")
				break
			}
			require.InDelta(t, mostTold, passed, mostTold/3, "of %d", size)
		}
		assert.Greater(t, len(told), size*4/5, "the words of other peers are forwarded in each round")
		assert.Len(t, p.Now(), size, "a watcher that receives all words knows all peers")
		for _, id := range crowd {
			require.True(t, tells(tp, id, message.Gone, 100, nil), "the word of a peer that leaves is forwarded at once")
		}
		assert.Empty(t, p.Now())
	}
}

func TestCrowdIsAskedNowAndThen(t *testing.T) {
	r := newNode(t, carrying())
	p := watch(t, r, "chat")
	tp, crowd := gather(r, "chat", mostTold)
	known := &tp.presence
	assert.True(t, tells(tp, crowd[0], message.Who, 1, nil))
	assert.True(t, tells(tp, crowd[1], message.Who, 1, nil), "while there are few, every question is forwarded")
	assert.Empty(t, known.answerFrom(crowd[1], time.Now()))
	for _, id := range crowd {
		require.True(t, tells(tp, id, message.Here, 1, nil))
	}

	tp.members.came("one more")
	assert.False(t, tells(tp, crowd[2], message.Who, 1, nil))
	assert.True(t, tells(tp, crowd[2], message.Who, 2, []byte(crowd[3])), "a question about one peer is forwarded")
	assert.True(t, tells(tp, crowd[3], message.Here, 2, []byte(crowd[3])), "and so is the answer")
	tells(tp, crowd[4], message.Gone, 2, nil)
	now := time.Now()
	assert.Len(t, known.answerFrom(crowd[2], now), mostTold-3, "without the words of the asker, of the peer that was asked about, and of the peer that left")
	assert.Empty(t, known.answerFrom(crowd[2], now), "it is answered once")
	assert.Empty(t, known.answerFrom(crowd[5], now.Add(crowdPause)), "its question is forwarded instead")
	assert.Len(t, p.Now(), mostTold-1)
	known.mu.Lock()
	known.crowd.passed = now.Add(-crowdPause)
	known.mu.Unlock()
	assert.True(t, tells(tp, crowd[2], message.Who, 3, nil))
	assert.False(t, tells(tp, crowd[5], message.Who, 3, nil))
	assert.NotEmpty(t, known.answerFrom(crowd[2], time.Now()), "it is answered again in each round")
}

func TestSilentMemberOfACrowdIsDroppedInTheEnd(t *testing.T) {
	n := newNode(t, Options{})
	watch(t, n, "chat")
	tp := n.lookup("chat")
	known := &tp.presence
	passed := 0
	for i := range 1000 {
		from := member(i)
		if passesWord(lot(from, message.ID{Epoch: 1, Seq: 1}), 1000) {
			tells(tp, from, message.Here, 1, nil)
			passed++
		}
	}
	now := time.Now()
	known.mu.Lock()
	defer known.mu.Unlock()
	here := func() (n int) {
		for _, s := range known.sightings {
			if s.here {
				n++
			}
		}
		return n
	}
	known.crowd.begin(now)
	assert.InDelta(t, 1000, known.crowd.size, 300, "estimated from the %d that are heard of", passed)
	assert.Equal(t, crowdWithin, known.crowd.answerWithin())
	known.dropAbsent(now.Add(absentAfter + time.Second))
	assert.Equal(t, passed, here(), "most had no turn yet")
	known.dropAbsent(now.Add(known.crowd.absentAfter()))
	assert.Zero(t, here())

	for range 10 { // no more words come
		known.crowd.begin(now)
	}
	assert.Equal(t, absentAfter, known.crowd.absentAfter())
	known.crowd.words = mostTold
	known.crowd.begin(now)
	assert.EqualValues(t, mostCrowd, known.crowd.size, "whatever the lots of forged words are")
}

func TestCarrierPassesNoWordOnThatNobodyAskedFor(t *testing.T) {
	r, a := newNode(t, carrying()), newNode(t, Options{})
	connect(t, a, r)
	subscribe(t, "chat", a)
	waitPeers(t, a, "chat", 1)
	tp := r.lookup("chat")
	assert.True(t, tells(tp, "x", message.Here, 1, nil), "somebody may have asked before the relay came")
	tp.presence.begin(time.Now().Add(-absentAfter))
	assert.False(t, tells(tp, "x", message.Here, 2, nil))
	watch(t, a, "chat")
	waitAsked(t, r, "chat")
	assert.True(t, tells(tp, "x", message.Here, 3, nil))
}

// signedHere returns a word of a new peer, as GossipSub sends it.
func signedHere(t *testing.T, topic string) (peer.ID, *message.Message, *pb.Message) {
	key, _, err := crypto.GenerateEd25519Key(nil)
	require.NoError(t, err)
	from, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	msg := &message.Message{From: from, Kind: message.Here, ID: message.ID{Epoch: 1, Seq: 1}}
	raw := &pb.Message{From: []byte(from), Topic: &topic, Data: msg.Append(nil), Seqno: binary.BigEndian.AppendUint64(nil, 1)}
	unsigned, err := raw.Marshal()
	require.NoError(t, err)
	raw.Signature, err = key.Sign(append([]byte(pubsub.SignPrefix), unsigned...))
	require.NoError(t, err)
	return from, msg, raw
}

func TestWhoComesToACrowdIsToldOfSomeAtOnce(t *testing.T) {
	r, a := newNode(t, carrying()), newNode(t, Options{})
	subscribe(t, "chat", a)
	connect(t, a, r)
	waitPeers(t, r, "chat", 1)
	tp, crowd := gather(r, "chat", 3*mostTold)
	tells(tp, crowd[0], message.Who, 1, nil)
	var told []peer.ID
	for range 2 * mostTold {
		if from, msg, raw := signedHere(t, tp.topicName()); tp.accept(msg, raw) {
			told = append(told, from)
		}
	}
	require.NotEmpty(t, told)
	p := watch(t, a, "chat")
	require.Eventually(t, func() bool { return len(p.Now()) == len(told) }, patience, time.Millisecond)
	assert.ElementsMatch(t, told, p.Now())
	require.Eventually(t, func() bool { return r.Stats().Withheld > 0 }, patience, time.Millisecond, "the question is not forwarded")
}
