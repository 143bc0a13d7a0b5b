package replay_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

const (
	typ   = "chat"
	limit = 30 * time.Second
)

func topic(typ string) string { return "test/" + typ }

// publisher signs broadcasts as GossipSub does.
type publisher struct {
	t   testing.TB
	id  peer.ID
	key crypto.PrivKey
}

func newPublisher(t testing.TB) *publisher {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	id, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	return &publisher{t, id, key}
}

// sign returns a signed GossipSub message with the data. If change is not nil, it alters
// the message before it is signed.
func (p *publisher) sign(data []byte, change func(*pb.Message)) []byte {
	p.t.Helper()
	name := topic(typ)
	m := &pb.Message{From: []byte(p.id), Data: data, Seqno: []byte{1, 2, 3, 4, 5, 6, 7, 8}, Topic: &name}
	if change != nil {
		change(m)
	}
	body, err := m.Marshal()
	require.NoError(p.t, err)
	m.Signature, err = p.key.Sign(append([]byte("libp2p-pubsub:"), body...))
	require.NoError(p.t, err)
	signed, err := m.Marshal()
	require.NoError(p.t, err)
	return signed
}

func (p *publisher) entry(epoch, seq uint64) replay.Entry {
	p.t.Helper()
	m := message.Message{ID: message.ID{Epoch: epoch, Seq: seq}, Data: []byte("hello")}
	return replay.Entry{Publisher: p.id, ID: m.ID, Signed: p.sign(m.Append(nil), nil)}
}

// add adds the entries of an epoch with the numbers from from to to to a history.
func (p *publisher) add(h *replay.History, epoch, from, to uint64) {
	p.t.Helper()
	for seq := from; seq <= to; seq++ {
		require.True(p.t, h.Add(p.entry(epoch, seq)).New)
	}
}

func openHistory(t testing.TB, opts replay.HistoryOptions) *replay.History {
	t.Helper()
	h, err := replay.Open(context.Background(), topic(typ), opts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, h.Close()) })
	return h
}

// node is a host with a history and a service.
type node struct {
	host.Host
	*replay.History
	*replay.Service
}

func newNode(t testing.TB, limits replay.Limits, change func(*replay.Options)) *node {
	t.Helper()
	n := &node{Host: hosttest.New(t, hosttest.Options{}), History: openHistory(t, replay.HistoryOptions{Limits: limits})}
	opts := replay.Options{Topic: topic, Histories: func(name string) *replay.History {
		if name != typ {
			return nil
		}
		return n.History
	}}
	if change != nil {
		change(&opts)
	}
	var err error
	n.Service, err = replay.New(n.Host, opts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Service.Close()) })
	return n
}

// told collects the messages that are delivered.
type told []*message.Message

func (d *told) deliver(_ context.Context, m *message.Message) { *d = append(*d, m) }

func (d told) ids(from peer.ID) (ids []message.ID) {
	for _, m := range d {
		if m.From == from {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

func numbers(epoch, from, to uint64) (ids []message.ID) {
	for seq := from; seq <= to; seq++ {
		ids = append(ids, message.ID{Epoch: epoch, Seq: seq})
	}
	return ids
}

// sync makes n ask another host for its history.
func (n *node) sync(t testing.TB, from host.Host, ask replay.Ask) (replay.Answer, told, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	require.NoError(t, n.Host.Connect(ctx, hosttest.Info(from)))
	var got told
	ask.Deliver = got.deliver
	a, err := n.Sync(ctx, from.ID(), typ, ask)
	return a, got, err
}
