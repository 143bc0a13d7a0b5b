package mesh

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/message"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

// patience is how long a test waits for something that should happen.
const patience = 20 * time.Second

// inbox holds the messages that were delivered to a node.
type inbox struct {
	mu   sync.Mutex
	msgs []*message.Message
}

func (in *inbox) put(m *message.Message) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.msgs = append(in.msgs, m)
}

func (in *inbox) all() []*message.Message {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]*message.Message(nil), in.msgs...)
}

func (in *inbox) texts() []string {
	var out []string
	for _, m := range in.all() {
		out = append(out, string(m.Data))
	}
	return out
}

// node is a mesh on a host of its own.
type node struct {
	*Mesh
	host host.Host
	inbox
}

func newNode(t testing.TB, opts Options) *node {
	t.Helper()
	return onHost(t, hosttest.New(t, hosttest.Options{}), opts)
}

func onHost(t testing.TB, h host.Host, opts Options) *node {
	t.Helper()
	n := &node{host: h}
	if opts.Deliver == nil {
		opts.Deliver = n.put
	}
	m, err := New(context.Background(), h, opts)
	require.NoError(t, err)
	n.Mesh = m
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	return n
}

func nodes(t testing.TB, n int, opts Options) []*node {
	t.Helper()
	out := make([]*node, n)
	for i := range out {
		out[i] = newNode(t, opts)
	}
	return out
}

func connect(t testing.TB, a, b *node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, a.host.Connect(ctx, hosttest.Info(b.host)))
}

func subscribe(t testing.TB, typ string, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		_, err := n.Subscribe(typ)
		require.NoError(t, err)
	}
}

// waitPeers waits until n knows of at least count peers on the type.
func waitPeers(t testing.TB, n *node, typ string, count int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(n.Peers(typ)) >= count }, patience, 5*time.Millisecond)
}

func (n *node) say(t testing.TB, typ, text string) {
	t.Helper()
	require.NoError(t, n.Broadcast(context.Background(), typ, []byte(text)))
}

func (in *inbox) waitFor(t testing.TB, texts ...string) {
	t.Helper()
	require.Eventually(t, func() bool { return len(in.all()) >= len(texts) }, patience, 5*time.Millisecond, "%d wanted", len(texts))
	require.Equal(t, texts, in.texts())
}

func TestBroadcastReachesASubscriberThatIsNotConnected(t *testing.T) {
	ns := nodes(t, 3, Options{})
	connect(t, ns[0], ns[1])
	connect(t, ns[1], ns[2])
	subscribe(t, "chat", ns...)
	waitPeers(t, ns[0], "chat", 1)
	waitPeers(t, ns[1], "chat", 2)
	require.Eventually(t, func() bool {
		ns[0].say(t, "chat", "hello")
		return len(ns[2].all()) > 0
	}, patience, 50*time.Millisecond)
	got := ns[2].all()[0]
	assert.Equal(t, ns[0].host.ID(), got.From)
	assert.Equal(t, ns[1].host.ID(), got.Via)
	assert.Equal(t, "chat", got.Type)
	assert.True(t, got.Broadcast)
	assert.NotZero(t, got.ID.Epoch)
	assert.NotEmpty(t, ns[0].all(), "it receives its own broadcast")
}

func TestPublisherThatNobodyHearsIsTold(t *testing.T) {
	n := newNode(t, Options{})
	require.ErrorIs(t, n.Broadcast(context.Background(), "chat", nil), ErrNoPeers)
	assert.Empty(t, n.all(), "it is not subscribed itself")
	subscribe(t, "chat", n)
	require.ErrorIs(t, n.Broadcast(context.Background(), "chat", []byte("a")), ErrNoPeers)
	require.ErrorIs(t, n.Broadcast(context.Background(), "chat", []byte("b")), ErrNoPeers)
	assert.Equal(t, []string{"a", "b"}, n.texts(), "its own subscribers are served")
	msgs := n.all()
	assert.NotEqual(t, msgs[0].ID, msgs[1].ID)

	other := newNode(t, Options{})
	subscribe(t, "chat", other)
	connect(t, n, other)
	waitPeers(t, n, "chat", 1)
	n.say(t, "chat", "c")
	other.waitFor(t, "c")
	assert.Equal(t, uint64(1), other.all()[0].ID.Seq, "a broadcast that was not sent takes no number")
}

func TestMessageIsKeptUntilAPeerJoins(t *testing.T) {
	a, b := newNode(t, Options{}), newNode(t, Options{})
	sent := make(chan error, 1)
	go func() { sent <- a.Broadcast(context.Background(), "chat", []byte("kept"), WaitForPeer()) }()
	require.Eventually(t, func() bool { return a.lookup("chat") != nil }, patience, time.Millisecond)
	subscribe(t, "chat", b)
	connect(t, a, b)
	require.NoError(t, <-sent)
	b.waitFor(t, "kept")

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := a.Broadcast(ctx, "nobody", nil, WaitForPeer())
	require.ErrorIs(t, err, ErrNoPeers)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestTypesAndSizesAreChecked(t *testing.T) {
	n := newNode(t, Options{MaxMessage: 100})
	ctx := context.Background()
	_, err := n.Subscribe("tombolo/x")
	require.ErrorIs(t, err, message.ErrType)
	_, err = n.Validate("", nil)
	require.ErrorIs(t, err, message.ErrType)
	require.ErrorIs(t, n.Broadcast(ctx, "tombolo/x", nil), message.ErrType)
	require.ErrorIs(t, n.Broadcast(ctx, "chat", make([]byte, 101)), message.ErrTooLarge)
	require.NoError(t, n.Close())
	_, err = n.Subscribe("chat")
	require.ErrorIs(t, err, ErrClosed)
	_, err = n.Validate("chat", func(context.Context, *message.Message) Verdict { return Accept })
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, n.Broadcast(ctx, "chat", nil), ErrClosed)
	require.Nil(t, n.Peers("chat"))
}

func TestMessageOfTheGreatestSizeArrives(t *testing.T) {
	a, b := newNode(t, Options{}), newNode(t, Options{})
	connect(t, a, b)
	subscribe(t, "chat", b)
	waitPeers(t, a, "chat", 1)
	data := make([]byte, message.MaxData)
	require.NoError(t, a.Broadcast(context.Background(), "chat", data))
	require.Eventually(t, func() bool { return len(b.all()) == 1 }, patience, 5*time.Millisecond)
	assert.Len(t, b.all()[0].Data, len(data))
}
