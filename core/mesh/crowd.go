package mesh

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// If each of N members of a type heard of every other one, an arrival would cost their
// relay N messages, and a question N×N. So a node with more than mostTold peers on a
// type, N, forwards each Here with the probability mostTold/N: about mostTold of the
// answers to a question, and on average mostTold messages for an arrival. It forwards one
// question in crowdPause. If a peer asks in between, the node itself answers, with words
// that it forwarded before.
//
// A word is a message of presence. Whether it is forwarded depends on a hash of it, its
// lot, so that all nodes decide alike. The next word of the same peer has another lot, so
// every peer is heard of in the end.
const (
	// mostTold is the maximum number of peers on a type at which each hears of all others
	// at once.
	mostTold = 128
	// crowdPause is the minimum time between two questions to a crowd. It is less than
	// askEvery, so that the regular question is forwarded.
	crowdPause = askEvery * 5 / 6
	// crowdWithin is the time over which the answers of a crowd are spread, because all
	// go through one relay.
	crowdWithin = askEvery / 3
	// mostCrowd bounds the estimated size, and so how long a silent peer is remembered,
	// because forged words could make the estimate any number.
	mostCrowd = 2 * mostPresent
	// mostQuestion bounds the envelope of a question that is answered from memory, in
	// bytes.
	mostQuestion = 64
)

// crowd holds an estimate of how many peers are on a type, and the latest words of some
// of them. The mutex of presence guards it.
type crowd struct {
	size   float64   // estimated number of members
	words  int       // number of Heres since the last question
	lots   float64   // the sum of their lots
	passed time.Time // when the last question was forwarded
	kept   map[peer.ID]keptWord
	served map[peer.ID]struct{} // peers that were answered from kept, since passed
}

type keptWord struct {
	raw *pb.Message
	at  time.Time
}

// lot returns the hash of a word, from 0 to 1. It is the same on all nodes.
func lot(of peer.ID, id message.ID) float64 {
	b := binary.BigEndian.AppendUint64([]byte(of), id.Epoch)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(b, id.Seq))
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
}

// count counts a Here.
func (c *crowd) count(lot float64) {
	c.words++
	c.lots += lot
}

// rests reports whether a question to that many peers is not forwarded, because the last
// one was a moment ago.
func (c *crowd) rests(peers int, now time.Time) bool {
	return peers > mostTold && now.Sub(c.passed) < crowdPause
}

// begin begins a round of answers, and estimates the number of members from the last
// round. Words that were thinned out have low lots: if one in x passed, their mean is
// 1/2x.
func (c *crowd) begin(now time.Time) {
	size := float64(c.words)
	if c.words >= mostTold/2 { // fewer say nothing
		size = min(max(size, size*size/(2*c.lots)), mostCrowd)
	}
	c.size = max(size, c.size/2)
	c.words, c.lots = 0, 0
	c.passed = now
	clear(c.served)
}

// answerWithin returns the time over which the answers of the members are spread.
func (c *crowd) answerWithin() time.Duration {
	if c.size > 2*mostTold { // an estimate of fewer may be wrong
		return crowdWithin
	}
	return answerWithin
}

// absentAfter returns the time after which a silent peer counts as gone. In a crowd, five
// of its words would have passed by then on average.
func (c *crowd) absentAfter() time.Duration {
	if c.size <= mostTold {
		return absentAfter
	}
	return time.Duration(float64(absentAfter) * 2 * c.size / mostTold)
}

// passesWord reports whether a word with that lot is forwarded to that many peers.
func passesWord(lot float64, peers int) bool { return lot*float64(peers) < mostTold }

// keep remembers a peer's latest word. Once there are enough, it replaces an arbitrary
// one.
func (c *crowd) keep(of peer.ID, raw *pb.Message, now time.Time) {
	if c.kept == nil {
		c.kept = make(map[peer.ID]keptWord)
	}
	if _, known := c.kept[of]; !known && len(c.kept) >= mostTold {
		for other := range c.kept {
			delete(c.kept, other)
			break
		}
	}
	c.kept[of] = keptWord{raw, now}
}

// answer lists the words for a peer whose question is not forwarded to that many peers,
// once in a round.
func (c *crowd) answer(asker peer.ID, peers int, now time.Time) (words []*pb.Message) {
	if _, served := c.served[asker]; served || !c.rests(peers, now) {
		return nil
	}
	if c.served == nil {
		c.served = make(map[peer.ID]struct{})
	}
	c.served[asker] = struct{}{}
	for of, word := range c.kept {
		if of != asker && now.Sub(word.at) < absentAfter {
			words = append(words, word.raw)
		}
	}
	return words
}

// answerQuestions answers the questions to a crowd that the peer itself sends in an RPC,
// with the words of others as they signed them. GossipSub's loop calls it.
func (m *Mesh) answerQuestions(from peer.ID, rpc *pubsub.RPC) {
	for _, raw := range rpc.GetPublish() {
		if len(raw.GetData()) > mostQuestion || string(raw.GetFrom()) != string(from) {
			continue
		}
		var msg message.Message
		if msg.Decode(raw.GetData(), nil) != nil || msg.Kind != message.Who || len(msg.Data) > 0 {
			continue
		}
		t := m.lookup(m.typeOf(raw.GetTopic()))
		if t == nil {
			continue
		}
		if words := t.presence.answerFrom(from, time.Now()); len(words) > 0 {
			m.router.SendControl(from, new(pb.ControlMessage), words...)
		}
	}
}

// withheld marks a word that is not forwarded.
type withheld struct{}
