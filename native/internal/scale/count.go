package scale

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tombolo-net/tombolo/core/message"
)

// kind is the purpose of a message.
type kind int

const (
	presence  kind = iota // who is present
	broadcast             // messages of programs
	control               // GossipSub's own: grafts, prunes, offers of messages
	topics                // subscriptions of types
	history               // catching up
	kinds
)

func (k kind) String() string {
	return [kinds]string{"presence", "broadcasts", "GossipSub", "types", "histories"}[k]
}

// sums counts what one end has sent and received, by kind. Bytes are those of the
// protocol, without encryption and headers: see lineCost.
type sums struct {
	sent, received [kinds]sum
}

type sum struct{ messages, bytes atomic.Uint64 }

func (s *sum) add(bytes int) { s.messages.Add(1); s.bytes.Add(uint64(bytes)) }

// counted adds what is written to a stream to both ends' sums.
func (w *world) counted(s *stream, b []byte) {
	from, to := s.c.local.base().sums, s.c.other.base().sums
	add := func(k kind, n int) {
		if from != nil {
			from.sent[k].add(n)
		}
		if to != nil {
			to.received[k].add(n)
		}
	}
	if !isGossip(s.proto) {
		add(history, len(b))
		return
	}
	rpc := unframed(b)
	each(rpc, func(field protowire.Number, value []byte) {
		n := len(value) + 2
		switch field {
		case 1:
			add(topics, n)
		case 2:
			add(kindOf(value), n)
		default:
			add(control, n)
		}
	})
}

// unframed returns an RPC without its length: GossipSub writes one at a time.
func unframed(b []byte) []byte {
	_, n := binary.Uvarint(b)
	return b[max(n, 0):]
}

// each calls f for each length-delimited field of a protobuf message.
func each(b []byte, f func(protowire.Number, []byte)) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		if typ == protowire.BytesType {
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return
			}
			f(num, v)
			b = b[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return
		}
		b = b[n:]
	}
}

// published is a message of GossipSub.
type published struct {
	raw         []byte
	from, topic string
	key         string // its publisher and number, by which GossipSub identifies messages
	kind        message.Kind
	data        []byte
}

func parse(raw []byte) (p published) {
	p.raw = raw
	var number string
	each(raw, func(field protowire.Number, value []byte) {
		switch field {
		case 1:
			p.from = string(value)
		case 2:
			var msg message.Message
			if msg.Decode(value, func([]byte) string { return "" }) == nil {
				p.kind, p.data = msg.Kind, msg.Data
			}
		case 3:
			number = string(value)
		case 4:
			p.topic = string(value)
		}
	})
	p.key = p.from + number
	return p
}

func kindOf(raw []byte) (k kind) {
	k = broadcast
	each(raw, func(field protowire.Number, value []byte) {
		if field != 2 {
			return
		}
		var msg message.Message
		if msg.Decode(value, func([]byte) string { return "" }) == nil && msg.Kind >= message.Who {
			k = presence
		}
	})
	return k
}

// Traffic is how much relays have sent and received in some time.
type Traffic struct {
	Took  time.Duration
	Total [kinds]Flow // of all relays
	Worst Flow        // of the relay with most bytes, of all kinds
}

// Flow is a number of messages, and their bytes.
type Flow struct{ SentMessages, SentBytes, ReceivedMessages, ReceivedBytes uint64 }

func (f *Flow) add(g Flow) {
	f.SentMessages += g.SentMessages
	f.SentBytes += g.SentBytes
	f.ReceivedMessages += g.ReceivedMessages
	f.ReceivedBytes += g.ReceivedBytes
}

func (f Flow) minus(g Flow) Flow {
	return Flow{f.SentMessages - g.SentMessages, f.SentBytes - g.SentBytes, f.ReceivedMessages - g.ReceivedMessages, f.ReceivedBytes - g.ReceivedBytes}
}

func (f Flow) bytes() uint64 { return f.SentBytes + f.ReceivedBytes }

func (s *sums) flow(k kind) Flow {
	return Flow{s.sent[k].messages.Load(), s.sent[k].bytes.Load(), s.received[k].messages.Load(), s.received[k].bytes.Load()}
}

// meter measures what passes the relays between measure and end.
type meter struct {
	began  time.Time
	hosts  []*peerHost
	before [][kinds]Flow
}

func flows(s *sums) (all [kinds]Flow) {
	for k := range kinds {
		all[k] = s.flow(k)
	}
	return all
}

func measure(hosts []*peerHost) *meter {
	m := &meter{began: time.Now(), hosts: hosts}
	for _, h := range hosts {
		m.before = append(m.before, flows(h.place.sums))
	}
	return m
}

func (m *meter) end() (t Traffic) {
	t.Took = time.Since(m.began)
	for i, h := range m.hosts {
		var own Flow
		for k, f := range flows(h.place.sums) {
			f = f.minus(m.before[i][k])
			own.add(f)
			t.Total[k].add(f)
		}
		if own.bytes() > t.Worst.bytes() {
			t.Worst = own
		}
	}
	return t
}
