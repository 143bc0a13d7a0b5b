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
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/message"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

// soon is how long a test waits, at most, for an expected event.
const soon = 30 * time.Second

// node is a host with links that keeps the messages delivered to it.
type node struct {
	*link.Links
	host host.Host

	mu  sync.Mutex
	got []*message.Message
}

// newNode makes a node with a real host.
func newNode(t testing.TB, opts link.Options) *node {
	t.Helper()
	h := hosttest.New(t, hosttest.Options{})
	if opts.Open == nil {
		opts.Open = func(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error) {
			return h.NewStream(ctx, p, proto)
		}
	}
	return withLinks(t, h, opts)
}

func withLinks(t testing.TB, h host.Host, opts link.Options) *node {
	t.Helper()
	n := &node{host: h}
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

// texts returns the data of the messages delivered to n.
func (n *node) texts() []string {
	all := []string{}
	for _, m := range n.messages() {
		all = append(all, string(m.Data))
	}
	return all
}

// wait waits until n has been delivered count messages.
func (n *node) wait(t testing.TB, count int) []*message.Message {
	t.Helper()
	eventually(t, func() bool { return len(n.messages()) >= count }, "messages come")
	return n.messages()
}

func eventually(t testing.TB, ok func() bool, what string, args ...any) {
	t.Helper()
	require.Eventually(t, ok, soon, 2*time.Millisecond, append([]any{what}, args...)...)
}

func (n *node) id() peer.ID { return n.host.ID() }

// know makes each node able to dial the others.
func know(nodes ...*node) {
	for _, a := range nodes {
		for _, b := range nodes {
			if a != b {
				a.host.Peerstore().AddAddrs(b.id(), b.host.Addrs(), time.Hour)
			}
		}
	}
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

// streams returns how many streams of link.Protocol a host has.
func streams(h host.Host) (n int) {
	for _, c := range h.Network().Conns() {
		for _, s := range c.GetStreams() {
			if s.Protocol() == link.Protocol {
				n++
			}
		}
	}
	return n
}

func TestMessageArrivesAndIsOfItsSender(t *testing.T) {
	a, b := pair(t, link.Options{}, link.Options{})
	require.NoError(t, a.Send(t.Context(), b.id(), event("chat", "hello"), link.Normal))
	m := b.wait(t, 1)[0]
	assert.Equal(t, "chat", m.Type)
	assert.Equal(t, "hello", string(m.Data))
	assert.Equal(t, a.id(), m.From)
	assert.Equal(t, a.id(), m.Via)
	assert.NotZero(t, m.ID.Seq)
	assert.Zero(t, m.ID.Epoch)
	assert.False(t, m.Broadcast)
}

func TestMessageKeepsTheIDItWasGiven(t *testing.T) {
	a, b := pair(t, link.Options{}, link.Options{})
	m := event("chat", "again")
	m.ID = message.ID{Epoch: 7, Seq: 9}
	for range 2 {
		require.NoError(t, a.Send(t.Context(), b.id(), m, link.Normal))
	}
	for _, got := range b.wait(t, 2) {
		assert.Equal(t, m.ID, got.ID)
	}
	sent := event("chat", "x")
	require.NoError(t, a.Send(t.Context(), b.id(), sent, link.Normal))
	assert.Equal(t, *event("chat", "x"), *sent, "it is not changed")
}

func TestLinkIsOpenedOnFirstUse(t *testing.T) {
	a, b := pair(t, link.Options{}, link.Options{})
	require.NoError(t, a.host.Connect(t.Context(), hosttest.Info(b.host)))
	assert.Zero(t, streams(a.host), "being connected opens none")
	assert.Zero(t, a.Stats().Links)
	var senders sync.WaitGroup
	for i := range 50 {
		senders.Go(func() {
			assert.NoError(t, a.Send(t.Context(), b.id(), event("chat", fmt.Sprint(i)), link.Normal))
		})
	}
	senders.Wait()
	b.wait(t, 50)
	assert.Equal(t, 1, streams(a.host), "concurrent first uses share one stream")
	assert.Equal(t, 1, a.Stats().Links)
}

func TestPeersThatSpeakToEachOtherHaveOneStreamEachWay(t *testing.T) {
	a, b := pair(t, link.Options{}, link.Options{})
	for range 100 {
		require.NoError(t, a.Send(t.Context(), b.id(), event("chat", "a"), link.Normal))
		require.NoError(t, b.Send(t.Context(), a.id(), event("chat", "b"), link.High))
	}
	a.wait(t, 100)
	b.wait(t, 100)
	for _, n := range []*node{a, b} {
		assert.Equal(t, 2, streams(n.host))
		assert.Equal(t, 1, n.Stats().Links)
		assert.Equal(t, 1, n.Stats().Streams)
	}
}

func TestMessagesArriveInOrderAndWhatWaitsTogetherLeavesTogether(t *testing.T) {
	const count = 3000
	a, b := pair(t, link.Options{QueueMessages: count}, link.Options{})
	for i := range count {
		require.NoError(t, a.Post(t.Context(), b.id(), event("n", fmt.Sprint(i)), link.Normal, nil))
	}
	for i, m := range b.wait(t, count) {
		require.Equal(t, fmt.Sprint(i), string(m.Data))
	}
	stats := a.Stats()
	assert.EqualValues(t, count, stats.Sent)
	assert.Less(t, stats.Batches, uint64(count/4))
	eventually(t, func() bool { return b.Stats().Received == count }, "all are counted")
	assert.Equal(t, stats.SentBytes, b.Stats().ReceivedBytes)
}

func TestLargeMessagesArriveWhole(t *testing.T) {
	a, b := pair(t, link.Options{}, link.Options{})
	var want []int
	for _, size := range []int{0, 1, 60_000, 65_000, 65_536, 200_000, message.MaxData} {
		m := &message.Message{Type: "big", Data: make([]byte, size)}
		for i := range m.Data {
			m.Data[i] = byte(i * 7)
		}
		require.NoError(t, a.Send(t.Context(), b.id(), m, link.Normal))
		want = append(want, size)
	}
	for i, m := range b.wait(t, len(want)) {
		require.Len(t, m.Data, want[i])
		for j := range m.Data {
			if m.Data[j] != byte(j*7) {
				t.Fatalf("byte %d of %d is wrong", j, want[i])
			}
		}
	}
}

func TestOptionsThatAreMissingOrNegativeAreRefused(t *testing.T) {
	h := hosttest.New(t, hosttest.Options{})
	good := func() link.Options {
		return link.Options{
			Open:    func(context.Context, peer.ID, protocol.ID) (network.Stream, error) { return nil, errDown },
			Deliver: func(context.Context, *message.Message) {},
		}
	}
	for name, spoil := range map[string]func(*link.Options){
		"Open":           func(o *link.Options) { o.Open = nil },
		"Deliver":        func(o *link.Options) { o.Deliver = nil },
		"MaxData":        func(o *link.Options) { o.MaxData = -1 },
		"QueueMessages":  func(o *link.Options) { o.QueueMessages = -1 },
		"QueueBytes":     func(o *link.Options) { o.QueueBytes = -1 },
		"Requests":       func(o *link.Options) { o.Requests = -1 },
		"PeerRequests":   func(o *link.Options) { o.PeerRequests = -1 },
		"Pending":        func(o *link.Options) { o.Pending = -1 },
		"OpenTimeout":    func(o *link.Options) { o.OpenTimeout = -1 },
		"StallTimeout":   func(o *link.Options) { o.StallTimeout = -1 },
		"IdleTimeout":    func(o *link.Options) { o.IdleTimeout = -1 },
		"RequestTimeout": func(o *link.Options) { o.RequestTimeout = -1 },
	} {
		opts := good()
		spoil(&opts)
		_, err := link.New(h, opts)
		assert.ErrorContains(t, err, name)
	}
	l, err := link.New(h, good())
	require.NoError(t, err)
	require.NoError(t, l.Close())
}
