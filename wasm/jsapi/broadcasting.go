//go:build js

package jsapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"syscall/js"
	"time"

	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

func (n *node) jsBroadcast(args []js.Value) (any, error) {
	typ, data, err := messageArguments(args)
	if err != nil {
		return nil, err
	}
	raw := argument(args, 2)
	if err := checkOptions(raw, "signal", "wait"); err != nil {
		return nil, err
	}
	var opts []mesh.BroadcastOption
	if raw.Type() == js.TypeObject && raw.Get("wait").Truthy() {
		opts = append(opts, mesh.WaitForPeer())
	}
	ctx, cancel, err := callContext(args, 2)
	if err != nil {
		return nil, err
	}
	defer cancel()
	return nil, n.Broadcast(ctx, typ, data, opts...)
}

var verdicts = map[string]mesh.Verdict{"accept": mesh.Accept, "ignore": mesh.Ignore, "reject": mesh.Reject}

func (n *node) jsValidate(args []js.Value) (any, error) {
	typ, f, err := handlerArguments(args)
	if err != nil {
		return nil, err
	}
	remove, err := n.Validate(typ, func(ctx context.Context, m *message.Message) mesh.Verdict {
		v, err := callFunction(ctx, f, messageObject(m))
		if err == nil && v.Type() == js.TypeString {
			if verdict, ok := verdicts[v.String()]; ok {
				return verdict
			}
		}
		if err == nil {
			err = &jsio.ArgumentError{Name: "its verdict", Want: `"accept", "ignore" or "reject"`, Got: v}
		}
		n.dispatch("error", map[string]any{"message": fmt.Sprintf("validator of %q: %v", typ, err)})
		return mesh.Ignore
	})
	if err != nil {
		return nil, err
	}
	return n.register(map[string]any{"type": typ}, remove), nil
}

// messageObject is a message as a function of JavaScript gets it.
func messageObject(m *message.Message) map[string]any {
	return map[string]any{
		"from":      m.From.String(),
		"via":       m.Via.String(),
		"type":      m.Type,
		"id":        m.ID.String(),
		"data":      jsio.Uint8Array(m.Data),
		"missed":    0,
		"broadcast": m.Broadcast,
		"replayed":  m.Replayed,
	}
}

// callFunction calls a function of JavaScript, and waits for what it promises.
func callFunction(ctx context.Context, f js.Value, args ...any) (js.Value, error) {
	v, err := jsio.Try(func() js.Value { return f.Invoke(args...) })
	if err == nil && v.Type() == js.TypeObject && v.Get("then").Type() == js.TypeFunction {
		return jsio.Await(ctx, v)
	}
	return v, err
}

func (n *node) jsKeepHistory(args []js.Value) (any, error) {
	typ, err := stringArgument(argument(args, 0), "type", "a string")
	if err != nil {
		return nil, err
	}
	raw := argument(args, 1)
	if err := checkOptions(raw, "age", "bytes", "count"); err != nil {
		return nil, err
	}
	var limits replay.Limits
	if raw.Type() == js.TypeObject {
		count, _, err1 := wholeNumber(raw, "count")
		bytes, _, err2 := wholeNumber(raw, "bytes")
		age, _, err3 := wholeNumber(raw, "age")
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
		limits = replay.Limits{Count: int(count), Bytes: int(bytes), Age: longest(age)}
	}
	return nil, n.KeepHistory(typ, limits)
}

// longest is so many milliseconds, or the most that a Duration holds, which is 292
// years. Numbers of JavaScript go further.
func longest(ms int64) time.Duration {
	return time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

func (n *node) jsRecover(args []js.Value) (any, error) {
	typ, err := stringArgument(argument(args, 0), "type", "a string")
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := callContext(args, 1)
	if err != nil {
		return nil, err
	}
	defer cancel()
	r, err := n.Recover(ctx, typ)
	if err != nil {
		return nil, err
	}
	gaps := make([]any, len(r.Gaps))
	for i, g := range r.Gaps {
		gaps[i] = map[string]any{
			"publisher": g.Publisher.String(),
			"epoch":     decimal(g.Epoch),
			"from":      decimal(g.From),
			"to":        decimal(g.To),
		}
	}
	return map[string]any{"asked": peerStrings(r.Peers), "messages": r.Messages, "complete": r.Complete, "gaps": gaps}, nil
}

// decimal is a number that JavaScript's have not room for.
func decimal(n uint64) string { return strconv.FormatUint(n, 10) }
