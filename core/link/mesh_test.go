package link_test

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/message"
)

const (
	honest    = 17
	rounds    = 40 // messages from each honest node to each other one
	meshQueue = 8
)

// meshNode is one of the honest nodes: it notes what it gets from each sender.
type meshNode struct {
	*node
	mu      sync.Mutex
	numbers map[peer.ID][]uint32 // of the rounds, in the order of arrival
	flooded int
}

func newMeshNode(t *testing.T) *meshNode {
	n := &meshNode{numbers: make(map[peer.ID][]uint32)}
	n.node = newNode(t, link.Options{QueueMessages: meshQueue, Deliver: n.deliver})
	respond(t, n.node, "echo", echo)
	respond(t, n.node, "slow", func(ctx context.Context, _ *message.Message) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	return n
}

func (n *meshNode) deliver(_ context.Context, m *message.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.Type == "flood" {
		n.flooded++
		return
	}
	n.numbers[m.From] = append(n.numbers[m.From], binary.BigEndian.Uint32(m.Data))
}

func (n *meshNode) count() (numbers, flooded int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, all := range n.numbers {
		numbers += len(all)
	}
	return numbers, n.flooded
}

// Of 20 real hosts over TCP, one stops reading, one floods the others with
// events and requests, and one lies in its frames. Meanwhile, the other 17 send messages and
// requests to each other, and messages to those three, too.
func TestMeshOf20LosesNothingToOneThatStopsOneThatFloodsAndOneThatLies(t *testing.T) {
	nodes := make([]*meshNode, honest)
	good := make([]peer.ID, honest)
	all := make([]*node, honest)
	for i := range nodes {
		nodes[i] = newMeshNode(t)
		good[i], all[i] = nodes[i].id(), nodes[i].node
	}
	stops := newNode(t, link.Options{Deliver: func(ctx context.Context, _ *message.Message) { <-ctx.Done() }})
	floods := newNode(t, link.Options{})
	tooMuch := &message.Message{Type: "n", Data: make([]byte, 64<<10)} // for the node that does not read
	floodwater := &message.Message{Type: "flood", Data: make([]byte, 1000)}
	lying := &node{host: hosttest.New(t, hosttest.Options{})}
	know(append(all, stops, floods, lying)...)
	connectAll(t, append(all, stops, floods, lying))
	bad := []peer.ID{stops.id(), floods.id(), lying.id()}

	ctx, stop := context.WithCancel(t.Context())
	var attackers sync.WaitGroup
	for _, p := range good {
		attackers.Go(func() { flood(ctx, floods, p, floodwater) })
		attackers.Go(func() { lie(ctx, lying.host, p) })
	}

	var senders sync.WaitGroup
	full := make([]int, honest) // errors for the node that stopped reading
	for i, n := range nodes {
		var others []peer.ID
		for _, p := range good {
			if p != n.id() {
				others = append(others, p)
			}
		}
		senders.Go(func() {
			for round := range uint32(rounds) {
				m := &message.Message{Type: "n", Data: make([]byte, 1000)}
				binary.BigEndian.PutUint32(m.Data, round)
				report := n.SendAll(ctx, others, m, link.Normal)
				if !assert.NoError(t, report.Err()) || !assert.Len(t, report.Reached, honest-1) {
					return
				}
				if n.Post(ctx, bad[0], tooMuch, link.Normal, nil) != nil {
					full[i]++
				}
				_ = n.PostAll(bad[1:], m, link.Normal, nil)
				if round%5 == 0 {
					reply, err := n.Request(ctx, others[int(round/5)%len(others)], "echo", m.Data[:4])
					if assert.NoError(t, err) {
						assert.Equal(t, append([]byte("re: "), m.Data[:4]...), reply.Data)
					}
				}
			}
		})
	}
	senders.Wait()
	for _, n := range nodes {
		eventually(t, func() bool {
			numbers, flooded := n.count()
			return numbers == (honest-1)*rounds && flooded > 0 && n.Stats().Malformed >= 3 && n.Stats().Refused > 0
		}, "all that honest nodes sent comes, and the attacks do")
	}
	stop()
	attackers.Wait()

	for i, n := range nodes {
		assert.Positive(t, full[i], "it gets errors for the node that does not read")
		require.Len(t, n.numbers, honest-1)
		for from, numbers := range n.numbers {
			for round, number := range numbers {
				require.EqualValues(t, round, number, "from %s", from)
			}
		}
		assert.Positive(t, n.Stats().Serving.Busy, "too many requests are refused")
	}
}

// connectAll connects all nodes to each other, a few at a time: how many handshakes a
// machine can take at once is not tested here.
func connectAll(t *testing.T, nodes []*node) {
	var connecting errgroup.Group
	connecting.SetLimit(4)
	for i, a := range nodes {
		for _, b := range nodes[:i] {
			connecting.Go(func() error { return a.host.Connect(t.Context(), hosttest.Info(b.host)) })
		}
	}
	require.NoError(t, connecting.Wait())
}

// pace is the interval between attacks. The attackers run on the same machine as their
// victims, and would otherwise take all of its processor time.
const pace = 100 * time.Millisecond

// atPace calls f until ctx ends.
func atPace(ctx context.Context, f func()) {
	for ctx.Err() == nil {
		f()
		select {
		case <-time.After(pace):
		case <-ctx.Done():
		}
	}
}

// flood sends one peer a thousand messages a second, and more requests at once than it
// answers.
func flood(ctx context.Context, from *node, p peer.ID, m *message.Message) {
	var askers sync.WaitGroup
	for range link.DefaultPeerRequests + 4 {
		askers.Go(func() { atPace(ctx, func() { _, _ = from.Request(ctx, p, "slow", nil) }) })
	}
	atPace(ctx, func() {
		for range 100 {
			_ = from.Post(ctx, p, m, link.High, nil)
		}
	})
	askers.Wait()
}

// lie sends one peer one lie after another.
func lie(ctx context.Context, from host.Host, p peer.ID) {
	all := slices.Collect(maps.Values(lies))
	next := 0
	atPace(ctx, func() {
		s, err := from.NewStream(ctx, p, link.Protocol)
		if err == nil {
			_, _ = s.Write(all[next%len(all)])
			_ = ended(s)
			_ = s.Reset()
			next++
		}
	})
}
