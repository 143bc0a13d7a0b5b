package link_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/message"
)

// lies are bytes that no honest peer sends on a link.
var lies = map[string][]byte{
	"no protobuf":                       {2, 0xff, 0xff},
	"five bytes that claim 4GiB":        {0xff, 0xff, 0xff, 0xff, 0x0f},
	"length that is not a valid length": {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	"one byte beyond the limit":         (&message.Message{Type: "n", Data: make([]byte, message.MaxData+1)}).AppendFrame(nil),
	"an event without a type":           (&message.Message{Data: []byte("x")}).AppendFrame(nil),
	"a type of Tombolo's own":           (&message.Message{Type: "tombolo/x"}).AppendFrame(nil),
	"a pattern for a type":              (&message.Message{Type: "room/*"}).AppendFrame(nil),
	"a request without a type":          (&message.Message{Kind: message.Request}).AppendFrame(nil),
	"an answer that has its own stream": (&message.Message{Kind: message.Reply, ID: message.ID{Seq: 1}}).AppendFrame(nil),
	"an error that has its own stream":  (&message.Message{Kind: message.Error, ID: message.ID{Seq: 1}}).AppendFrame(nil),
	"presence, of broadcasts":           (&message.Message{Kind: message.Here, Type: "n"}).AppendFrame(nil),
	"a kind that is not known":          {2, 0x18, 0x7f},
}

// ended waits until the peer has ended a stream and returns the error, if any.
func ended(s network.Stream) error {
	_, err := io.Copy(io.Discard, s)
	return err
}

func TestLieResetsTheStreamAndTheNodeGoesOn(t *testing.T) {
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *fakeNet) {
				b := n.node(t, "b", link.Options{})
				a := n.node(t, "a", link.Options{})
				n.host("liar")
				s := n.raw(t, "liar", "b")
				_, _ = s.Write(append(event("n", "before").AppendFrame(nil), lie...)) // the write may fail midway
				assert.ErrorIs(t, ended(s), network.ErrReset)
				synctest.Wait()
				stats := b.Stats()
				assert.EqualValues(t, 1, stats.Malformed)
				assert.Zero(t, stats.Streams)
				assert.Equal(t, []string{"before"}, b.texts(), "what came before is kept, what is wrong never arrives")
				require.NoError(t, a.Send(t.Context(), "b", event("n", "after"), link.Normal))
				synctest.Wait()
				assert.Equal(t, []string{"before", "after"}, b.texts())
			})
		})
	}
}

func TestPeerThatLiesAgainAndAgainIsRefusedForAWhile(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		b := n.node(t, "b", link.Options{})
		n.host("liar")
		lie := func() {
			s := n.raw(t, "liar", "b")
			_, _ = s.Write(lies["no protobuf"])
			assert.ErrorIs(t, ended(s), network.ErrReset)
			synctest.Wait()
		}
		for i := range 3 {
			lie()
			assert.EqualValues(t, i+1, b.Stats().Malformed)
		}
		lie()
		assert.EqualValues(t, 3, b.Stats().Malformed, "not even read")
		assert.EqualValues(t, 1, b.Stats().Refused)

		time.Sleep(10 * time.Second)
		s := n.raw(t, "liar", "b")
		_, err := s.Write(event("n", "true").AppendFrame(nil))
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, []string{"true"}, b.texts(), "after a while it gets another chance")
		lie()
		assert.EqualValues(t, 4, b.Stats().Malformed)
		time.Sleep(19 * time.Second)
		lie()
		assert.EqualValues(t, 2, b.Stats().Refused, "which is longer each time")
		_ = s.Close()
	})
}

func TestUnknownFieldsPass(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		b := n.node(t, "b", link.Options{})
		n.host("later")
		s := n.raw(t, "later", "b")
		frame := append(event("n", "hello").Append(nil), 0x78, 1, 0xa2, 0x06, 3, 'n', 'e', 'w')
		_, err := s.Write(append([]byte{byte(len(frame))}, frame...))
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, []string{"hello"}, b.texts())
		assert.Zero(t, b.Stats().Malformed)
		_ = s.Close()
	})
}

func TestFrameThatClaimsTooMuchIsRefusedBeforeMemoryIsTakenForIt(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		b := n.node(t, "b", link.Options{MaxData: 900 << 20})
		n.host("liar")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		over := n.raw(t, "liar", "b")
		_, err := over.Write([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
		require.NoError(t, err)
		within := n.raw(t, "liar", "b") // memory is taken for the data sent, not for the length claimed
		_, err = within.Write([]byte{0x80, 0x80, 0x80, 0x80, 0x03, 1, 2, 3})
		require.NoError(t, err)
		synctest.Wait()
		runtime.ReadMemStats(&after)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20))
		assert.EqualValues(t, 1, b.Stats().Malformed)
		_ = within.Reset()
	})
}

func TestStreamsOfOnePeerAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		b := n.node(t, "b", link.Options{})
		a := n.node(t, "a", link.Options{})
		n.host("many")
		var all []network.Stream
		for range 10 {
			all = append(all, n.raw(t, "many", "b"))
			synctest.Wait()
		}
		assert.Equal(t, 4, b.Stats().Streams)
		assert.EqualValues(t, 6, b.Stats().Refused)
		require.NoError(t, a.Send(t.Context(), "b", event("n", "x"), link.Normal))
		synctest.Wait()
		assert.Len(t, b.messages(), 1, "the streams of others still work")
		for _, s := range all {
			_ = s.Reset()
		}
	})
}

func TestDeliverThatBlocksPushesBackOnItsSenderOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		release := make(chan struct{})
		var b *node
		b = n.node(t, "b", link.Options{Deliver: func(ctx context.Context, m *message.Message) {
			if string(m.Data[:1]) == "s" {
				select {
				case <-release:
				case <-ctx.Done():
				}
			}
			b.keep(ctx, m)
		}})
		stopped := n.node(t, "stopped", link.Options{QueueMessages: 10})
		free := n.node(t, "free", link.Options{})
		payload := strings.Repeat("s", 50<<10)
		taken := 0
		for stopped.Post(t.Context(), "b", event("n", payload), link.Normal, nil) == nil {
			synctest.Wait()
			require.Less(t, taken, 100)
			taken++
		}
		for i := range 500 {
			require.NoError(t, free.Send(t.Context(), "b", event("n", fmt.Sprint(i)), link.Normal))
		}
		synctest.Wait()
		assert.Len(t, b.messages(), 500, "of the other sender")
		assert.EqualValues(t, 1, stopped.Stats().Unsent.QueueFull)
		close(release)
		synctest.Wait()
		assert.Len(t, b.messages(), 500+taken, "no accepted message is lost")
		assert.Zero(t, stopped.Stats().Unsent.Lost)
	})
}

func TestFrameThatDoesNotGoOnResetsTheStream(t *testing.T) {
	frame := event("n", strings.Repeat("x", 300_000)).AppendFrame(nil)
	for name, c := range map[string]struct {
		begin int // bytes sent at once
		drip  int // bytes sent each second after that
		stuck bool
	}{
		"nothing at all":              {0, 0, false},
		"a part of the length":        {1, 0, true},
		"a part of the frame":         {1000, 0, true},
		"all but a byte":              {len(frame) - 1, 0, true},
		"a byte now and then":         {1, 1, true},
		"whole":                       {len(frame), 0, false},
		"slow but not that slow":      {1, 10_000, false},
		"whole and one that is begun": {len(frame) + 1, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *fakeNet) {
				b := n.node(t, "b", link.Options{})
				n.host("slow")
				s := n.raw(t, "slow", "b")
				stream := append(frame[:len(frame):len(frame)], frame[0])
				if c.begin <= len(frame) {
					stream = frame
				}
				_, err := s.Write(stream[:c.begin])
				require.NoError(t, err)
				rest := stream[c.begin:]
				for range 90 {
					time.Sleep(time.Second)
					some := min(c.drip, len(rest))
					if _, err = s.Write(rest[:some]); err != nil {
						break
					}
					rest = rest[some:]
				}
				synctest.Wait()
				if c.stuck {
					assert.EqualValues(t, 1, b.Stats().Stalled)
					assert.Zero(t, b.Stats().Streams)
					assert.Zero(t, b.Stats().Malformed, "the cause may be its network")
				} else {
					assert.Zero(t, b.Stats().Stalled)
					assert.Equal(t, 1, b.Stats().Streams)
				}
				_ = s.Reset()
			})
		})
	}
}

func TestHandlerThatTakesLongIsNoStall(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		var b *node
		b = n.node(t, "b", link.Options{Deliver: func(ctx context.Context, m *message.Message) {
			time.Sleep(time.Hour)
			b.keep(ctx, m)
		}})
		n.host("a")
		s := n.raw(t, "a", "b")
		_, err := s.Write(append(event("n", "1").AppendFrame(nil), event("n", "2").AppendFrame(nil)...))
		require.NoError(t, err)
		time.Sleep(3 * time.Hour)
		assert.Equal(t, []string{"1", "2"}, b.texts())
		assert.Zero(t, b.Stats().Stalled)
		_ = s.Close()
	})
}

// Before a peer has proved its identity, nothing that it sends reaches links, and a silent
// stream takes almost no memory.
func TestNothingIsBufferedBeforeTheHandshake(t *testing.T) {
	b := newNode(t, link.Options{})
	for range 20 {
		addr, err := manet.ToNetAddr(b.host.Addrs()[0])
		require.NoError(t, err)
		c, err := net.Dial("tcp", addr.String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		_, _ = c.Write(event("n", "x").AppendFrame(nil))
	}
	a := newNode(t, link.Options{})
	know(a, b)
	require.NoError(t, a.Send(t.Context(), b.id(), event("n", "honest"), link.Normal))
	b.wait(t, 1)
	assert.Equal(t, []string{"honest"}, b.texts())
	assert.Equal(t, 1, b.Stats().Streams)
	assert.Zero(t, b.Stats().Malformed)
}

// The lies again, over a real connection: the connection stays open, and so do the streams
// of other peers and other protocols.
func TestRealLieResetsTheStreamAndNotTheConnection(t *testing.T) {
	b := newNode(t, link.Options{})
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			liar := hosttest.New(t, hosttest.Options{})
			require.NoError(t, liar.Connect(t.Context(), hosttest.Info(b.host)))
			s, err := liar.NewStream(t.Context(), b.id(), link.Protocol)
			require.NoError(t, err)
			before := b.Stats().Malformed
			_, _ = s.Write(lie) // the peer may reset the stream midway
			eventually(t, func() bool { return b.Stats().Malformed == before+1 }, "it is counted")
			assert.Error(t, ended(s))
			assert.Len(t, liar.Network().ConnsToPeer(b.id()), 1)
			s, err = liar.NewStream(t.Context(), b.id(), link.Protocol)
			require.NoError(t, err)
			_, err = s.Write(event("n", name).AppendFrame(nil))
			require.NoError(t, err)
			eventually(t, func() bool { texts := b.texts(); return len(texts) > 0 && texts[len(texts)-1] == name }, "another stream is read")
		})
	}
}
