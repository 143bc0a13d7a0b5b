package stack

import (
	"net"
	"sync"
)

// TLS and Noise split one Write of the multiplexer, of at most 64 KiB, into four records
// or two messages, each of which would be a system call; they read in pieces of a record.
// Both are batched here.
const (
	// writeBatch holds a whole yamux frame with the overhead of TLS, even in the small
	// records with which a connection starts. The buffer is in use only during a Write.
	writeBatch = 72 << 10
	// readBatch is the size of a read while data streams in. A connection holds the buffer
	// while there is more to read than was asked for: an idle one hardly ever does.
	readBatch = 128 << 10
	// smallWrite is the size in bytes that always fits one record: such a Write is not
	// batched.
	smallWrite = 1 << 10
)

var (
	writeBatches = sync.Pool{New: func() any { return new([writeBatch]byte) }}
	readBatches  = sync.Pool{New: func() any { return new([readBatch]byte) }}
)

// batchConn is a connection that a security protocol writes to and reads from. Between
// cork and uncork its writes are collected. Otherwise it adds no delay: it has neither a
// goroutine nor a timer, and waits only for the connection.
type batchConn struct {
	net.Conn

	writeMu sync.Mutex
	corked  bool
	out     *[writeBatch]byte // nil if nothing is collected
	filled  int               // of out
	failed  error             // of a batch: later data would be garbage to the peer

	readMu sync.Mutex
	in     *[readBatch]byte // nil if nothing is read ahead
	ahead  []byte           // the rest of in
	more   bool             // the last read filled its buffer
}

// cork collects writes until uncork.
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

// Read reads into p only, until a read fills p; there may be more then, and the next read
// is a large one. Data that was read ahead is returned first.
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
		err = nil // the next read returns it again
	}
	return c.take(p), err
}

// take copies from the data read ahead, and releases the buffer after the last of it
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
