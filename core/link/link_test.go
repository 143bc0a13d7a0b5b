package link_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/message"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

// soon is how long a test waits for what must happen, at most.
const soon = 20 * time.Second

// node is a host with links, which keeps what it is delivered.
type node struct {
	*link.Links
	host host.Host

	mu  sync.Mutex
	got []*message.Message
}

func newNode(t testing.TB, opts link.Options) *node {
	t.Helper()
	n := &node{host: hosttest.New(t, hosttest.Options{})}
	if opts.Open == nil {
		opts.Open = func(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error) {
			return n.host.NewStream(ctx, p, proto)
		}
	}
	if opts.Deliver == nil {
		opts.Deliver = n.keep
	}
	var err error
	n.Links, err = link.New(n.host, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n
}

func (n *node) keep(_ context.Context, m *message.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got = append(n.got, m)
}

func (n *node) messages() []*message.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.got[:len(n.got):len(n.got)]
}

// wait waits until n has been delivered count messages.
func (n *node) wait(t testing.TB, count int) []*message.Message {
	t.Helper()
	require.Eventually(t, func() bool { return len(n.messages()) >= count }, soon, 5*time.Millisecond,
		"%d of %d messages came", len(n.messages()), count)
	return n.messages()
}

func (n *node) id() peer.ID { return n.host.ID() }

// know makes a able to dial b and the other way round.
func know(a, b *node) {
	a.host.Peerstore().AddAddrs(b.id(), b.host.Addrs(), time.Hour)
	b.host.Peerstore().AddAddrs(a.id(), a.host.Addrs(), time.Hour)
}

func pair(t testing.TB, a, b link.Options) (*node, *node) {
	t.Helper()
	na, nb := newNode(t, a), newNode(t, b)
	know(na, nb)
	return na, nb
}

func event(typ, data string) *message.Message {
	return &message.Message{Type: typ, Data: []byte(data)}
}

func TestMessageArrivesAndIsOfItsSender(t *testing.T) {
	a, b := pair(t, link.Options{}, link.Options{})
	require.NoError(t, a.Send(t.Context(), b.id(), event("chat", "hello"), link.Normal))
	m := b.wait(t, 1)[0]
	require.Equal(t, "chat", m.Type)
	require.Equal(t, "hello", string(m.Data))
	require.Equal(t, a.id(), m.From)
	require.Equal(t, a.id(), m.Via)
	require.NotZero(t, m.ID.Seq)
	require.Zero(t, m.ID.Epoch)
	require.False(t, m.Broadcast)
}

func TestMessagesArriveInOrderOnOneStream(t *testing.T) {
	const count = 3000
	a, b := pair(t, link.Options{QueueMessages: count}, link.Options{})
	for i := range count {
		require.NoError(t, a.Post(t.Context(), b.id(), event("n", fmt.Sprint(i)), link.Normal, nil))
	}
	for i, m := range b.wait(t, count) {
		require.Equal(t, fmt.Sprint(i), string(m.Data))
	}
	stats := a.Stats()
	require.Equal(t, uint64(count), stats.Sent)
	require.Less(t, stats.Batches, uint64(count/4), "what waits together leaves together")
	require.Equal(t, 1, stats.Links)
	require.Equal(t, 1, b.Stats().Streams)
}

func TestRequestIsAnswered(t *testing.T) {
	a, b := pair(t, link.Options{}, link.Options{})
	_, err := b.Respond("stat", func(_ context.Context, m *message.Message) ([]byte, error) {
		return append([]byte("re: "), m.Data...), nil
	})
	require.NoError(t, err)
	m, err := a.Request(t.Context(), b.id(), "stat", []byte("x"))
	require.NoError(t, err)
	require.Equal(t, "re: x", string(m.Data))
	require.Equal(t, b.id(), m.From)
	require.Equal(t, "stat", m.Type)
}
