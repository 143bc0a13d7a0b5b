//go:build unix

package command_test

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/command"
)

func TestTheWatchdogIsHeldUpWithTheProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "200000")
	var held atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { command.Watchdog(ctx, func() time.Duration { return time.Duration(held.Load()) }) })
	defer running.Wait()
	defer cancel()
	next := func(wait time.Duration) error {
		require.NoError(t, l.SetReadDeadline(time.Now().Add(wait)))
		b := make([]byte, 100)
		n, err := l.Read(b)
		if err == nil {
			require.Equal(t, "WATCHDOG=1", string(b[:n]))
		}
		return err
	}
	require.NoError(t, next(time.Minute))
	require.NoError(t, next(time.Minute))
	held.Store(int64(time.Second))
	for next(500*time.Millisecond) == nil { // notifications that are already on their way
	}
	held.Store(0)
	require.NoError(t, next(time.Minute))
}
