package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"

	"github.com/tombolo-net/tombolo/core/internal/told"
)

// Reason is the reason why a stream was refused or ended early. It is an error, so that
// errors.Is(err, bridge.NotAllowed) works.
type Reason string

// The reasons. Those of the first group say why the peer refused, and are sent to the
// caller. A peer of a later version may send others.
const (
	NotAllowed     Reason = "not allowed"
	NoSuchProtocol Reason = "no such protocol"
	TargetRefused  Reason = "target refused"
	TargetTimedOut Reason = "target timed out"
	TooMany        Reason = "too many streams"
	Loop           Reason = "loop" // the target is the forward from which the stream came

	TargetFailed Reason = "target failed"     // the local end of a listener's stream broke off
	ClientFailed Reason = "client failed"     // the local end of a forward's stream broke off
	PeerAway     Reason = "peer away"         // the peer cannot be reached
	PeerLost     Reason = "peer lost"         // the connection to the peer ended
	PeerReset    Reason = "reset by the peer" // the peer gave no reason
	TimedOut     Reason = "timed out"         // nothing moved for the idle or the drain limit
	ClosedByHand Reason = "closed by hand"    // with CloseStream
	Shutdown     Reason = "shutdown"          // the node closes
)

var reasons = []Reason{"", NotAllowed, NoSuchProtocol, TargetRefused, TargetTimedOut, TooMany, Loop, TargetFailed, ClientFailed, PeerAway,
	PeerLost, PeerReset, TimedOut, ClosedByHand, Shutdown}

func (r Reason) Error() string { return string(r) }

// known returns r, or "other" if only a peer uses it: metrics must not take values that a
// peer chooses.
func (r Reason) known() Reason {
	if slices.Contains(reasons, r) {
		return r
	}
	return "other"
}

// maxReason bounds the reason that a peer gives, in bytes.
const maxReason = 64

// readable returns a peer's reason in a form that may be shown: bounded, and without
// control characters.
func (r Reason) readable() Reason { return Reason(told.Line(string(r), maxReason)) }

// Error describes how a stream failed. errors.Is finds its Reason, and whatever Err
// wraps.
type Error struct {
	Reason   Reason
	Peer     peer.ID     // the other end; empty if not known
	Protocol protocol.ID // empty if not known
	Remote   bool        // the peer gave the reason
	Err      error       // the underlying error; may be nil
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Protocol != "" {
		fmt.Fprintf(&b, "%s at %s: ", e.Protocol, e.Peer)
	}
	b.WriteString(string(e.Reason))
	if e.Err != nil && !e.Remote {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns the reason and the underlying error.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Err}
}

// reasonOf returns the reason in err, or otherwise if it has none.
func reasonOf(err error, otherwise Reason) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	if r, ok := errors.AsType[Reason](err); ok {
		return r
	}
	return otherwise
}

// errorOf returns the *Error in err, or a new one with the reason in err, or otherwise.
func errorOf(err error, otherwise Reason) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Reason: reasonOf(err, otherwise), Err: err}
}

// opening returns an *Error that says why a stream could not be opened.
func opening(p peer.ID, proto protocol.ID, err error) *Error {
	reason := PeerAway
	if notSupported(err) {
		reason = NoSuchProtocol
	}
	return &Error{Reason: reason, Peer: p, Protocol: proto, Remote: reason == NoSuchProtocol, Err: err}
}

func notSupported(err error) bool {
	_, ok := errors.AsType[multistream.ErrNotSupported[protocol.ID]](err)
	return ok
}

// timedOut reports whether err is a timeout.
func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// wentSilent reports whether err says that a connection ended because nothing came from
// the peer. With QUIC that is a timeout, as a deadline is.
func wentSilent(err error) bool { return timedOut(err) && errors.Is(err, net.ErrClosed) }
