package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/command/commandtest"
)

const (
	mib  = 1 << 20
	much = 16 * mib // bytes of a transfer
)

// The service behind most tunnels here does what the first byte of a connection asks.
const (
	askEcho  = 'e' // sends back what it receives, to the end
	askPull  = 'g' // sends much, and ends
	askHalf  = 'h' // reads to the end, then sends the number of bytes, and the bytes
	askPush  = 'p' // reads to the end, then sends the hash
	askStall = 's' // sends half of much, and then neither sends nor reads
)

var download = sync.OnceValue(func() []byte { return content(1, much) })

// content returns bytes that look random, and are the same for the same seed.
func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// errShort reports a push that ended without an error before all of it had come.
var errShort = errors.New("a part was taken for the whole")

// serve answers one connection, until it is done or asked to stop.
func serve(c *net.TCPConn, stop <-chan struct{}) error {
	ask := make([]byte, 1)
	if _, err := io.ReadFull(c, ask); err != nil {
		return err
	}
	switch ask[0] {
	case askEcho:
		if _, err := io.Copy(c, c); err != nil {
			return err
		}
	case askPull:
		if _, err := c.Write(download()); err != nil {
			return err
		}
	case askHalf:
		got, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint64(nil, uint64(len(got))), got...)); err != nil {
			return err
		}
	case askPush:
		h := sha256.New()
		switch n, err := io.Copy(h, c); {
		case err != nil:
			return err
		case n != much:
			return fmt.Errorf("%w: %d bytes", errShort, n)
		}
		if _, err := c.Write(h.Sum(nil)); err != nil {
			return err
		}
	case askStall:
		if _, err := c.Write(download()[:much/2]); err != nil {
			return err
		}
		<-stop
	}
	return c.CloseWrite()
}

// service is the service in this process. ends yields how each connection ended.
type service struct {
	addr string
	ends chan error
}

func newService(t *testing.T) *service {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	s := &service{l.Addr().String(), make(chan error, 10_000)}
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				s.ends <- serve(c.(*net.TCPConn), stop)
			})
		}
	})
	t.Cleanup(func() {
		close(stop)
		assert.NoError(t, l.Close())
		running.Wait() // the tunnels have ended by now
	})
	return s
}

// missesTheRest waits until the service has seen the end of a push that broke off, which
// must be an error.
func (s *service) missesTheRest(t *testing.T) {
	t.Helper()
	err := s.end(t)
	require.Error(t, err)
	require.NotErrorIs(t, err, errShort)
}

// end waits for the next connection to end, and returns its error.
func (s *service) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.ends:
		return err
	case <-time.After(patience):
		require.Fail(t, "the service still waits")
		return nil
	}
}

// serveAt is the environment variable with an address at which this program is the service,
// instead of running tests.
const serveAt = "TOMBOLO_E2E_SERVE"

func serveForEver(at string) {
	l, err := net.Listen("tcp4", at)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("serving", l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		go func() {
			_ = serve(c.(*net.TCPConn), nil)
			_ = c.Close()
		}()
	}
}

// startService starts the service as a process that a test can kill.
func startService(t *testing.T, at string) *commandtest.Process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p := commandtest.Start(t, []string{serveAt + "=" + at}, self)
	p.Line("serving ")
	return p
}

// dial connects and asks for something.
func dial(t *testing.T, addr string, ask byte) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp4", addr, patience)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	_, err = c.Write([]byte{ask})
	require.NoError(t, err)
	return c.(*net.TCPConn)
}

// pulls downloads much from the service, and checks it.
func pulls(t *testing.T, addr string) {
	t.Helper()
	c := dial(t, addr, askPull)
	defer c.Close()
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(download()), sha256.Sum256(got), "%d bytes", len(got))
}

// pushes uploads much to the service, and checks the hash that the service sends.
func pushes(t *testing.T, addr string) {
	t.Helper()
	c := dial(t, addr, askPush)
	defer c.Close()
	data := content(2, much)
	_, err := c.Write(data)
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	want := sha256.Sum256(data)
	require.Equal(t, want[:], got)
}

// halfCloses sends 1 MiB, ends its side, and expects 8 bytes and 1 MiB.
func halfCloses(t *testing.T, c interface {
	io.ReadWriteCloser
	CloseWrite() error
}) {
	t.Helper()
	defer c.Close()
	data := content(3, mib)
	_, err := c.Write(data)
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Len(t, got, 8+mib)
	require.EqualValues(t, mib, binary.BigEndian.Uint64(got))
	require.Equal(t, sha256.Sum256(data), sha256.Sum256(got[8:]))
}

// works reports whether the service can be reached and answers correctly to the end.
func works(t *testing.T, addr string) bool {
	t.Helper()
	c, err := net.DialTimeout("tcp4", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	if c.SetDeadline(time.Now().Add(patience)) != nil || !echoes(c) || c.(*net.TCPConn).CloseWrite() != nil {
		return false
	}
	rest, err := io.ReadAll(c)
	return err == nil && len(rest) == 0
}

func echoes(c net.Conn) bool {
	if _, err := c.Write([]byte{askEcho}); err != nil {
		return false
	}
	return says(c, "hello")
}

// says reports whether an echo that has begun sends back what it is sent.
func says(c net.Conn, what string) bool {
	if _, err := c.Write([]byte(what)); err != nil {
		return false
	}
	got := make([]byte, len(what))
	_, err := io.ReadFull(c, got)
	return err == nil && string(got) == what
}

// stalled begins to pull through a tunnel and stops in the middle.
func stalled(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c := dial(t, addr, askStall)
	_, err := c.Write([]byte("never read")) // so that the service ends with data unread, which is a reset
	require.NoError(t, err)
	got := make([]byte, much/4)
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	require.True(t, bytes.Equal(download()[:much/4], got))
	return c
}

// breaks reads to the end, which must be an error: otherwise a reader would take what it
// has for everything.
func breaks(t *testing.T, c net.Conn) {
	t.Helper()
	n, err := io.Copy(io.Discard, bufio.NewReader(c))
	require.Error(t, err, "it ended without an error after %d further bytes", n)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it hangs")
}
