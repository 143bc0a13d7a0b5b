package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
)

// watch returns the changes of a bridge from now on.
func watch(t testing.TB, n *core.Node) <-chan bridge.Change {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan bridge.Change)
	var done sync.WaitGroup
	t.Cleanup(func() { cancel(); done.Wait() })
	done.Go(func() {
		for c := range n.Bridge().Watch(ctx) {
			select {
			case changes <- c:
			case <-ctx.Done():
				return
			}
		}
	})
	// Once a change has been seen, the watch is active; later changes are the test's.
	for i := 0; ; i++ {
		probe := protocol.ID(fmt.Sprintf("/x/probe%d", i))
		require.NoError(t, listen(t, n, probe, echo).Close())
		select {
		case c := <-changes:
			for c.Action != bridge.Removed || c.Listener.Protocol != probe {
				c = nextChange(t, changes)
			}
			return changes
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func nextChange(t testing.TB, changes <-chan bridge.Change) bridge.Change {
	t.Helper()
	select {
	case c := <-changes:
		return c
	case <-time.After(patience):
		t.Fatal("no change came")
		return bridge.Change{}
	}
}

func TestAWatchTellsWhatComesChangesAndGoes(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	changes := watch(t, there)
	l := listen(t, there, "/x/echo", echo)
	c := nextChange(t, changes)
	assert.Equal(t, bridge.Added, c.Action)
	assert.Equal(t, l.Info(), *c.Listener)
	require.NoError(t, l.Update(func(a *bridge.Access, _ *bridge.Limits) { a.Allow = []peer.ID{here.ID()} }))
	c = nextChange(t, changes)
	assert.Equal(t, bridge.Changed, c.Action)
	assert.Equal(t, []peer.ID{here.ID()}, c.Listener.Access.Allow)

	conn, err := here.Dial(testContext(t), there.ID(), "/x/echo")
	require.NoError(t, err)
	assertEchoes(t, conn)
	c = nextChange(t, changes)
	assert.Equal(t, bridge.Added, c.Action)
	assert.Equal(t, protocol.ID("/x/echo"), c.Stream.Protocol)
	require.NoError(t, conn.Close())
	c = nextChange(t, changes)
	assert.Equal(t, bridge.Removed, c.Action)
	assert.EqualValues(t, 1, c.Stream.Received)

	from := newPipeAcceptor()
	f, err := there.Forward(t.Context(), "/x/none", from, here.ID())
	require.NoError(t, err)
	c = nextChange(t, changes)
	assert.Equal(t, bridge.Added, c.Action)
	assert.Equal(t, f.ID(), c.Forward.ID)
	_, err = io.ReadAll(from.dial())
	require.Error(t, err)
	for c = nextChange(t, changes); c.Forward == nil; { // skip the changes of the stream that failed
		c = nextChange(t, changes)
	}
	assert.Equal(t, bridge.Changed, c.Action)
	assert.Equal(t, bridge.NoSuchProtocol, c.Forward.Reason)
	require.NoError(t, f.Close())
	require.NoError(t, l.Close())
	for _, want := range []bool{true, false} {
		c = nextChange(t, changes)
		assert.Equal(t, bridge.Removed, c.Action)
		assert.Equal(t, want, c.Forward != nil)
	}
	assert.ErrorIs(t, l.Update(func(*bridge.Access, *bridge.Limits) {}), net.ErrClosed, "a closed listener cannot be updated")
}

func TestASlowWatcherIsToldHowMuchItMissed(t *testing.T) {
	n := newNode(t, bridge.Timeouts{})
	changes := watch(t, n)
	l := listen(t, n, "/x/echo", echo)
	const updates = 1000
	for i := range updates {
		require.NoError(t, l.Update(func(_ *bridge.Access, m *bridge.Limits) { m.Streams = i + 1 }))
	}
	told, missed := 0, 0
	for {
		c := nextChange(t, changes)
		if c.Missed > 0 {
			missed += c.Missed
			assert.Nil(t, c.Listener)
			continue
		}
		told++
		if c.Listener.Limits.Streams == updates {
			break
		}
	}
	assert.Positive(t, missed)
	assert.Equal(t, updates+1, told+missed, "each change is delivered or counted as missed")
}

func TestTheLastStreamsAreRememberedInOrder(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	listen(t, there, "/x/echo", echo)
	const all = bridge.History + 50
	for range all {
		c, err := here.Dial(testContext(t), there.ID(), "/x/echo")
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	ended := here.Bridge().Ended()
	require.Len(t, ended, bridge.History)
	for i, s := range ended {
		require.EqualValues(t, 50+i, s.ID)
	}
	ended[0].ID = 12345
	assert.EqualValues(t, 50, here.Bridge().Ended()[0].ID, "what is handed out is a copy")
	stats := here.Bridge().Stats()
	assert.EqualValues(t, all, stats.Opened)
	assert.EqualValues(t, all, stats.Ended[""])
}

func TestAStreamTellsWhatItIs(t *testing.T) {
	here, there, from, dialled := pipes(t, bridge.Timeouts{})
	before := time.Now()
	client, target := joined(t, from, dialled)
	go target.Write(make([]byte, 1000))
	_, err := io.ReadFull(client, make([]byte, 1000))
	require.NoError(t, err)
	eventually(t, func() bool {
		return here.Bridge().Streams()[0].Received == 1000 && there.Bridge().Streams()[0].Sent == 1000
	})
	ours, theirs := here.Bridge().Streams()[0], there.Bridge().Streams()[0]
	assert.False(t, ours.Inbound)
	assert.True(t, theirs.Inbound)
	assert.Equal(t, []string{"pipe", "/p2p/" + there.ID().String()}, []string{ours.Origin, ours.Target})
	assert.Equal(t, []string{"/p2p/" + here.ID().String(), "pipe"}, []string{theirs.Origin, theirs.Target})
	for s, other := range map[*bridge.StreamInfo]*core.Node{&ours: there, &theirs: here} {
		assert.Equal(t, protocol.ID("/x/pipe"), s.Protocol)
		assert.Equal(t, other.ID(), s.Peer)
		assert.Equal(t, "tcp", s.Transport)
		assert.Empty(t, s.Relay)
		assert.False(t, s.Opened.Before(before.Truncate(0)))
		assert.False(t, s.LastActive.Before(s.Opened.Truncate(0)))
		assert.True(t, s.Ended.IsZero())
		assert.EqualValues(t, 1001, s.Sent+s.Received)
	}
	require.NoError(t, client.Close())
	require.NoError(t, target.Close())
	last := endedWith(t, here)
	assert.False(t, last.Ended.Before(last.LastActive.Truncate(0)))
}

func TestSnapshotsDoNotReachTheRegistry(t *testing.T) {
	n := newNode(t, bridge.Timeouts{})
	mine := []peer.ID{newID(t), newID(t)}
	l := listen(t, n, "/x/echo", echo, bridge.Allow(mine...))
	want := l.Info()
	n.Bridge().Listeners()[0].Access.Allow[0] = "changed"
	assert.Equal(t, want, l.Info())
	given := []peer.ID{mine[1]}
	require.NoError(t, l.Update(func(a *bridge.Access, _ *bridge.Limits) { a.Deny = given }))
	given[0] = "changed"
	assert.Equal(t, mine[1], l.Info().Access.Deny[0])
}

func TestARegistryIsNotPoisonedByAPanic(t *testing.T) {
	n := newNode(t, bridge.Timeouts{})
	l := listen(t, n, "/x/echo", echo)
	assert.Panics(t, func() { _ = l.Update(func(*bridge.Access, *bridge.Limits) { panic("on purpose") }) })
	assert.Len(t, n.Bridge().Listeners(), 1)
	require.NoError(t, l.Update(func(_ *bridge.Access, m *bridge.Limits) { m.Streams = 3 }))
	assert.Equal(t, 3, l.Info().Limits.Streams)
	assert.NoError(t, l.Close())
}

func TestAListenerClosedWhileItIsMadeIsGone(t *testing.T) {
	var b *bridge.Bridge
	h := hosttest.New(t, hosttest.Options{})
	b, err := bridge.New(bridge.Options{
		Host: h,
		Handle: func(proto protocol.ID, _ network.StreamHandler) (func(), error) {
			switch proto {
			case "/x/closed":
				if l, ok := b.Listener(proto); ok {
					_ = l.Close()
				}
			case "/x/taken":
				return nil, errors.New("taken")
			}
			return func() {}, nil
		},
	})
	require.NoError(t, err)
	defer b.Close()
	for _, proto := range []protocol.ID{"/x/closed", "/x/taken"} {
		_, err = b.Listen(proto, echo)
		assert.Error(t, err)
		_, ok := b.Listener(proto)
		assert.False(t, ok)
	}
}

func TestTheRegistryTakesAllAtOnce(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	listen(t, there, "/x/echo", echo)
	var all sync.WaitGroup
	var opened atomic.Int32
	stop := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for range 50 {
				c, err := here.Dial(t.Context(), there.ID(), "/x/echo")
				if err != nil { // ended by the others, before the protocol was negotiated
					assert.ErrorIs(t, err, bridge.ClosedByHand)
					continue
				}
				opened.Add(1)
				_, _ = c.Write([]byte{1})
				if rand.N(2) == 0 {
					_ = c.Reset()
				}
				_ = c.Close()
			}
		})
	}
	var busy sync.WaitGroup
	for i := range 2 {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, n := range []*core.Node{here, there} {
					n.Bridge().Listeners()
					n.Bridge().Forwards()
					n.Bridge().Ended()
					n.Bridge().Stats()
					for _, s := range n.Bridge().Streams() {
						_ = n.Bridge().CloseStream(s.ID)
					}
				}
				if l, err := there.Listen(t.Context(), protocol.ID(fmt.Sprintf("/x/other%d", i)), echo); assert.NoError(t, err) {
					_ = l.Update(func(a *bridge.Access, _ *bridge.Limits) { a.Deny = append(a.Deny, here.ID()) })
					_ = l.Close()
				}
			}
		})
	}
	all.Wait()
	close(stop)
	busy.Wait()
	eventually(t, func() bool { return len(here.Bridge().Streams()) == 0 && len(there.Bridge().Streams()) == 0 })
	stats := here.Bridge().Stats()
	assert.EqualValues(t, opened.Load(), stats.Opened)
	l, _ := there.Bridge().Listener("/x/echo")
	eventually(t, func() bool { return l.Info().Live == 0 })
}
