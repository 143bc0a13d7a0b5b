// Package socket reads and writes TCP connections with less CPU time, for connections
// that carry much data.
//
// While a goroutine is in a system call, the Go runtime takes its processor away after
// 20 µs, in case the call blocks. For that, a monitor wakes up thousands of times a
// second, and threads are started and stopped. Reading or writing 64 KiB takes about as
// long, although the sockets of package net never block. [Wrap] therefore makes these
// calls with syscall.RawSyscall6, which does not tell the scheduler, on systems on which
// this was tested. Waiting, deadlines and closing stay with package net.
//
// This is worth the unsafe pointers: BenchmarkCarry needs 0.56 s of CPU per GiB with Wrap,
// and 0.64 s with package net alone (medians of four runs; Go 1.26, Linux, two cores of a
// Xeon at 2.5 GHz), and a service that is bridged through two peers needs 8 to 15 % less.
// With other programs on all cores of that machine, 0.74 and 0.78 s (medians of ten runs of
// each, in turn).
package socket

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
)

// atOnce is how many bytes one call moves at most. Until the call returns, some tens of
// microseconds later, the processor does nothing else.
const atOnce = 128 << 10

// much is the size of a read after which more is likely on its way, in bytes. The next
// read first lets other goroutines run: they use the data while it is in the processor's
// cache, and meanwhile more arrives for one call.
const much = 4 << 10

// Wrap returns a connection that reads and writes c directly, if c is a TCP socket and
// the system is one of those on which this was tested, and otherwise c itself. Use the
// result instead of c.
func Wrap(c net.Conn) net.Conn {
	s, ok := c.(stream)
	if !ok || !direct {
		return c
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return c
	}
	w := &conn{stream: s, raw: raw}
	w.receiveFrom, w.sendTo = w.receive, w.send // made once: a method value is an allocation
	return w
}

// stream is a *net.TCPConn or a wrapper of one.
type stream interface {
	net.Conn
	syscall.Conn
	CloseRead() error
	CloseWrite() error
	SetKeepAlive(bool) error // only TCP has it
}

type conn struct {
	stream
	raw syscall.RawConn

	reading     sync.Mutex
	begun       bool   // the first read is over
	in          []byte // to read into
	received    int    // by the last read
	receiveErr  error
	receiveFrom func(fd uintptr) (done bool)

	writing sync.Mutex
	out     []byte // the rest of the data to write
	sendErr error
	sendTo  func(fd uintptr) (done bool)
}

func (c *conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if len(p) == 0 || !c.begun {
		c.begun = c.begun || len(p) > 0
		return c.stream.Read(p) // it may have buffered data
	}
	if c.received >= much {
		runtime.Gosched()
	}
	c.in, c.received, c.receiveErr = p[:min(len(p), atOnce)], 0, nil
	err := c.raw.Read(c.receiveFrom)
	c.in = nil
	switch {
	case err != nil:
		return 0, c.named("read", err)
	case c.receiveErr != nil:
		return 0, c.failed("read", c.receiveErr)
	case c.received == 0:
		return 0, io.EOF
	}
	return c.received, nil
}

func (c *conn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return c.stream.Write(p)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	c.out, c.sendErr = p, nil
	err := c.raw.Write(c.sendTo)
	n := len(p) - len(c.out)
	c.out = nil
	switch {
	case err != nil:
		return n, c.named("write", err)
	case c.sendErr != nil:
		return n, c.failed("write", c.sendErr)
	}
	return n, nil
}

// receive and send are called with a socket that may be ready. They return
// false to be called again when it is.

func (c *conn) receive(fd uintptr) bool {
	for {
		n, errno := receive(fd, c.in)
		switch errno {
		case 0:
			c.received = n
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			c.receiveErr = os.NewSyscallError("recvfrom", errno)
			return true
		}
	}
}

func (c *conn) send(fd uintptr) bool {
	for len(c.out) > 0 {
		n, errno := send(fd, c.out[:min(len(c.out), atOnce)])
		switch errno {
		case 0:
			c.out = c.out[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			c.sendErr = os.NewSyscallError("sendto", errno)
			return true
		}
	}
	return true
}

// named wraps the error of waiting with the operation's name.
func (c *conn) named(op string, err error) error {
	if e := (*net.OpError)(nil); errors.As(err, &e) {
		return c.failed(op, e.Err)
	}
	return err
}

func (c *conn) failed(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
