package bridge

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// bufferSize is the size of a splice's reads while much data comes, in bytes: one yamux
// frame as native/stack makes them. Larger reads cost 10 to 15 % more CPU, because the
// data has left the processor's cache before it is encrypted.
const bufferSize = 60 << 10

// idleSize is the size of the buffer with which a splice waits, so that a direction with
// little or no data holds no more memory. A read that fills it is followed by one of
// bufferSize.
const idleSize = 2 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Splice copies bytes between the stream and a local one until both directions have
// ended, and then closes or resets both. If the stream failed, it returns an *Error with
// the reason. EOF on one side closes the write side of the other; an error while reading
// becomes a reset. If one side stops reading, only that direction ends: the other may
// still carry a reply.
func (c *Conn) Splice(local Local) error {
	localFailed := ClientFailed
	if c.inbound {
		localFailed = TargetFailed
	}
	if !c.join(local) {
		_ = local.Reset()
		return net.ErrClosed
	}
	var outgoing sync.WaitGroup
	outgoing.Go(func() {
		readErr, writeErr := pump(c, local)
		switch {
		case readErr != nil:
			c.abort(&Error{Reason: localFailed, Err: readErr})
		case writeErr != nil:
			c.fail(errorOf(writeErr, PeerReset))
		}
		c.directionEnded()
	})
	readErr, writeErr := pump(local, c)
	switch {
	case readErr != nil:
		c.abort(errorOf(readErr, PeerReset))
	case writeErr != nil:
		if !isYamux(c.Stream) { // with yamux, the end of the reply informs the peer
			_ = c.CloseRead()
		}
		c.fail(&Error{Reason: localFailed, Err: writeErr})
	}
	c.directionEnded()
	outgoing.Wait()
	_ = local.Close()
	if cause := c.failure(); cause != nil && !c.isOver() {
		c.confess(cause)
	}
	_ = c.Close()
	if cause := c.failure(); cause != nil {
		return cause
	}
	return nil
}

// pump copies bytes until one end fails or from is at EOF, which it passes on. A read
// error is nil for EOF.
func pump(to writeEnd, from io.Reader) (readErr, writeErr error) {
	small := make([]byte, idleSize)
	var big *[bufferSize]byte
	defer func() {
		if big != nil {
			buffers.Put(big)
		}
	}()
	buf := small
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, writeErr = to.Write(buf[:n]); writeErr != nil {
				return nil, writeErr
			}
		}
		switch {
		case err == io.EOF:
			return nil, to.CloseWrite()
		case err != nil:
			return err, nil
		case n == idleSize && big == nil:
			big = buffers.Get().(*[bufferSize]byte)
			buf = big[:]
		case n < idleSize && big != nil:
			buffers.Put(big)
			big, buf = nil, small
		}
	}
}

// writeEnd is the end of a splice to which pump copies.
type writeEnd interface {
	io.Writer
	CloseWrite() error
}

// join makes local the stream that abort resets, and starts the idle timer. It returns
// false if the stream has ended.
func (c *Conn) join(local Local) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended.IsZero() {
		return false
	}
	c.local = local
	c.arm()
	return true
}

// directionEnded applies the drain limit to the other direction.
func (c *Conn) directionEnded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.touch()
	c.drains = true
	if c.ended.IsZero() {
		c.arm()
	}
}

// silence returns how long the stream may be idle; 0 means forever. Called with c.mu
// held.
func (c *Conn) silence() time.Duration {
	t := c.bridge.opts.Timeouts
	switch {
	case !c.drains:
		return t.Idle
	case t.Idle > 0:
		return min(t.Idle, t.Drain)
	default:
		return t.Drain
	}
}

// arm sets the idle timer. Called with c.mu held.
func (c *Conn) arm() {
	limit := c.silence()
	if limit <= 0 {
		return
	}
	left := limit - c.silent()
	if c.watch == nil {
		c.watch = time.AfterFunc(left, c.checkSilence)
		return
	}
	c.watch.Reset(left)
}

var (
	errIdle  = errors.New("nothing moved for the idle limit")
	errDrain = errors.New("one side had ended, and nothing came from the other")
)

func (c *Conn) checkSilence() {
	c.mu.Lock()
	limit := c.silence()
	if !c.ended.IsZero() {
		c.mu.Unlock()
		return
	}
	if c.silent() < limit {
		c.arm()
		c.mu.Unlock()
		return
	}
	cause := &Error{Reason: TimedOut, Err: errIdle}
	if c.drains {
		cause.Err = errDrain
	}
	c.mu.Unlock()
	c.abort(cause)
}
