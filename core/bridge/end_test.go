package bridge_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
)

// soon is far below any timeout that would end the wait without the expected event.
const soon = bridge.DefaultDrain / 10

// writesUntilTold writes to c until that fails, and returns the error.
func writesUntilTold(t testing.TB, c net.Conn) error {
	t.Helper()
	require.NoError(t, c.SetWriteDeadline(time.Now().Add(soon)))
	_, err := io.Copy(c, zeros{})
	return err
}

func TestAWriterIsToldThatNobodyReads(t *testing.T) {
	for name, stop := range map[string]func(c net.Conn){
		"a Func returns":     func(net.Conn) {},
		"a program closes":   func(c net.Conn) { _ = c.Close() },
		"it has read some":   func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 300<<10)) },
		"both halves closed": func(c net.Conn) { _ = c.(*bridge.Conn).CloseRead(); _ = c.(*bridge.Conn).CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			here, there := pair(t, bridge.Timeouts{})
			ends := make(chan struct{})
			defer close(ends)
			listen(t, there, "/x/gone", bridge.Func(func(_ context.Context, c net.Conn) {
				stop(c)
				if name == "both halves closed" {
					<-ends
				}
			}))
			c, err := here.Dial(testContext(t), there.ID(), "/x/gone")
			require.NoError(t, err)
			defer c.Close()
			assert.ErrorIs(t, writesUntilTold(t, c), bridge.PeerReset)
		})
	}
	t.Run("the one who dialled closes", func(t *testing.T) {
		here, there := pair(t, bridge.Timeouts{})
		near, far, stop := dialled(t, here, there, "/x/gone")
		defer stop()
		require.NoError(t, near.Close())
		assert.ErrorIs(t, writesUntilTold(t, far), bridge.PeerReset)
	})
	t.Run("who forwards", func(t *testing.T) {
		here, there := pair(t, bridge.Timeouts{})
		listen(t, there, "/x/gone", bridge.Func(func(context.Context, net.Conn) {}))
		_, dial := forward(t, here, "/x/gone", there.ID())
		require.Error(t, writesUntilTold(t, dial()))
		endedWith(t, here)
	})
}

func TestAWriterIsNotHeldByOneWhoOnlyWrites(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	near, far, stop := dialled(t, here, there, "/x/talk")
	defer stop()
	require.NoError(t, near.CloseRead())
	require.NoError(t, far.SetWriteDeadline(time.Now().Add(soon)))
	_, err := io.Copy(far, io.LimitReader(zeros{}, 1<<20)) // more than any initial window
	require.NoError(t, err)
	_, err = near.Read(make([]byte, 1))
	require.Error(t, err)
	_, err = near.Write([]byte("still heard"))
	require.NoError(t, err)
	got := make([]byte, 11)
	_, err = io.ReadFull(far, got)
	require.NoError(t, err)
	assert.Equal(t, "still heard", string(got))
	require.NoError(t, near.CloseWrite())
	assert.ErrorIs(t, writesUntilTold(t, far), bridge.PeerReset)
	assert.NoError(t, near.Failure())
}

// Data written before the end arrives, although the peer keeps sending.
func TestWhatWasWrittenBeforeTheEndArrives(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	reply := randomBytes(1 << 20)
	listen(t, there, "/x/reply", bridge.Func(func(_ context.Context, c net.Conn) { _, _ = c.Write(reply) }))
	heard := make(chan []byte, 1)
	listen(t, there, "/x/hear", bridge.Func(func(_ context.Context, c net.Conn) {
		all, _ := io.ReadAll(c)
		heard <- all
	}))
	for range 10 {
		c, err := here.Dial(testContext(t), there.ID(), "/x/reply")
		require.NoError(t, err)
		go io.Copy(c, zeros{})
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, sha256.Sum256(reply), sha256.Sum256(got))
		require.NoError(t, c.Close())

		c, err = here.Dial(testContext(t), there.ID(), "/x/hear")
		require.NoError(t, err)
		_, err = c.Write([]byte("no answer is wanted"))
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.Equal(t, "no answer is wanted", string(<-heard))
	}
}

func TestAForwardWhoseTargetEndsFirstEndsWell(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	listen(t, there, "/x/date", bridge.Func(func(_ context.Context, c net.Conn) { _, _ = io.WriteString(c, "today") }))
	_, dial := forward(t, here, "/x/date", there.ID())
	c := dial()
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, "today", string(got))
	require.NoError(t, c.Close())
	assert.Empty(t, endedWith(t, here).Reason)
}

// silentWhy makes a host that resets every stream of /x/a and never gives the reason. asked
// gets a value for each question; sending to refuse resets a stream.
func silentWhy(t testing.TB, n *core.Node) (h host.Host, asked <-chan struct{}, refuse chan<- struct{}) {
	t.Helper()
	h = hosttest.New(t, hosttest.Options{})
	questions, resets, done := make(chan struct{}, 16), make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(done) })
	h.SetStreamHandler("/x/a", func(s network.Stream) {
		select {
		case <-resets:
		case <-done:
		}
		_ = s.Reset()
	})
	h.SetStreamHandler(bridge.Protocol, func(s network.Stream) {
		questions <- struct{}{}
		<-done
		_ = s.Reset()
	})
	require.NoError(t, n.ConnectPeer(testContext(t), hosttest.Info(h)))
	return h, questions, resets
}

func TestAskingWhyEndsWithWhatEndsARead(t *testing.T) {
	read := func(c *bridge.Conn) error { _, err := c.Read(make([]byte, 1)); return err }
	write := func(c *bridge.Conn) error {
		for {
			if _, err := c.Write(make([]byte, 1)); err != nil {
				return err
			}
		}
	}
	closeWrite := func(c *bridge.Conn) error { return c.CloseWrite() }
	past := time.Now().Add(-time.Second)
	for name, test := range map[string]struct {
		do   func(*bridge.Conn) error
		end  func(here *core.Node, c *bridge.Conn) error
		want error
	}{
		"a Read, by Close":                   {read, func(_ *core.Node, c *bridge.Conn) error { return c.Close() }, net.ErrClosed},
		"a Read, by Reset":                   {read, func(_ *core.Node, c *bridge.Conn) error { return c.Reset() }, bridge.ClosedByHand},
		"a Read, by its deadline":            {read, func(_ *core.Node, c *bridge.Conn) error { return c.SetReadDeadline(past) }, context.DeadlineExceeded},
		"a Read, by both deadlines":          {read, func(_ *core.Node, c *bridge.Conn) error { return c.SetDeadline(past) }, context.DeadlineExceeded},
		"a Read, by hand":                    {read, func(n *core.Node, c *bridge.Conn) error { return n.Bridge().CloseStream(c.Info().ID) }, bridge.ClosedByHand},
		"a Read, by the node":                {read, func(n *core.Node, _ *bridge.Conn) error { return n.Bridge().Close() }, bridge.Shutdown},
		"a Write, by Close":                  {write, func(_ *core.Node, c *bridge.Conn) error { return c.Close() }, net.ErrClosed},
		"a Write, by its deadline":           {write, func(_ *core.Node, c *bridge.Conn) error { return c.SetWriteDeadline(past) }, context.DeadlineExceeded},
		"a CloseWrite, by Close":             {closeWrite, func(_ *core.Node, c *bridge.Conn) error { return c.Close() }, net.ErrClosed},
		"a CloseWrite, by its deadline":      {closeWrite, func(_ *core.Node, c *bridge.Conn) error { return c.SetWriteDeadline(past) }, context.DeadlineExceeded},
		"what an owner asks for, by Close":   {func(c *bridge.Conn) error { return c.Explain(network.ErrReset) }, func(_ *core.Node, c *bridge.Conn) error { return c.Close() }, net.ErrClosed},
		"a Read, by a deadline set long ago": {read, nil, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			here := newNode(t, bridge.Timeouts{})
			there, asked, refuse := silentWhy(t, here)
			c, err := here.Dial(testContext(t), there.ID(), "/x/a")
			require.NoError(t, err)
			defer c.Close()
			_, err = c.Write([]byte{1})
			require.NoError(t, err)
			refuse <- struct{}{}
			_, _ = c.Stream.Read(make([]byte, 1)) // the reset has arrived
			if test.end == nil {
				require.NoError(t, c.SetDeadline(time.Now().Add(50*time.Millisecond)))
				assert.ErrorIs(t, test.do(c), test.want)
				return
			}
			ended := make(chan error, 1)
			go func() { ended <- test.do(c) }()
			<-asked
			require.NoError(t, test.end(here, c))
			select {
			case err := <-ended:
				assert.ErrorIs(t, err, test.want)
			case <-time.After(patience):
				t.Fatal("it is still asking")
			}
		})
	}
}

// A deadline that passes while the peer is asked does not end the stream: a later Read gets
// the reason.
func TestAReasonIsHeardAfterADeadlineToo(t *testing.T) {
	n := newNode(t, bridge.Timeouts{})
	asked, answer := make(chan struct{}), make(chan struct{})
	h := liar(t, n, "/x/a", func(s network.Stream) {
		close(asked)
		<-answer
		_, _ = io.WriteString(s, `{"reason":"not allowed"}`)
		_ = s.Close()
	})
	c, err := n.Dial(testContext(t), h.ID(), "/x/a")
	if errors.Is(err, network.ErrReset) {
		t.Skip("the refusal came before the negotiation was over")
	}
	require.NoError(t, err)
	defer c.Close()
	go func() {
		<-asked
		_ = c.SetReadDeadline(time.Now())
	}()
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, c.SetReadDeadline(time.Time{}))
	close(answer)
	_, err = c.Read(make([]byte, 1))
	assert.ErrorIs(t, err, bridge.NotAllowed)
}

func TestCloseDoesNotWaitForAPeerThatNeverAnswers(t *testing.T) {
	for name, reading := range map[string]bool{"nobody reads": false, "a Read is under way": true} {
		t.Run(name, func(t *testing.T) {
			here := newNode(t, bridge.Timeouts{})
			there, release := mute(t, "/x/a")
			defer release()
			require.NoError(t, here.ConnectPeer(testContext(t), hosttest.Info(there)))
			require.NoError(t, here.Host().Peerstore().AddProtocols(there.ID(), "/x/a")) // so that Dial does not wait for the negotiation
			c, err := here.Dial(testContext(t), there.ID(), "/x/a")
			require.NoError(t, err)
			read := make(chan error, 1)
			if reading {
				go func() { _, err := c.Read(make([]byte, 1)); read <- err }()
			} else {
				read <- net.ErrClosed
			}
			begun := time.Now()
			require.NoError(t, c.Close())
			assert.ErrorIs(t, <-read, net.ErrClosed)
			assert.Less(t, time.Since(begun), 8*time.Second, "less than the time after which the peer is given up")
		})
	}
}

// mute makes a host that does not answer streams of a protocol, not even in the
// negotiation, until it is released.
func mute(t testing.TB, proto protocol.ID) (h host.Host, release func()) {
	t.Helper()
	done := make(chan struct{})
	h = hosttest.New(t, hosttest.Options{})
	h.SetStreamHandlerMatch("/x/mute", func(p protocol.ID) bool {
		if p == proto {
			<-done
		}
		return false
	}, func(s network.Stream) { _ = s.Reset() })
	return h, func() { close(done) }
}
