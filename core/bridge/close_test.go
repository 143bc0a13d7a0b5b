package bridge_test

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
)

func TestCloseEndsAllAndWaits(t *testing.T) {
	here, there, from, dialled := pipes(t, bridge.Timeouts{})
	var serving atomic.Int32
	listen(t, there, "/x/func", bridge.Func(func(ctx context.Context, c net.Conn) {
		serving.Add(1)
		defer serving.Add(-1)
		<-ctx.Done()
	}))
	client, target := joined(t, from, dialled)
	conn, err := here.Dial(testContext(t), there.ID(), "/x/func")
	require.NoError(t, err)
	_, err = conn.Write([]byte{1})
	require.NoError(t, err)
	eventually(t, func() bool { return serving.Load() == 1 })
	var watching sync.WaitGroup
	watching.Go(func() {
		for range there.Bridge().Watch(context.Background()) {
		}
	})
	for range 2 {
		require.NoError(t, there.Bridge().Close())
	}
	watching.Wait()
	assert.Zero(t, serving.Load(), "Close waits for a Func")
	_, err = target.Read(make([]byte, 1))
	assert.ErrorIs(t, err, errPipeReset)
	_, err = client.Read(make([]byte, 1))
	assert.ErrorIs(t, err, errPipeReset)
	_, err = conn.Read(make([]byte, 1))
	assert.Error(t, err)
	assert.NotEqual(t, io.EOF, err)
	assert.NoError(t, conn.Close())
	for _, s := range there.Bridge().Ended() {
		assert.Equal(t, bridge.Shutdown, s.Reason)
	}
	assert.Empty(t, there.Bridge().Streams())
	assert.Empty(t, there.Bridge().Listeners())

	// From then on, every call fails.
	_, err = there.Listen(t.Context(), "/x/new", echo)
	assert.ErrorIs(t, err, bridge.ErrClosed)
	_, err = there.Forward(t.Context(), "/x/new", newPipeAcceptor(), here.ID())
	assert.ErrorIs(t, err, bridge.ErrClosed)
	_, err = there.Dial(testContext(t), here.ID(), "/x/new")
	assert.ErrorIs(t, err, bridge.ErrClosed)
}

func TestCloseEndsAForwardAndItsAcceptor(t *testing.T) {
	here, _, from, dialled := pipes(t, bridge.Timeouts{})
	client, _ := joined(t, from, dialled)
	require.NoError(t, here.Bridge().Close())
	_, err := from.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
	_, err = client.Read(make([]byte, 1))
	assert.ErrorIs(t, err, errPipeReset)
}

// slowOpen returns a bridge whose Open blocks until its ctx ends.
func slowOpen(t testing.TB) (b *bridge.Bridge, opening <-chan struct{}) {
	started := make(chan struct{}, 16)
	b, err := bridge.New(bridge.Options{
		Host:   hosttest.New(t, hosttest.Options{}),
		Handle: func(protocol.ID, network.StreamHandler) (func(), error) { return func() {}, nil },
		Open: func(ctx context.Context, _ peer.ID, _ protocol.ID) (network.Stream, error) {
			started <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		},
	})
	require.NoError(t, err)
	return b, started
}

func TestCloseEndsADialUnderWay(t *testing.T) {
	b, opening := slowOpen(t)
	failed := make(chan error, 1)
	go func() {
		_, err := b.Dial(t.Context(), newID(t), "/x/a", "test")
		failed <- err
	}()
	<-opening
	from := newPipeAcceptor()
	f, err := b.Forward("/x/a", from, newID(t))
	require.NoError(t, err)
	client := from.dial()
	<-opening
	require.NoError(t, b.Close())
	err = <-failed
	assert.ErrorIs(t, err, bridge.ErrClosed)
	assert.ErrorIs(t, err, bridge.Shutdown)
	_, err = client.Read(make([]byte, 1))
	assert.ErrorIs(t, err, errPipeReset)
	assert.Equal(t, bridge.Shutdown, f.Info().Reason)
}

func TestCloseEndsATargetThatIsStillDialledOrTold(t *testing.T) {
	for name, dial := range map[string]func(context.Context) (bridge.Local, error){
		"dialled": func(ctx context.Context) (bridge.Local, error) { <-ctx.Done(); return nil, ctx.Err() },
		"told":    func(context.Context) (bridge.Local, error) { near, _ := pipe(); return near, nil },
	} {
		t.Run(name, func(t *testing.T) {
			here, there := pair(t, bridge.Timeouts{})
			l := listen(t, there, "/x/slow", bridge.DialTarget(name, dial), bridge.ReportPeer)
			c, err := here.Dial(testContext(t), there.ID(), "/x/slow")
			require.NoError(t, err)
			defer c.Close()
			_, err = c.Write([]byte{1})
			require.NoError(t, err)
			eventually(t, func() bool { return l.Info().Live == 1 })
			require.NoError(t, there.Bridge().Close())
		})
	}
}

func TestStreamsThatComeWhileTheNodeClosesLeaveNothing(t *testing.T) {
	here := newNode(t, bridge.Timeouts{})
	for range 5 {
		there, err := core.New(testContext(t), hosttest.Unmanaged(t, hosttest.Options{}), core.Options{PingInterval: -1})
		require.NoError(t, err)
		listen(t, there, "/x/echo", echo)
		require.NoError(t, here.ConnectPeer(testContext(t), hosttest.Info(there.Host())))
		ctx, cancel := context.WithCancel(t.Context())
		var dialling sync.WaitGroup
		served := make(chan struct{}, 1)
		for range 4 {
			dialling.Go(func() {
				for ctx.Err() == nil {
					c, err := here.Dial(network.WithNoDial(ctx, "it goes away"), there.ID(), "/x/echo")
					if err != nil {
						return
					}
					_, _ = c.Write([]byte{1})
					_, _ = c.Read(make([]byte, 1))
					_ = c.Close()
					select {
					case served <- struct{}{}:
					default:
					}
				}
			})
		}
		<-served
		require.NoError(t, there.Close())
		cancel()
		dialling.Wait()
		assert.Empty(t, there.Bridge().Streams())
	}
	assert.Empty(t, here.Bridge().Streams())
}
