package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/socket"
	"github.com/tombolo-net/tombolo/native/stack"
)

// halfCloser is what TCP and unix connections offer beyond net.Conn.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// connection is a TCP or unix connection.
type connection struct {
	halfCloser
	name string
	tcp  *net.TCPConn // nil for a unix socket
	put  func()       // gives the file back, once
}

var (
	_ bridge.Local    = (*connection)(nil)
	_ bridge.Socketed = (*connection)(nil)
)

// newConnection makes the system reset a TCP connection if this process is killed:
// otherwise the other end would take the data received so far as complete.
func newConnection(c net.Conn, name string) *connection {
	tcp, _ := c.(*net.TCPConn)
	if tcp != nil {
		_ = tcp.SetLinger(0)
	}
	return &connection{socket.Wrap(c).(halfCloser), name, tcp, sync.OnceFunc(files.put)}
}

// Conn makes an open connection a local end; name is how the registry lists it.
func Conn(c *net.UnixConn, name string) bridge.Local { return &connection{c, name, nil, func() {}} }

func (c *connection) String() string { return c.name }

// Socket implements bridge.Socketed.
func (c *connection) Socket() string {
	if c.tcp == nil {
		return "" // a client of a unix socket has no address
	}
	from, to := c.tcp.LocalAddr().String(), c.tcp.RemoteAddr().String()
	return min(from, to) + " " + max(from, to)
}

func (c *connection) Close() error {
	defer c.put()
	if c.tcp != nil {
		_ = c.tcp.SetLinger(-1)
	}
	return c.halfCloser.Close()
}

// Reset closes the connection so that the other end sees an error (TCP: RST). A unix
// socket can only be closed.
func (c *connection) Reset() error {
	defer c.put()
	return c.halfCloser.Close() // see newConnection
}

// budget bounds how many sockets and served files are open, so that some files are left
// for the host: libp2p closes a listener for good if an accept fails because no file is
// left.
type budget struct{ slots chan struct{} }

// spareFiles are for everything else: the store, logs.
const spareFiles = 64

var files = newBudget(stack.FilesLeft(stack.DefaultPeers) - spareFiles)

func newBudget(n int) budget { return budget{make(chan struct{}, max(n, 16))} }

func (b budget) try() bool {
	select {
	case b.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// get waits for a slot, or until stop.
func (b budget) get(stop <-chan struct{}) bool {
	select {
	case b.slots <- struct{}{}:
		return true
	case <-stop:
		return false
	}
}

func (b budget) put() { <-b.slots }

// tryAll takes n slots, or none.
func (b budget) tryAll(n int) bool {
	for taken := range n {
		if !b.try() {
			b.putAll(taken)
			return false
		}
	}
	return true
}

func (b budget) putAll(n int) {
	for range n {
		b.put()
	}
}

// staleCheck bounds the check whether a process listens on a socket file.
const staleCheck = time.Second

// replacing is held from the check of a socket file until the new one listens: another
// Listen would remove the new file in between.
var replacing sync.Mutex

// removeStale removes the file of a unix socket that no process listens on; a process
// that was killed leaves one.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil // it does not exist, or Listen reports the error
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("there is a file at %s already, and it is not a socket", path)
	}
	ctx, cancel := context.WithTimeout(ctx, staleCheck)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		c.Close()
	case errors.Is(err, syscall.ECONNREFUSED): // no other error proves that no process listens
		return os.Remove(path)
	case errors.Is(err, os.ErrNotExist): // removed since
		return nil
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("the socket at %s is another user's", path)
	}
	return fmt.Errorf("another program listens on %s", path)
}

func ownerOnly(path string) error { return os.Chmod(path, 0o600) }
