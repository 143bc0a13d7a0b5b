package bridge

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
)

// settleTimeout is how long a stream that is closed waits for the peer to agree
// on its protocol.
const settleTimeout = 10 * time.Second

// CloseRead ends the reading half: later Reads fail, which does not count as a failure
// of the stream. The peer is asked to stop sending. Yamux has no message for that: it
// discards what the peer still sends, and the peer learns of it when this side has
// closed its writing half, too.
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
	err := s.SetReadDeadline(time.Unix(1, 0)) // ends a Read under way
	go func() {
		defer c.bridge.tasks.Done()
		c.readMu.Lock() // that Read has returned, and no other begins
		err := s.SetReadDeadline(time.Time{})
		c.readMu.Unlock()
		if err == nil {
			_, _ = io.Copy(io.Discard, s) // until Close, Reset, or the peer's own end
		}
	}()
	return err
}

// CloseWrite ends the writing half: the peer reads EOF after the last byte. If the peer
// has stopped reading without a reason, that is not an error, because nothing more was
// to be sent.
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
// asked to stop. The error is nil for a stream that had failed: Read and Write return
// that error.
func (c *Conn) Close() error {
	var err error
	c.closing.Store(true) // what ends a Read under way is this, and no failure
	c.closeOnce.Do(func() { err = c.close() })
	if c.failure() != nil {
		err = nil
	}
	c.end()
	return err
}

// close does not wait for a peer that has yet to agree on the protocol. That is
// waited for in the background, since some implementations drop a stream that
// takes no answer, with all that was sent on it.
func (c *Conn) close() error {
	if c.settled.Load() || c.isOver() {
		return hangUp(c.Stream)
	}
	if !c.readMu.TryLock() { // a Read is under way, which must return
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
			_, _ = c.Stream.Read(nil) // only agrees on the protocol
		}
		_ = hangUp(c.Stream)
	}()
	return nil
}

// hangUp ends both directions of a stream. What was written is still delivered,
// and a peer that still sends is told to stop: by Close, except with yamux. There
// a reset does that, and takes back nothing of what was sent and closed before
// it. Yamux forgets a stream that is closed both ways, and its reset with it:
// hence no Close before.
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

// isYamux says whether yamux carries a stream, as it does through a relay, whose
// connections do not say so.
func isYamux(s network.Stream) bool {
	if s.Conn().ConnState().StreamMultiplexer == yamux {
		return true
	}
	_, err := s.Conn().RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

// unwrapped is the connection's own stream beneath one that the host made, which
// agrees on its protocol with the first Read.
func unwrapped(s network.Stream) network.Stream {
	for _, own := range s.Conn().GetStreams() {
		if own.ID() == s.ID() {
			return own
		}
	}
	return s
}
