//go:build js

package jsapi

import (
	"context"
	"errors"
	"syscall/js"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/discovery"
	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// code says to a program what kind of failure an error is; the words for people
// are in the error. web/src/errors.ts documents each.
type code string

const (
	codeOption      code = "option"
	codeArgument    code = "argument"
	codeStream      code = "stream"
	codeClosed      code = "closed"
	codeResting     code = "resting"
	codeTaken       code = "taken"
	codeUnreachable code = "unreachable"
	codeLost        code = "lost"
	codeQueueFull   code = "queue-full"
	codeTooLarge    code = "too-large"
	codeNoPeers     code = "no-peers"
	codeRefused     code = "refused"
	codeAnswer      code = "answer"
	codeTooSlow     code = "too-slow"
	codeTimeout     code = "timeout"
	codeSeat        code = "seat"
	codeFailed      code = "failed"
)

// codes are those of errors that the packages of core have, first to last: an
// error may be several of them, and is the most particular.
var codes = []struct {
	err  error
	code code
}{
	{core.ErrResting, codeResting},
	{message.ErrTooLarge, codeTooLarge},
	{message.ErrType, codeArgument},
	{bridge.ErrName, codeArgument},
	{bridge.ErrNoStream, codeArgument},
	{mesh.ErrNotKept, codeArgument},
	{core.ErrProtocolTaken, codeTaken},
	{bridge.ErrRegistered, codeTaken},
	{link.ErrTaken, codeTaken},
	{link.ErrQueueFull, codeQueueFull},
	{link.ErrPending, codeQueueFull},
	{mesh.ErrNoPeers, codeNoPeers},
	{mesh.ErrRefused, codeRefused},
	{dispatch.ErrSlow, codeTooSlow},

	{core.ErrClosed, codeClosed},
	{link.ErrClosed, codeClosed},
	{mesh.ErrClosed, codeClosed},
	{dispatch.ErrClosed, codeClosed},
	{bridge.ErrClosed, codeClosed},
	{discovery.ErrClosed, codeClosed},
	{swarm.ErrSwarmClosed, codeClosed},

	{context.DeadlineExceeded, codeTimeout},
	{link.ErrLost, codeLost},
	{link.ErrMayArrive, codeLost},
	{link.ErrUnreachable, codeUnreachable},
	{discovery.ErrNotFound, codeUnreachable},
	{network.ErrNoConn, codeUnreachable},
	{network.ErrNoRemoteAddrs, codeUnreachable},
	{swarm.ErrDialToSelf, codeUnreachable},
	{swarm.ErrNoAddresses, codeUnreachable},
	{swarm.ErrAllDialsFailed, codeUnreachable},
}

// coded is an error whose code is known where it is made.
type coded struct {
	code code
	error
}

func (e *coded) Unwrap() error { return e.error }

func codeOf(err error) code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*coded](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[*bridge.Error](err); ok {
		return codeStream
	}
	if _, ok := errors.AsType[*seat.Out](err); ok {
		return codeSeat
	}
	if _, ok := errors.AsType[*jsio.ArgumentError](err); ok {
		return codeArgument
	}
	if _, ok := errors.AsType[*link.RemoteError](err); ok {
		return codeAnswer
	}
	for _, known := range codes {
		if errors.Is(err, known.err) {
			return known.code
		}
	}
	if _, ok := errors.AsType[*swarm.DialError](err); ok {
		return codeUnreachable
	}
	return codeFailed
}

// makeError is the property of the global by which the TypeScript has errors be
// of its own class: a function of a code, a text and the reason of a stream.
const makeError = "makeError"

// withReason is withCode for what a Conn returns: io.EOF stays what it is.
func withReason(err error) error {
	if _, ok := errors.AsType[*bridge.Error](err); !ok {
		return err
	}
	return withCode(err)
}

// withCode makes of an error one that JavaScript knows the kind of. That a signal
// ended a call is an AbortError, and what JavaScript threw stays what it is.
func withCode(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if thrown, ok := err.(*jsio.Error); ok {
		return thrown
	}
	var reason string
	if e, ok := errors.AsType[*bridge.Error](err); ok {
		reason = string(e.Reason)
	}
	if out, ok := errors.AsType[*seat.Out](err); ok {
		reason = out.Code.Name()
	}
	c := codeOf(err)
	v, failed := jsio.Call(api, makeError, string(c), err.Error(), reason)
	if failed != nil { // nobody set it, or it threw
		v = js.Global().Get("Error").New(err.Error())
		v.Set("code", string(c))
		if reason != "" {
			v.Set("reason", reason)
		}
	}
	return &jsio.Error{Name: "Error", Message: err.Error(), Value: v}
}

func throwable(err error) js.Value { return jsio.Throwable(withCode(err)) }
