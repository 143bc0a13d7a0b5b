package link_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/message"
)

// request returns the frame of a request as a peer writes it.
func request(seq uint64, typ string) []byte {
	m := message.Message{Kind: message.Request, Type: typ, ID: message.ID{Seq: seq}, Timeout: 24 * time.Hour}
	return m.AppendFrame(nil)
}

func reply(seq uint64, text string) []byte {
	return (&message.Message{Kind: message.Reply, ID: message.ID{Seq: seq}, Data: []byte(text)}).AppendFrame(nil)
}

// ask makes a request in the background and returns a function that waits for its outcome.
func ask(t *testing.T, from *node, to peer.ID) (outcome func() (string, error)) {
	var text string
	var err error
	var asking sync.WaitGroup
	asking.Go(func() {
		var m *message.Message
		if m, err = from.Request(t.Context(), to, "stat", nil); err == nil {
			text = string(m.Data)
		}
	})
	synctest.Wait()
	return func() (string, error) {
		asking.Wait()
		return text, err
	}
}

func TestAnswersComeWhileEventsOfTheirPeerAreHeldBack(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		var b *node
		b = n.node(t, "b", link.Options{Deliver: func(ctx context.Context, m *message.Message) {
			_, err := b.Request(ctx, m.From, "stat", m.Data) // meanwhile, nothing is read from the sender's stream
			assert.NoError(t, err)
			b.keep(ctx, m)
		}})
		a := n.node(t, "a", link.Options{})
		respond(t, a, "stat", echo)
		payload := strings.Repeat("x", 50<<10)
		for range 20 { // more than the stream holds
			require.NoError(t, a.Post(t.Context(), "b", event("n", payload), link.Normal, nil))
		}
		synctest.Wait()
		assert.Len(t, b.messages(), 20)
	})
}

func TestPeerThatAsksAndEndsItsSideIsStillAnswered(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		b := n.node(t, "b", link.Options{})
		release := make(chan struct{})
		respond(t, b, "stat", func(context.Context, *message.Message) ([]byte, error) { <-release; return []byte("late"), nil })
		n.host("a")
		s := n.raw(t, "a", "b")
		for i := range uint64(3) {
			_, err := s.Write(request(i+1, "stat"))
			require.NoError(t, err)
		}
		_, err := s.Write(request(4, "nobody"))
		require.NoError(t, err)
		require.NoError(t, s.CloseWrite())
		synctest.Wait()
		assert.Equal(t, 3, b.Stats().Serving.Handlers.Running)
		close(release)
		answered := make(map[uint64]message.Kind)
		r := message.NewReader(s, 0)
		for {
			m, err := r.Next()
			if err != nil {
				assert.Equal(t, io.EOF, err, "and then the other side ends, too")
				break
			}
			answered[m.ID.Seq] = m.Kind
		}
		assert.Equal(t, map[uint64]message.Kind{1: message.Reply, 2: message.Reply, 3: message.Reply, 4: message.Error}, answered)
		synctest.Wait()
		assert.Zero(t, b.Stats().Streams)
		assert.Zero(t, b.Stats().Serving.Unreplied)
		_ = s.Close()
	})
}

// unread makes a peer that requests more than its stream holds and reads nothing. It
// returns the peer's end of the stream.
func unread(t *testing.T, n *fakeNet, b *node) network.Stream {
	respond(t, b, "stat", func(context.Context, *message.Message) ([]byte, error) { return make([]byte, 2*window), nil })
	n.deaf("asker")
	s := n.raw(t, "asker", "b")
	for i := range uint64(50) {
		_, err := s.Write(request(i+1, "stat"))
		require.NoError(t, err)
		synctest.Wait()
	}
	return s
}

func TestPeerThatAsksAndDoesNotReadIsAnsweredInBoundedMemory(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		b := n.node(t, "b", link.Options{PeerRequests: 4})
		s := unread(t, n, b)
		stats := b.Stats()
		assert.EqualValues(t, 5, stats.Serving.Served, "one answer is being written, and four wait")
		assert.EqualValues(t, 45, stats.Serving.Busy)
		assert.Less(t, stats.Serving.Queued.Bytes, 10*window)
		assert.Zero(t, stats.Serving.Handlers.Running, "no handler waits for it")
		a := n.node(t, "a", link.Options{})
		for range 10 {
			_, err := a.Request(t.Context(), "b", "stat", nil)
			require.NoError(t, err, "others are answered")
		}
		_ = s.Reset()
		synctest.Wait()
		assert.EqualValues(t, 50, b.Stats().Serving.Unreplied, "none is lost uncounted")
		assert.Zero(t, b.Stats().Serving.Queued)
	})
}

func TestPeerThatDoesNotReadItsAnswersIsReadAndThenLosesTheStream(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		b := n.node(t, "b", link.Options{PeerRequests: 4})
		s := unread(t, n, b)
		_, err := s.Write(event("n", "hello").AppendFrame(nil))
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, []string{"hello"}, b.texts(), "its events arrive meanwhile")
		time.Sleep(link.DefaultStallTimeout + link.DefaultStallTimeout/2)
		assert.EqualValues(t, 1, b.Stats().Stalled)
		assert.Zero(t, b.Stats().Streams)
		assert.Zero(t, b.Stats().Malformed, "the cause may be its network")
		assert.EqualValues(t, 50, b.Stats().Serving.Unreplied)
		assert.ErrorIs(t, ended(s), network.ErrReset, "and it sees the reset")
	})
}

func TestPeerThatReadsItsAnswersSlowlyGetsThemAll(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		b := n.node(t, "b", link.Options{})
		s := unread(t, n, b)
		r := message.NewReader(slowly{s}, 0)
		for range 50 {
			m, err := r.Next()
			require.NoError(t, err)
			require.Len(t, m.Data, 2*window)
		}
		assert.Zero(t, b.Stats().Stalled)
		_ = s.Close()
	})
}

// slowly is a slow reader, but fast enough to read 64 KiB within the limit.
type slowly struct{ io.Reader }

func (s slowly) Read(b []byte) (int, error) {
	time.Sleep(time.Second)
	return s.Reader.Read(b[:min(len(b), 3<<10)])
}

func TestRefusalsThatAreNotReadEndTheStreamRatherThanGrow(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		b := n.node(t, "b", link.Options{QueueBytes: 10_000})
		n.deaf("asker")
		s := n.raw(t, "asker", "b")
		var err error
		var asked uint64
		for ; err == nil && asked < 20_000; asked++ {
			_, err = s.Write(request(asked+1, "nobody"))
			synctest.Wait()
			require.LessOrEqual(t, b.Stats().Serving.Queued.Bytes, 10_000)
		}
		assert.ErrorIs(t, err, network.ErrReset)
		assert.Zero(t, b.Stats().Streams)
		stats := b.Stats().Serving
		assert.Positive(t, stats.Unreplied)
		assert.Zero(t, stats.Queued)
	})
}

func TestAnswersThatNobodyAskedForAreCountedAndNothingElse(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a := n.node(t, "a", link.Options{})
		b := n.deaf("b")
		outcome := ask(t, a, "b")
		s := <-b.streams
		asked, err := message.NewReader(s, 0).Next()
		require.NoError(t, err)
		for i := range uint64(100) {
			for _, kind := range []message.Kind{message.Reply, message.Error} {
				_, err := s.Write((&message.Message{Kind: kind, ID: message.ID{Seq: i + 1}}).AppendFrame(nil))
				require.NoError(t, err)
			}
		}
		for range 2 { // the second is a stray
			_, err = s.Write(reply(asked.ID.Seq, "true"))
			require.NoError(t, err)
		}
		text, err := outcome()
		require.NoError(t, err)
		assert.Equal(t, "true", text)
		synctest.Wait()
		assert.EqualValues(t, 201, a.Stats().Requests.Strays)
		assert.Zero(t, a.Stats().Malformed)
		assert.Equal(t, 1, a.Stats().Links)
	})
}

// Only the peer that was asked can answer a request, and only on the same stream.
func TestOneCannotAnswerForAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a := n.node(t, "a", link.Options{})
		b, liar := n.deaf("b"), n.deaf("liar")
		outcome := ask(t, a, "b")
		s := <-b.streams
		asked, err := message.NewReader(s, 0).Next()
		require.NoError(t, err)
		require.NoError(t, a.Send(t.Context(), "liar", event("n", "x"), link.Normal))
		_, err = (<-liar.streams).Write(reply(asked.ID.Seq, "of one who was not asked"))
		require.NoError(t, err)
		synctest.Wait()
		assert.EqualValues(t, 1, a.Stats().Requests.Strays)
		for i, from := range []peer.ID{"liar", "b"} {
			other := n.raw(t, from, "a")
			_, err = other.Write(reply(asked.ID.Seq, "on another stream"))
			require.NoError(t, err)
			synctest.Wait()
			assert.EqualValues(t, i+1, a.Stats().Malformed)
		}
		_, err = s.Write(reply(asked.ID.Seq, "of b"))
		require.NoError(t, err)
		text, err := outcome()
		require.NoError(t, err)
		assert.Equal(t, "of b", text)
	})
}

func TestNothingButAnswersComesBackOnALink(t *testing.T) {
	for name, frame := range map[string][]byte{
		"an event":      event("n", "x").AppendFrame(nil),
		"a request":     request(1, "stat"),
		"a cancel":      (&message.Message{Kind: message.Cancel, ID: message.ID{Seq: 1}}).AppendFrame(nil),
		"presence":      (&message.Message{Kind: message.Here, Type: "n"}).AppendFrame(nil),
		"no protobuf":   lies["no protobuf"],
		"far too much":  lies["five bytes that claim 4GiB"],
		"a byte beyond": (&message.Message{Kind: message.Reply, Data: make([]byte, message.MaxData+1)}).AppendFrame(nil),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *fakeNet) {
				a := n.node(t, "a", link.Options{})
				respond(t, a, "stat", echo)
				b := n.deaf("b")
				for i := range 4 {
					outcome := ask(t, a, "b")
					_, _ = (<-b.streams).Write(frame) // the write may fail midway
					_, err := outcome()
					assert.ErrorIs(t, err, link.ErrLost)
					assert.EqualValues(t, i+1, a.Stats().Malformed)
				}
				synctest.Wait()
				assert.Zero(t, a.Stats().Links)
				assert.Zero(t, a.Stats().Serving.Served)
				assert.Zero(t, a.host.(*fakeHost).live())
				assert.Empty(t, a.messages())
				_ = n.raw(t, "b", "a")
				synctest.Wait()
				assert.EqualValues(t, 1, a.Stats().Refused, "what it sends is refused for a while")
			})
		})
	}
}

func TestAnswerThatDoesNotGoOnLosesTheLink(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a := n.node(t, "a", link.Options{})
		b := n.deaf("b")
		outcome := ask(t, a, "b")
		start := time.Now()
		_, err := (<-b.streams).Write(reply(1, "begun")[:4])
		require.NoError(t, err)
		_, err = outcome()
		assert.ErrorIs(t, err, link.ErrLost)
		assert.Less(t, time.Since(start), 2*link.DefaultStallTimeout)
		synctest.Wait()
		assert.EqualValues(t, 1, a.Stats().Stalled)
		assert.Zero(t, a.Stats().Links)
	})
}

func TestHandlersEndWithTheStreamOfTheirRequests(t *testing.T) {
	for name, end := range map[string]func(s network.Stream, b *node){
		"the peer resets it":   func(s network.Stream, _ *node) { _ = s.Reset() },
		"the connection ends":  func(_ network.Stream, b *node) { b.host.(*fakeHost).disconnect("a") },
		"the peer breaks them": func(s network.Stream, _ *node) { _, _ = s.Write(lies["no protobuf"]) },
		"the node closes":      func(_ network.Stream, b *node) { assert.NoError(t, b.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *fakeNet) {
				b := n.node(t, "b", link.Options{})
				told := make(chan error, 1)
				respond(t, b, "stat", untilItsEnd(told))
				n.deaf("a")
				s, other := n.raw(t, "a", "b"), n.raw(t, "a", "b")
				_, err := s.Write(request(1, "stat"))
				require.NoError(t, err)
				synctest.Wait()
				end(s, b)
				assert.ErrorIs(t, <-told, context.Canceled)
				synctest.Wait()
				assert.Zero(t, b.Stats().Serving.Handlers.Running)
				_ = other.Reset()
			})
		})
	}
}

func TestHandlerEndsWithTheConnectionWhileItsReaderIsHeldBack(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		b := n.node(t, "b", link.Options{Deliver: func(ctx context.Context, _ *message.Message) { <-ctx.Done() }})
		told := make(chan error, 1)
		respond(t, b, "stat", untilItsEnd(told))
		n.deaf("a")
		_, err := n.raw(t, "a", "b").Write(append(request(1, "stat"), event("n", "x").AppendFrame(nil)...))
		require.NoError(t, err)
		synctest.Wait()
		b.host.(*fakeHost).disconnect("a")
		assert.ErrorIs(t, <-told, context.Canceled)
	})
}

func TestCloseDoesNotTakeBackAnAnswerThatWasWritten(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		b := n.node(t, "b", link.Options{})
		respond(t, b, "stat", echo)
		n.deaf("a")
		s := n.raw(t, "a", "b")
		_, err := s.Write(request(1, "stat"))
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, b.Close())
		r := message.NewReader(s, 0)
		m, err := r.Next()
		require.NoError(t, err)
		assert.Equal(t, "re: ", string(m.Data))
		_, err = r.Next()
		assert.Equal(t, io.EOF, err)
	})
}

func TestIdleLinkLosesNoAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet) {
		a := n.node(t, "a", link.Options{IdleTimeout: 10 * time.Millisecond})
		b := n.node(t, "b", link.Options{})
		respond(t, b, "stat", func(_ context.Context, m *message.Message) ([]byte, error) {
			time.Sleep(12 * time.Millisecond)
			return m.Data, nil
		})
		for i := range 200 {
			m, err := a.Request(t.Context(), "b", "stat", fmt.Append(nil, i))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(i), string(m.Data))
			time.Sleep(time.Duration(i%20) * time.Millisecond)
		}
		assert.Greater(t, n.opened(), 10)
	})
}

// Both peers keep making requests to each other while their events are held back.
func TestRealAnswersComeWhileEventsAreHeldBack(t *testing.T) {
	var b *node
	b = newNode(t, link.Options{Deliver: func(ctx context.Context, m *message.Message) {
		_, err := b.Request(ctx, m.From, "stat", m.Data)
		assert.NoError(t, err)
		b.keep(ctx, m)
	}})
	a := newNode(t, link.Options{})
	know(a, b)
	respond(t, a, "stat", echo)
	for i := range 100 {
		require.NoError(t, a.Post(t.Context(), b.id(), event("n", strings.Repeat("x", i<<9)), link.Normal, nil))
	}
	b.wait(t, 100)
	assert.Equal(t, 1, b.Stats().Links)
	assert.EqualValues(t, 100, a.Stats().Serving.Served)
}
