package mesh

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-varint"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

// stranger speaks GossipSub's protocol by hand.
type stranger struct {
	host.Host
	stream network.Stream
	seqno  uint64
}

func newStranger(t testing.TB, to *node) *stranger {
	t.Helper()
	h := hosttest.New(t, hosttest.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, h.Connect(ctx, hosttest.Info(to.host)))
	s, err := h.NewStream(ctx, to.self, "/meshsub/1.1.0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Reset() })
	return &stranger{Host: h, stream: s}
}

// sign returns a signed GossipSub message with the data.
func (s *stranger) sign(t testing.TB, data []byte) *pb.Message {
	t.Helper()
	s.seqno++
	topic := "tombolo/chat"
	m := &pb.Message{From: []byte(s.ID()), Data: data, Topic: &topic, Seqno: binary.BigEndian.AppendUint64(nil, s.seqno)}
	body, err := m.Marshal()
	require.NoError(t, err)
	m.Signature, err = s.Peerstore().PrivKey(s.ID()).Sign(append([]byte("libp2p-pubsub:"), body...))
	require.NoError(t, err)
	return m
}

func (s *stranger) send(t testing.TB, msgs ...*pb.Message) {
	t.Helper()
	b, err := (&pb.RPC{Publish: msgs}).Marshal()
	require.NoError(t, err)
	_, err = s.stream.Write(append(varint.ToUvarint(uint64(len(b))), b...))
	require.NoError(t, err)
}

func envelope(seq uint64, text string) []byte {
	m := message.Message{ID: message.ID{Epoch: 1, Seq: seq}, Data: []byte(text)}
	return m.Append(nil)
}

func TestWhatIsNotSignedByItsPublisherIsRefused(t *testing.T) {
	n, other := newNode(t, Options{}), newNode(t, Options{})
	connect(t, n, other)
	subscribe(t, "chat", n)
	waitPeers(t, other, "chat", 1)
	s := newStranger(t, n)
	unsigned := s.sign(t, envelope(1, "unsigned"))
	unsigned.Signature = nil
	forged := s.sign(t, envelope(2, "forged"))
	forged.Data = envelope(2, "changed")
	anothers := s.sign(t, envelope(3, "another's"))
	anothers.From = []byte(other.self)
	s.send(t, unsigned, forged, anothers)
	s.send(t, s.sign(t, envelope(4, "signed")))
	n.waitFor(t, "signed")
	assert.Equal(t, uint64(3), n.Stats().Malformed)
	assert.Equal(t, s.ID(), n.all()[0].From)
}

func TestPeerThatSendsGarbageIsHeardNoMoreAndTheOthersAre(t *testing.T) {
	n, other := newNode(t, Options{}), newNode(t, Options{})
	connect(t, n, other)
	subscribe(t, "chat", n)
	waitPeers(t, other, "chat", 1)
	s := newStranger(t, n)
	for range 6 {
		s.send(t, s.sign(t, []byte{0xff}))
	}
	require.Eventually(t, func() bool { return n.marks.of(s.ID(), time.Now()) > 3.5 }, patience, time.Millisecond)
	require.Less(t, n.markScore(s.ID()), float64(graylistBelow))
	s.send(t, s.sign(t, envelope(1, "from the liar")))
	other.say(t, "chat", "from the other")
	n.waitFor(t, "from the other")
	assert.Zero(t, n.marks.of(other.self, time.Now()))
	require.Eventually(t, func() bool { return n.Stats().Graylisted > 0 }, patience, time.Millisecond)
	assert.Len(t, n.all(), 1)
}

func TestValidatorDecidesWhatIsDeliveredAndPassedOn(t *testing.T) {
	ns := nodes(t, 3, Options{})
	a, b, c := ns[0], ns[1], ns[2]
	connect(t, a, b)
	connect(t, b, c)
	subscribe(t, "chat", b, c)
	waitPeers(t, a, "chat", 1)
	waitPeers(t, b, "chat", 1)
	verdicts := map[string]Verdict{"ignored": Ignore, "rejected": Reject}
	judge := func(_ context.Context, m *message.Message) Verdict {
		if string(m.Data) == "panic" {
			panic("validator")
		}
		return verdicts[string(m.Data)]
	}
	remove, err := b.Validate("chat", judge)
	require.NoError(t, err)
	_, err = b.Validate("chat", judge)
	require.Error(t, err, "there is one validator per type")
	for _, text := range []string{"ignored", "rejected", "panic", "accepted"} {
		a.say(t, "chat", text)
	}
	b.waitFor(t, "accepted")
	c.waitFor(t, "accepted")
	stats := b.Stats()
	assert.Equal(t, uint64(3), stats.Refused)
	assert.Equal(t, uint64(1), stats.Panics)
	assert.InDelta(t, 1, b.marks.of(a.self, time.Now()), 0.1, "a published the rejected message itself")

	require.ErrorIs(t, b.Broadcast(context.Background(), "chat", []byte("ignored")), ErrRefused)
	assert.Equal(t, []string{"accepted"}, b.texts(), "a refused broadcast is not served locally either")
	remove()
	remove()
	b.keep(t, "chat", "ignored")
	c.waitFor(t, "accepted", "ignored")
}

func TestNetworksDoNotHearEachOther(t *testing.T) {
	a, b := newNode(t, Options{Network: "a"}), newNode(t, Options{Network: "b"})
	c := newNode(t, Options{Network: "a"})
	connect(t, a, b)
	connect(t, c, a)
	connect(t, c, b)
	subscribe(t, "chat", a, b)
	waitPeers(t, c, "chat", 1)
	c.say(t, "chat", "for a")
	a.waitFor(t, "for a")
	assert.Equal(t, []peer.ID{a.self}, c.Peers("chat"))
	assert.Empty(t, b.Peers("chat"))
	assert.ErrorIs(t, b.Broadcast(context.Background(), "chat", []byte("for b")), ErrNoPeers)
	assert.Equal(t, []string{"for a"}, a.texts())
}

func TestCloseEndsWhateverIsUnderWay(t *testing.T) {
	r := newNode(t, Options{RelayTopics: 4, KeepHistories: &replay.Limits{}})
	a, b := newNode(t, Options{}), newNode(t, Options{})
	connect(t, a, r)
	connect(t, b, r)
	require.NoError(t, a.KeepHistory("chat", replay.Limits{}))
	ctx := context.Background()
	var busy sync.WaitGroup
	until := func(f func() error) {
		busy.Go(func() {
			for {
				if err := f(); errors.Is(err, ErrClosed) {
					return
				} else if err != nil && !errors.Is(err, ErrNoPeers) {
					t.Errorf("%v", err)
					return
				}
				time.Sleep(time.Millisecond) // js has one thread for all of this
			}
		})
	}
	until(func() error { return a.Broadcast(ctx, "chat", []byte("x")) })
	until(func() error { return a.Broadcast(ctx, "nobody's", nil, WaitForPeer()) })
	until(func() error {
		leave, err := a.Subscribe("chat")
		if err == nil {
			leave()
		}
		return err
	})
	until(func() error {
		p, err := a.Presence("chat")
		if err != nil {
			return err
		}
		return p.Close()
	})
	p, err := a.Presence("chat")
	require.NoError(t, err)
	until(func() error {
		_, err := p.Next(ctx)
		return err
	})
	until(func() error {
		_, err := a.Recover(ctx, "chat")
		if err != nil && a.ctx.Err() != nil {
			return ErrClosed
		}
		return err
	})
	until(func() error {
		remove, err := a.Validate("chat", func(context.Context, *message.Message) Verdict { return Accept })
		if err == nil {
			remove()
		}
		return err
	})
	until(func() error {
		_, _ = a.Stats(), a.Peers("chat")
		return a.KeepHistory("chat", replay.Limits{})
	})
	subscribe(t, "chat", b)
	for range 20 {
		b.keep(t, "chat", rand.Text())
	}
	var closing sync.WaitGroup
	for range 3 {
		closing.Go(func() { assert.NoError(t, a.Close()) })
	}
	closing.Wait()
	busy.Wait()
}
