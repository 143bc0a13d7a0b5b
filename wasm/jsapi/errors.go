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

// code tells programs what kind of failure an error is; the error's text is for people.
// web/src/errors.ts documents each code.
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

// codes maps errors of core's packages to codes. An error may match several entries; the
// first one counts, so the most specific come first.
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

// coded is an error whose code is set where the error is made.
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

// makeError is the name of a property of the global. The TypeScript package sets it to a
// function that takes a code, a text and the reason of a stream or seat, and returns an
// error of its own class.
const makeError = "makeError"

// withReason is withCode for the errors of a Conn. Other errors, such as io.EOF, are
// returned unchanged.
func withReason(err error) error {
	if _, ok := errors.AsType[*bridge.Error](err); !ok {
		return err
	}
	return withCode(err)
}

// withCode turns err into an error with a code for JavaScript. It does not change
// context.Canceled, which becomes an AbortError, or errors that JavaScript threw.
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
	if failed != nil { // makeError is not set, or it threw
		v = js.Global().Get("Error").New(err.Error())
		v.Set("code", string(c))
		if reason != "" {
			v.Set("reason", reason)
		}
	}
	return &jsio.Error{Name: "Error", Message: err.Error(), Value: v}
}

func throwable(err error) js.Value { return jsio.Throwable(withCode(err)) }
