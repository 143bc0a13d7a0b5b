package bridge

import (
	"context"
	"errors"
	"net"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// explain turns an error of the transport into one with a reason, which is then
// the stream's. What the owner did himself, and deadlines, stay as they are.
func (c *Conn) explain(err error, by *deadline) error {
	cause, err := c.reason(err, by)
	if cause == nil {
		return err
	}
	return c.fail(cause)
}

// reason finds out why a stream failed, or returns the error to go on with. The
// peer may have to be asked: that ends with the deadline, and with the stream.
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
		return nil, err // a half that was closed here
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

// ask finds out why the far side ended the stream. The one who opened it can ask.
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
			if e.Reason == PeerReset && c.Stream.Conn().IsClosed() { // which its streams may see first
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

// resetBy asks the peer that reset a stream of ours why.
func (b *Bridge) resetBy(ctx context.Context, p peer.ID, proto protocol.ID, err error) *Error {
	e := &Error{Peer: p, Protocol: proto, Err: err, Reason: PeerReset, Remote: true}
	if said := b.askWhy(ctx, p, proto); said != "" {
		e.Reason = said
	}
	return e
}

// confess keeps for the peer why this side ends the stream that it opened. What
// the peer did itself, or is not there to ask for, is no news to it.
func (c *Conn) confess(cause *Error) {
	if c.inbound && !cause.Remote && cause.Reason != PeerLost {
		c.bridge.notes.add(c.peer, c.protocol, cause.Reason)
	}
}
