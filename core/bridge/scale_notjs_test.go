//go:build !js

package bridge_test

import (
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
)

// On TCP, a reset is an RST.
func TestAResetCrossesAsRST(t *testing.T) {
	t.Run("from the client to the target", func(t *testing.T) {
		here, there := pair(t, bridge.Timeouts{})
		seen := make(chan error, 1)
		listen(t, there, "/x/rst", service(t, func(c *net.TCPConn) {
			_, err := io.Copy(io.Discard, c)
			seen <- err
		}))
		_, dial := forward(t, here, "/x/rst", there.ID())
		c := dial()
		_, err := c.Write([]byte{1})
		require.NoError(t, err)
		eventually(t, func() bool { return len(there.Bridge().Streams()) == 1 })
		require.NoError(t, local{c}.Reset())
		assert.ErrorIs(t, <-seen, syscall.ECONNRESET)
	})
	t.Run("from the target to the client", func(t *testing.T) {
		here, there := pair(t, bridge.Timeouts{})
		listen(t, there, "/x/rst", service(t, func(c *net.TCPConn) {
			_, _ = c.Write([]byte("half of a rep"))
			_, _ = c.Read(make([]byte, 1)) // returns once the client has read it
			_ = local{c}.Reset()
		}))
		_, dial := forward(t, here, "/x/rst", there.ID())
		c := dial()
		_, err := io.ReadFull(c, make([]byte, 13))
		require.NoError(t, err)
		_, err = c.Write([]byte{1})
		require.NoError(t, err)
		_, err = c.Read(make([]byte, 1))
		assert.ErrorIs(t, err, syscall.ECONNRESET)
	})
	t.Run("from a listener that is not there to the client", func(t *testing.T) {
		here, there := pair(t, bridge.Timeouts{})
		f, _ := forward(t, here, "/x/none", there.ID())
		c, err := net.Dial("tcp4", f.Addr())
		if err == nil { // otherwise it was reset before Dial returned
			defer c.Close()
			require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
			_, err = c.Read(make([]byte, 1))
		}
		assert.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

// openFiles counts this process's descriptors.
func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("open files can be counted on Linux only")
	}
	return len(entries)
}

func TestThousandsOfConnectionsLeaveNothingBehind(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	listen(t, there, "/x/echo", service(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) }))
	f, dial := forward(t, here, "/x/echo", there.ID())
	warm := dial()
	assertEchoes(t, warm)
	require.NoError(t, warm.Close())
	endedWith(t, here)
	endedWith(t, there)
	goroutines, files := runtime.NumGoroutine(), openFiles(t)

	const connections, workers = 2000, 20
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range connections / workers {
				c, err := net.Dial("tcp4", f.Addr())
				if !assert.NoError(t, err) {
					return
				}
				_ = c.SetDeadline(time.Now().Add(patience))
				switch i % 4 { // dropped at once, with a byte under way, by a reset, or used
				case 1:
					_, _ = c.Write([]byte{1})
				case 2:
					_ = c.(*net.TCPConn).SetLinger(0)
				case 3:
					_, _ = c.Write([]byte("?"))
					_, err = io.ReadFull(c, make([]byte, 1))
					assert.NoError(t, err)
				}
				_ = c.Close()
			}
		})
	}
	all.Wait()
	eventually(t, func() bool { return f.Info().Total == connections+1 })
	endedWith(t, here)
	endedWith(t, there)
	eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+4 && openFiles(t) <= files+2 })
	eventually(t, func() bool { return f.Info().Live == 0 })
	assert.Zero(t, f.Info().Failed)
}

func TestAFloodOfStreamsLeavesTheOthersServed(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	h := stranger(t, there)
	listen(t, there, "/x/echo", echo)
	l := listen(t, there, "/x/flooded", bridge.Func(func(_ context.Context, c net.Conn) { _, _ = io.Copy(io.Discard, c) }),
		bridge.Limit(bridge.Limits{StreamsPerPeer: 100}))
	c := hold(t, here, there.ID())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var flood sync.WaitGroup
	for range 8 {
		flood.Go(func() {
			for ctx.Err() == nil {
				s, err := h.NewStream(ctx, there.ID(), "/x/flooded")
				if err == nil {
					_, _ = s.Write([]byte{1})
				}
			}
		})
	}
	// yamux ends some of the opened streams before they reach the listener.
	for l.Info().Refused <= 1000 {
		assertEchoes(t, c)
		assertEchoes(t, hold(t, here, there.ID()))
		require.LessOrEqual(t, l.Info().Live, 100)
	}
	cancel()
	flood.Wait()
	require.NoError(t, h.Close())
	eventually(t, func() bool { return l.Info().Live == 0 })
	assertEchoes(t, c)
}

// The cost of an idle stream is the memory that both nodes hold for it: the splices, the
// yamux streams and what libp2p adds. The local ends, here pipes, are not counted.
func TestTenThousandIdleStreamsCostLittle(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	target, dialled := pipeTarget()
	listen(t, there, "/x/idle", target)
	from := newPipeAcceptor()
	_, err := here.Forward(t.Context(), "/x/idle", from, there.ID())
	require.NoError(t, err)
	joined(t, from, dialled)

	streams := 10_000
	if raceDetector {
		streams = 2000
	}
	memory, goroutines := inUse(), runtime.NumGoroutine()
	ends := make([]pipeEnd, 0, 2*streams)
	for range streams {
		client, target := joined(t, from, dialled)
		ends = append(ends, client, target)
	}
	require.Len(t, there.Bridge().Streams(), streams+1)
	bytes := float64(inUse()-memory) / float64(2*streams)
	each := float64(runtime.NumGoroutine()-goroutines) / float64(2*streams)
	t.Logf("an idle stream costs each side %.1f KiB and %.1f goroutines", bytes/1024, each)
	assert.Less(t, bytes, 64.*1024)
	assert.LessOrEqual(t, each, 3.1)
	runtime.KeepAlive(ends)
	require.NoError(t, here.Bridge().Close())
	eventually(t, func() bool { return len(there.Bridge().Streams()) == 0 })
}

// inUse returns the memory of heap and stacks after a collection, in bytes.
func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
