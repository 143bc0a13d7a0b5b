//go:build unix

package local_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/local"
)

// A program that listens but is too busy to accept still owns its socket file.
func TestASocketFileOfABusyProgramIsNotTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer syscall.Close(fd)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}))
	require.NoError(t, syscall.Listen(fd, 0))
	for i := 0; ; i++ { // until its queue is full
		c, err := net.Dial("unix", path)
		if err != nil {
			require.False(t, errors.Is(err, syscall.ECONNREFUSED), "%v", err)
			break
		}
		defer c.Close()
		require.Less(t, i, 1000)
	}
	_, err = local.Listen(t.Context(), "unix:"+path)
	assert.ErrorContains(t, err, "another program listens")
	_, err = os.Lstat(path)
	assert.NoError(t, err)
}

func TestAResetCrossesAsRST(t *testing.T) {
	here, there := pair(t)
	offer(t, there, "/x/rst", serve(t, "tcp4", "127.0.0.1:0", func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.(*net.TCPConn).SetLinger(0)
	}))
	f, dial := forward(t, here, "/x/rst", "127.0.0.1:0", there.ID())
	c := dial()
	_, err := c.Write([]byte{1})
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 1))
	assert.ErrorIs(t, err, syscall.ECONNRESET)
	eventually(t, func() bool { return f.Info().Reason == bridge.TargetFailed })
}
