package scale

import (
	"crypto/ed25519"
	crand "crypto/rand"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tombolo-net/tombolo/core/message"
)

// gossip is the protocol that a tab speaks with its relays.
const gossip = pubsub.GossipSubID_v12

func isGossip(p protocol.ID) bool {
	for _, known := range pubsub.GossipSubDefaultProtocols {
		if p == known {
			return true
		}
	}
	return false
}

// Constants of package mesh in a tab; see core/mesh/presence.go and catchup.go.
const (
	answerWithin = 200 * time.Millisecond
	answerPause  = time.Second
	askSoon      = time.Second
	heartbeat    = time.Second // GossipSub's, and its first after initialBeat
	catchUps     = 4           // rounds in which a tab that comes asks all its relays for what it missed
	askBytes     = 20          // of one such question in a quiet type: see TestLightTabsCostWhatRealOnesDo
	answerBytes  = 7
)

// Constants of package reservation and the swarm in a tab.
const (
	minBackoff  = 500 * time.Millisecond
	maxBackoff  = 30 * time.Second
	dialTimeout = 15 * time.Second
	joinTrips   = 6 // round trips from the dial to the reservation: TCP, WebSocket, Noise, the muxer, identify, hop
)

// tab is a light node: it is on one type, has connections to a few relays, and sends and
// receives what a real node would. It runs no GossipSub, so that tens of thousands fit in
// a process: it is in the mesh of each of its relays, and forwards each message that it
// first receives from one of them to the others.
type tab struct {
	w       *world
	place   place
	id      peer.ID
	key     ed25519.PrivateKey
	typ     *room
	index   int // among those of its type
	watches bool

	mu       sync.Mutex
	order    []*peerHost // in which it tries its relays
	conns    map[*peerHost]*tabConn
	retry    map[*peerHost]*retry
	again    bool // it looks for another relay soon
	number   uint64
	words    uint64
	asked    time.Time // when it last asked
	answered time.Time
	due      bool // an answer is due
	first    time.Time
}

// room is a type.
type room struct {
	name  string
	topic string
	tabs  []*tab
}

type retry struct {
	wait time.Duration
	at   time.Time
}

// tabConn is a tab's connection to a relay.
type tabConn struct {
	c     *conn
	out   *stream
	on    bool // the relay carries the type
	ready bool // the tab is in the relay's mesh
}

func (w *world) newTab(n int, r *room, far time.Duration, side int) (*tab, error) {
	public, key, err := ed25519.GenerateKey(crand.Reader)
	if err != nil {
		return nil, err
	}
	pub, err := crypto.UnmarshalEd25519PublicKey(public)
	if err != nil {
		return nil, err
	}
	id, err := peer.IDFromPublicKey(pub)
	if err != nil {
		return nil, err
	}
	addr, err := ma.NewMultiaddr(fmt.Sprintf("/ip4/100.%d.%d.%d/tcp/1", n>>16&0xff, n>>8&0xff, n&0xff))
	if err != nil {
		return nil, err
	}
	t := &tab{
		w: w, id: id, key: key, typ: r, index: len(r.tabs), place: place{addr: addr, far: far, side: side},
		conns: make(map[*peerHost]*tabConn), retry: make(map[*peerHost]*retry), order: make([]*peerHost, 0, len(w.relays)),
	}
	for _, i := range rand.Perm(len(w.relays)) {
		t.order = append(t.order, w.relays[i])
	}
	r.tabs = append(r.tabs, t)
	return t, nil
}

func (t *tab) ID() peer.ID  { return t.id }
func (t *tab) base() *place { return &t.place }

// fill makes the tab look for relays, until it has as many as it wants.
func (t *tab) fill() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	var soonest time.Time
	for _, r := range t.order {
		if t.w.ended() || len(t.conns) >= t.w.opts.Reservations {
			return
		}
		if _, has := t.conns[r]; has {
			continue
		}
		if again := t.retry[r]; again != nil && again.at.After(now) {
			if soonest.IsZero() || again.at.Before(soonest) {
				soonest = again.at
			}
			continue
		}
		t.conns[r] = &tabConn{} // it is being dialled
		t.dial(r)
	}
	if !soonest.IsZero() && !t.again {
		t.again = true
		time.AfterFunc(soonest.Sub(now), func() {
			t.mu.Lock()
			t.again = false
			t.mu.Unlock()
			t.fill()
		})
	}
}

// dial connects to a relay and reserves there, or fails after a timeout.
func (t *tab) dial(r *peerHost) {
	trip := 2 * t.w.delay(t, r)
	switch {
	case t.w.apart(t, r):
		time.AfterFunc(dialTimeout, func() { t.failed(r) })
	case r.isDown():
		time.AfterFunc(trip, func() { t.failed(r) })
	default:
		time.AfterFunc(r.turn(t.w.opts.JoinCPU)+joinTrips*trip, func() { t.reserved(r) })
	}
}

// turn returns how long a relay takes until it has taken in one more tab, if all share
// its processor.
func (h *peerHost) turn(cost time.Duration) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.free.Before(now) {
		h.free = now
	}
	h.free = h.free.Add(cost)
	return h.free.Sub(now)
}

func (h *peerHost) isDown() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.down
}

// failed waits before it retries a relay, and tries others meanwhile.
func (t *tab) failed(r *peerHost) {
	t.mu.Lock()
	delete(t.conns, r)
	again := t.retry[r]
	if again == nil {
		again = &retry{wait: minBackoff}
		t.retry[r] = again
	}
	again.at = time.Now().Add(again.wait - rand.N(again.wait/2+1))
	again.wait = min(2*again.wait, maxBackoff)
	t.mu.Unlock()
	t.fill()
}

// reserved makes the tab announce itself.
func (t *tab) reserved(r *peerHost) {
	if r.isDown() || t.w.apart(t, r) || t.w.ended() {
		t.failed(r)
		return
	}
	l := t.w.connect(t, r)
	tc := &tabConn{c: l.ends[0]}
	t.mu.Lock()
	t.conns[r] = tc
	delete(t.retry, r)
	if t.first.IsZero() {
		t.first = time.Now()
	}
	t.mu.Unlock()
	r.joined(l.ends[1], []protocol.ID{gossip})
	out := tc.c.open(gossip)
	if out == nil {
		return
	}
	t.mu.Lock()
	tc.out = out
	t.mu.Unlock()
	yes := true
	t.say(tc, &pb.RPC{Subscriptions: []*pb.RPC_SubOpts{{Topicid: &t.typ.topic, Subscribe: &yes}}})
}

func (t *tab) lost(c *conn) {
	t.mu.Lock()
	for r, tc := range t.conns {
		if tc.c == c {
			delete(t.conns, r)
			t.retry[r] = &retry{wait: minBackoff, at: time.Now().Add(minBackoff - rand.N(minBackoff/2))}
		}
	}
	t.mu.Unlock()
	if !t.w.ended() {
		time.AfterFunc(0, t.fill)
	}
}

// opened makes the tab read what a relay sends.
func (t *tab) opened(s *stream) {
	if s.proto != gossip {
		_ = s.Reset()
		return
	}
	s.hears = func(b []byte, at time.Time) { t.hear(s.c, unframed(b), at) }
}

// hear handles an RPC that arrives at a given time.
func (t *tab) hear(c *conn, rpc []byte, at time.Time) {
	each(rpc, func(field protowire.Number, value []byte) {
		switch field {
		case 1:
			t.hearTopic(c, value, at)
		case 2:
			p := parse(value)
			if !t.w.flight(p, t.typ).arrives(t, at) {
				return
			}
			t.pass(c, value, at)
			if p.kind == message.Who && (len(p.data) == 0 || string(p.data) == string(t.id)) {
				t.answer(at)
			}
		case 3:
			t.want(c, value, at)
		}
	})
}

// want asks for messages that the relay offers and the tab does not have.
func (t *tab) want(c *conn, control []byte, at time.Time) {
	var said pb.ControlMessage
	if said.Unmarshal(control) != nil {
		return
	}
	var ids []string
	for _, have := range said.GetIhave() {
		for _, id := range have.GetMessageIDs() {
			if !t.w.arrived(id, t) {
				ids = append(ids, id)
			}
		}
	}
	t.mu.Lock()
	tc, _ := t.of(c)
	t.mu.Unlock()
	if len(ids) == 0 || tc == nil {
		return
	}
	time.AfterFunc(time.Until(at), func() {
		t.say(tc, &pb.RPC{Control: &pb.ControlMessage{Iwant: []*pb.ControlIWant{{MessageIDs: ids}}}})
	})
}

// hearTopic handles the relay's subscription of the type: at GossipSub's next heartbeat,
// the tab joins the relay's mesh.
func (t *tab) hearTopic(c *conn, sub []byte, at time.Time) {
	var opts pb.RPC_SubOpts
	if opts.Unmarshal(sub) != nil || opts.GetTopicid() != t.typ.topic {
		return
	}
	t.mu.Lock()
	tc, others := t.of(c)
	if tc == nil || tc.on == opts.GetSubscribe() {
		t.mu.Unlock()
		return
	}
	tc.on = opts.GetSubscribe()
	relays := len(t.conns)
	t.mu.Unlock()
	if !opts.GetSubscribe() {
		return
	}
	for range catchUps * relays {
		s := c.other.base().sums
		s.received[history].add(askBytes)
		s.sent[history].add(answerBytes)
	}
	wait := time.Until(at)
	time.AfterFunc(wait+rand.N(heartbeat), func() {
		t.say(tc, &pb.RPC{Control: &pb.ControlMessage{Graft: []*pb.ControlGraft{{TopicID: &t.typ.topic}}}})
		t.mu.Lock()
		tc.ready = true
		t.mu.Unlock()
	})
	if others == 0 {
		t.answer(at)
	}
	if t.watches {
		time.AfterFunc(wait, t.ask)
		if others == 0 {
			time.AfterFunc(wait+askSoon, t.ask)
		}
	}
}

// of returns the connection to a relay, and how many other relays carry the type. The
// mutex is held.
func (t *tab) of(c *conn) (of *tabConn, others int) {
	for _, tc := range t.conns {
		if tc.c == c {
			of = tc
		} else if tc.on {
			others++
		}
	}
	return of, others
}

// pass forwards a message that is new to the tab from one relay to the others.
func (t *tab) pass(from *conn, raw []byte, at time.Time) {
	t.mu.Lock()
	var outs []*stream
	for _, tc := range t.conns {
		if tc.c != from && tc.ready && tc.out != nil {
			outs = append(outs, tc.out)
		}
	}
	t.mu.Unlock()
	if len(outs) == 0 {
		return
	}
	framed := frame(protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), raw))
	for _, out := range outs {
		out.send(framed, at)
	}
}

func frame(rpc []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(rpc))), rpc...) }

func (t *tab) say(tc *tabConn, rpc *pb.RPC) {
	t.mu.Lock()
	out := tc.out
	t.mu.Unlock()
	b, err := rpc.Marshal()
	if err == nil && out != nil {
		_, _ = out.Write(frame(b))
	}
}

// Answers is the rule by which a tab that counts that many members of a type answers a
// presence query: it answers if a random number between 0 and 1 is below the result.
type Answers func(members int) float64

// Everybody implements the rule by which every member answers.
func Everybody(int) float64 { return 1 }

// About returns the rule by which about most members answer.
func About(most int) Answers {
	return func(members int) float64 { return float64(most) / float64(max(members, most)) }
}

// answer announces the tab's presence soon.
func (t *tab) answer(at time.Time) {
	if rand.Float64() >= t.w.opts.Answers(len(t.typ.tabs)) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.due {
		return
	}
	t.due = true
	when := at.Add(rand.N(answerWithin))
	if next := t.answered.Add(answerPause); when.Before(next) {
		when = next
	}
	time.AfterFunc(time.Until(when), func() {
		t.mu.Lock()
		t.due, t.answered = false, time.Now()
		t.mu.Unlock()
		t.tell(message.Here)
	})
}

// ask sends a presence query, at most once a second.
func (t *tab) ask() {
	t.mu.Lock()
	now := time.Now()
	wait := t.asked.Add(askSoon).Sub(now)
	if wait <= 0 {
		t.asked = now
	}
	t.mu.Unlock()
	if wait <= 0 {
		t.tell(message.Who)
	}
}

func (t *tab) tell(k message.Kind) {
	t.mu.Lock()
	t.words++
	msg := message.Message{Kind: k, ID: message.ID{Epoch: t.epoch(), Seq: t.words}}
	t.mu.Unlock()
	t.publish(&msg)
}

// broadcast sends data to all subscribers of the type.
func (t *tab) broadcast(data []byte) *flight {
	t.mu.Lock()
	t.number++
	msg := message.Message{Kind: message.Event, ID: message.ID{Epoch: t.epoch(), Seq: t.number}, Data: data}
	t.mu.Unlock()
	return t.publish(&msg)
}

func (t *tab) epoch() uint64 { return uint64(t.w.start.UnixMicro()) }

// publish signs a message and sends it to all relays that carry the type.
func (t *tab) publish(msg *message.Message) *flight {
	number := binary.BigEndian.AppendUint64(nil, t.w.numbers.Add(1))
	m := &pb.Message{From: []byte(t.id), Data: msg.Append(nil), Seqno: number, Topic: &t.typ.topic}
	unsigned, err := m.Marshal()
	if err != nil {
		return nil
	}
	m.Signature = ed25519.Sign(t.key, append([]byte(pubsub.SignPrefix), unsigned...))
	raw, err := m.Marshal()
	if err != nil {
		return nil
	}
	f := t.w.flight(parse(raw), t.typ)
	f.arrives(t, time.Now())
	t.mu.Lock()
	var outs []*stream
	for _, tc := range t.conns {
		if tc.on && tc.out != nil {
			outs = append(outs, tc.out)
		}
	}
	t.mu.Unlock()
	framed := frame(protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), raw))
	for _, out := range outs {
		_, _ = out.Write(framed)
	}
	return f
}

// held returns how many relays have given the tab a reservation.
func (t *tab) held() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tc := range t.conns {
		if tc.ready {
			n++
		}
	}
	return n
}
