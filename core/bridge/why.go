package bridge

import (
	"context"
	"errors"
	"net"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// explain turns an error of the transport into one with a reason, and records it for the
// stream. It does not change deadline errors, nor errors that the owner caused.
func (c *Conn) explain(err error, by *deadline) error {
	cause, err := c.reason(err, by)
	if cause == nil {
		return err
	}
	return c.fail(cause)
}

// reason finds out why a stream failed, or returns the error to pass on. It may have to
// ask the peer; it then waits until the peer answers, the deadline passes or the stream
// ends.
func (c *Conn) reason(err error, by *deadline) (*Error, error) {
	if timedOut(err) && !wentSilent(err) {
		return nil, err
	}
	c.mu.Lock()
	cause, over := c.cause, c.closing.Load() || !c.ended.IsZero()
	c.mu.Unlock()
	switch {
	case cause != nil:
		return cause, nil
	case over:
		return nil, net.ErrClosed
	case !errors.Is(err, network.ErrReset) && !notSupported(err) && !wentSilent(err) && !c.Stream.Conn().IsClosed():
		return nil, err // the owner closed this half
	}
	c.asking.Do(func() { c.ask(err) })
	select {
	case <-c.asked:
	case <-c.over:
	case <-by.wait():
		return nil, errDeadline
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.cause != nil:
		return c.cause, nil
	case c.closing.Load() || !c.ended.IsZero(): // meanwhile, by its owner
		return nil, net.ErrClosed
	}
	return c.answer, nil
}

// ask finds out why the peer ended the stream. Only the side that opened it can ask.
func (c *Conn) ask(err error) {
	e := &Error{Peer: c.peer, Protocol: c.protocol, Err: err, Reason: PeerReset, Remote: true}
	reset, _ := errors.AsType[*network.StreamError](err)
	_, lost := errors.AsType[*network.ConnError](err)
	switch {
	case notSupported(err), reset != nil && reset.ErrorCode == network.StreamProtocolNegotiationFailed:
		e.Reason = NoSuchProtocol
	case lost, wentSilent(err), c.Stream.Conn().IsClosed():
		e.Reason, e.Remote = PeerLost, false
	case !c.inbound && c.bridge.enter():
		ctx, stop := context.WithCancel(c.bridge.ctx)
		c.mu.Lock()
		c.stopAsking = stop
		if !c.ended.IsZero() {
			stop()
		}
		c.mu.Unlock()
		go func() {
			defer c.bridge.tasks.Done()
			defer stop()
			e = c.bridge.resetBy(ctx, c.peer, c.protocol, err)
			if e.Reason == PeerReset && c.Stream.Conn().IsClosed() { // the stream may notice that before its connection does
				e.Reason, e.Remote = PeerLost, false
			}
			c.answer = e
			close(c.asked)
		}()
		return
	}
	c.answer = e
	close(c.asked)
}

// resetBy asks a peer why it reset a stream that this node opened.
func (b *Bridge) resetBy(ctx context.Context, p peer.ID, proto protocol.ID, err error) *Error {
	e := &Error{Peer: p, Protocol: proto, Err: err, Reason: PeerReset, Remote: true}
	if said := b.askWhy(ctx, p, proto); said != "" {
		e.Reason = said
	}
	return e
}

// confess keeps the reason why this side ends a stream that the peer opened, for the peer
// to ask. It keeps nothing if the peer caused the end, or is no longer connected.
func (c *Conn) confess(cause *Error) {
	if c.inbound && !cause.Remote && cause.Reason != PeerLost {
		c.bridge.notes.add(c.peer, c.protocol, cause.Reason)
	}
}
