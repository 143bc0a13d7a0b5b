package socket

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tcpPipe is a TCP connection on the loopback.
func tcpPipe() (a, b net.Conn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	if b, err = l.Accept(); err != nil {
		a.Close()
		return nil, nil, err
	}
	return a, b, nil
}

func wrapped(t *testing.T) (ours, peer net.Conn) {
	t.Helper()
	a, b, err := tcpPipe()
	require.NoError(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	ours = Wrap(a)
	limit := time.Now().Add(20 * time.Second)
	require.NoError(t, ours.SetDeadline(limit))
	require.NoError(t, b.SetDeadline(limit))
	return ours, b
}

func TestAWrappedConnIsANetConn(t *testing.T) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		a, b, err := tcpPipe()
		if err != nil {
			return nil, nil, nil, err
		}
		a, b = Wrap(a), Wrap(b)
		return a, b, func() { a.Close(); b.Close() }, nil
	})
}

func TestWhatIsNoTCPConnIsLeftAlone(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	assert.Same(t, a, Wrap(a))
}

func TestAHalfClosedConnStillBringsTheReply(t *testing.T) {
	ours, peer := wrapped(t)
	sent := make([]byte, 3<<20+1)
	_, _ = rand.Read(sent)
	replied := make(chan error, 1)
	go func() {
		got, err := io.ReadAll(peer)
		if err == nil {
			sum := sha256.Sum256(got)
			_, err = peer.Write(sum[:])
		}
		replied <- errors.Join(err, peer.Close())
	}()
	n, err := ours.Write(sent)
	require.NoError(t, err)
	assert.Equal(t, len(sent), n)
	require.NoError(t, ours.(interface{ CloseWrite() error }).CloseWrite())
	reply, err := io.ReadAll(ours)
	require.NoError(t, err)
	sum := sha256.Sum256(sent)
	assert.True(t, bytes.Equal(sum[:], reply))
	require.NoError(t, <-replied)
}

func TestADeadlineSaysHowMuchWasWritten(t *testing.T) {
	ours, peer := wrapped(t)
	require.NoError(t, ours.SetWriteDeadline(time.Now().Add(200*time.Millisecond)))
	n, err := ours.Write(make([]byte, 64<<20)) // more than the kernel takes
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	assert.Positive(t, n)
	var e *net.OpError
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "write", e.Op)
	require.NoError(t, ours.Close())
	got, _ := io.Copy(io.Discard, peer)
	assert.EqualValues(t, n, got)
}

func TestAPeerThatIsGoneIsNamed(t *testing.T) {
	ours, peer := wrapped(t)
	require.NoError(t, peer.(*net.TCPConn).SetLinger(0))
	require.NoError(t, peer.Close())
	_, err := io.Copy(io.Discard, ours)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	for err = nil; err == nil; {
		_, err = ours.Write(make([]byte, 1<<20))
	}
	require.ErrorIs(t, err, syscall.EPIPE)
	require.NoError(t, ours.Close())
	_, err = ours.Write([]byte{1})
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestReadingAndWritingDoNotAllocate(t *testing.T) {
	ours, peer := wrapped(t)
	buf := make([]byte, 32<<10)
	both := func() {
		_, err := ours.Write(buf)
		require.NoError(t, err)
		_, err = io.ReadFull(peer, buf)
		require.NoError(t, err)
		_, err = peer.Write(buf[:64])
		require.NoError(t, err)
		_, err = io.ReadFull(ours, buf[:64])
		require.NoError(t, err)
	}
	both()
	assert.Zero(t, testing.AllocsPerRun(50, both))
}
