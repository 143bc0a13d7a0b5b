package bridge

import (
	"context"
	"errors"
	"net"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// explain turns an error of the transport into one with a reason. What the owner
// did himself, and deadlines, stay as they are.
func (c *Conn) explain(err error) error {
	if timedOut(err) && !wentSilent(err) {
		return err
	}
	c.mu.Lock()
	cause, over := c.cause, !c.ended.IsZero()
	c.mu.Unlock()
	switch {
	case cause != nil:
		return cause
	case over:
		return net.ErrClosed
	case !errors.Is(err, network.ErrReset) && !notSupported(err) && !wentSilent(err) && !c.Stream.Conn().IsClosed():
		return err // a half that was closed here
	}
	c.asking.Do(func() { c.fail(c.why(err)) })
	if cause = c.failure(); cause == nil {
		return net.ErrClosed // meanwhile, by its owner
	}
	return cause
}

// why finds out why the far side ended the stream. The one who opened it can
// ask.
func (c *Conn) why(err error) *Error {
	e := &Error{Peer: c.peer, Protocol: c.protocol, Err: err, Reason: PeerReset, Remote: true}
	reset, _ := errors.AsType[*network.StreamError](err)
	_, lost := errors.AsType[*network.ConnError](err)
	switch {
	case notSupported(err), reset != nil && reset.ErrorCode == network.StreamProtocolNegotiationFailed:
		e.Reason = NoSuchProtocol
	case lost, wentSilent(err), c.Stream.Conn().IsClosed():
		e.Reason, e.Remote = PeerLost, false
	case !c.inbound:
		e = c.bridge.resetBy(c.bridge.ctx, c.peer, c.protocol, err)
		if e.Reason == PeerReset && c.Stream.Conn().IsClosed() { // which its streams may see first
			e.Reason, e.Remote = PeerLost, false
		}
	}
	return e
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
