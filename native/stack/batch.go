package stack

import (
	"net"
	"sync"
)

// What TLS and Noise make of one Write of the multiplexer, 64 KiB at the most,
// is four records or two messages, and each would be a system call; what they
// read comes in pieces of a record. Both are batched here.
const (
	// writeBatch holds a whole frame of yamux with what TLS adds to it, even in
	// the small records with which a connection starts. It is held for as long as
	// a Write takes.
	writeBatch = 72 << 10
	// readBatch is what is read at once while data streams in. A connection holds
	// it from when there was more to read than was asked for until there is not:
	// an idle one hardly ever does.
	readBatch = 128 << 10
	// smallWrite is what is one record in any case, in bytes: such a Write is not
	// batched.
	smallWrite = 1 << 10
)

var (
	writeBatches = sync.Pool{New: func() any { return new([writeBatch]byte) }}
	readBatches  = sync.Pool{New: func() any { return new([readBatch]byte) }}
)

// batchConn is a connection that a security protocol writes to and reads from.
// Between cork and uncork its writes are collected. Without them, and towards
// the reader always, it is the connection itself: it adds neither a goroutine
// nor a timer, and waits for nothing but the connection.
type batchConn struct {
	net.Conn

	writeMu sync.Mutex
	corked  bool
	out     *[writeBatch]byte // nil while nothing is collected
	filled  int               // of out
	failed  error             // of a batch: what came after it would be garbage to the peer

	readMu sync.Mutex
	in     *[readBatch]byte // nil while nothing is read ahead
	ahead  []byte           // what is left of in
	more   bool             // the last read brought all that it could
}

// cork has what is written collected until uncork.
func (c *batchConn) cork() {
	c.writeMu.Lock()
	c.corked = true
	c.writeMu.Unlock()
}

// uncork writes what was collected. Its error is that of the whole batch.
func (c *batchConn) uncork() error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.corked = false
	return c.flush()
}

// Write collects p while corked, and writes it at once otherwise. After a batch has
// failed, it returns that error, because the writer of the batch considers it sent.
func (c *batchConn) Write(p []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if c.failed != nil {
		return 0, c.failed
	}
	if !c.corked {
		return c.Conn.Write(p)
	}
	if c.filled+len(p) > writeBatch {
		if err := c.flush(); err != nil {
			return 0, err
		}
		if len(p) > writeBatch {
			return c.Conn.Write(p)
		}
	}
	if c.out == nil {
		c.out = writeBatches.Get().(*[writeBatch]byte)
	}
	c.filled += copy(c.out[c.filled:], p)
	return len(p), nil
}

func (c *batchConn) flush() error {
	if c.out == nil {
		return c.failed
	}
	if c.failed == nil {
		_, c.failed = c.Conn.Write(c.out[:c.filled])
	}
	writeBatches.Put(c.out)
	c.out, c.filled = nil, 0
	return c.failed
}

// Read reads into p alone until that is filled; then there may be more, and the
// next read is a large one. What it brings is handed out first.
func (c *batchConn) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if len(c.ahead) > 0 {
		return c.take(p), nil
	}
	if !c.more || len(p) >= readBatch {
		n, err := c.Conn.Read(p)
		c.more = n == len(p) && n > 0
		return n, err
	}
	if c.in == nil {
		c.in = readBatches.Get().(*[readBatch]byte)
	}
	n, err := c.Conn.Read(c.in[:])
	c.ahead, c.more = c.in[:n], n == readBatch
	if n > 0 {
		err = nil // the next read has it again
	}
	return c.take(p), err
}

// take hands out of what is ahead, and lets the batch go after the last of it
// unless there is more to come.
func (c *batchConn) take(p []byte) int {
	n := copy(p, c.ahead)
	c.ahead = c.ahead[n:]
	if len(c.ahead) == 0 && !c.more && c.in != nil {
		readBatches.Put(c.in)
		c.in = nil
	}
	return n
}
