package bridge

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
)

// settleTimeout is how long closing a stream waits for the peer to agree on its protocol.
const settleTimeout = 10 * time.Second

// CloseRead closes the reading half: later Reads fail, which does not count as a failure
// of the stream. It asks the peer to stop sending. Yamux has no message for that: what
// the peer still sends is discarded, and the peer notices only when this side has closed
// its writing half, too.
func (c *Conn) CloseRead() error {
	if c.readClosed.Swap(true) {
		return nil
	}
	if !isYamux(c.Stream) {
		return c.Stream.CloseRead()
	}
	if !c.bridge.enter() {
		return nil // the bridge resets the stream
	}
	s := unwrapped(c.Stream)
	err := s.SetReadDeadline(time.Unix(1, 0)) // ends a Read in progress
	go func() {
		defer c.bridge.tasks.Done()
		c.readMu.Lock() // no Read is in progress now, and no other starts
		err := s.SetReadDeadline(time.Time{})
		c.readMu.Unlock()
		if err == nil {
			_, _ = io.Copy(io.Discard, s) // until Close, Reset, or the peer's own end
		}
	}()
	return err
}

// CloseWrite closes the writing half: the peer reads EOF after the last byte. It does not
// return an error if the peer has stopped reading without a reason, because nothing more
// was to be sent.
func (c *Conn) CloseWrite() error {
	err := c.Stream.CloseWrite()
	switch {
	case err == nil && c.readClosed.Load() && isYamux(c.Stream):
		return c.Stream.Reset() // see hangUp
	case err == nil:
		return nil
	}
	cause, err := c.reason(errors.Join(network.ErrReset, err), &c.writeBy)
	switch {
	case cause == nil:
		return err
	case cause.Reason == PeerReset:
		return nil
	}
	return c.fail(cause)
}

// Close ends both directions and removes the stream from the registry. Bytes that were
// written are still delivered, unless the connection ends. A peer that still sends is
// asked to stop. Close returns nil for a stream that had failed, because Read and Write
// return that error.
func (c *Conn) Close() error {
	var err error
	c.closing.Store(true) // a Read in progress ends because of this; that is not a failure
	c.closeOnce.Do(func() { err = c.close() })
	if c.failure() != nil {
		err = nil
	}
	c.end()
	return err
}

// close does not wait until the peer has agreed on the protocol. A goroutine waits for
// that, because some implementations drop a stream, with everything sent on it, if their
// answer is not read.
func (c *Conn) close() error {
	if c.settled.Load() || c.isOver() {
		return hangUp(c.Stream)
	}
	if !c.readMu.TryLock() { // a Read is in progress, and must return
		err := c.Stream.CloseWrite()
		if !isYamux(c.Stream) {
			_ = c.Stream.CloseRead()
		}
		return errors.Join(err, hangUp(c.Stream))
	}
	c.readMu.Unlock()
	if !c.bridge.enter() {
		return c.Stream.Reset()
	}
	go func() {
		defer c.bridge.tasks.Done()
		defer context.AfterFunc(c.bridge.ctx, func() { _ = c.Stream.Reset() })()
		if isYamux(c.Stream) {
			_ = c.Stream.CloseWrite()
			_ = c.Stream.SetReadDeadline(time.Now().Add(settleTimeout))
			_, _ = c.Stream.Read(nil) // only completes the agreement on the protocol
		}
		_ = hangUp(c.Stream)
	}()
	return nil
}

// hangUp ends both directions of a stream. What was written is still delivered, and a
// peer that still sends is asked to stop. Close does that, except with yamux. With yamux
// a reset does it, and discards nothing that was sent and closed before. Yamux forgets a
// stream that is closed in both directions and would not send its reset, so Close must
// not come before.
func hangUp(s network.Stream) error {
	if !isYamux(s) {
		return s.Close()
	}
	err := s.CloseWrite()
	if !s.Conn().IsClosed() {
		err = nil // the peer reads no more
	}
	_ = s.Reset()
	return err
}

const yamux = "/yamux/1.0.0"

// isYamux reports whether the stream's connection uses yamux. Connections through a relay
// always do, but do not report it.
func isYamux(s network.Stream) bool {
	if s.Conn().ConnState().StreamMultiplexer == yamux {
		return true
	}
	_, err := s.Conn().RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

// unwrapped returns the connection's own stream inside one made by the host, whose first
// Read completes the agreement on the protocol.
func unwrapped(s network.Stream) network.Stream {
	for _, own := range s.Conn().GetStreams() {
		if own.ID() == s.ID() {
			return own
		}
	}
	return s
}
