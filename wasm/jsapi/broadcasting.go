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
	o, err := readOptions(argument(args, 2), "signal", "wait")
	if err != nil {
		return nil, err
	}
	var opts []mesh.BroadcastOption
	if wait, err := o.flag("wait", false); err != nil {
		return nil, err
	} else if wait {
		opts = append(opts, mesh.WaitForPeer())
	}
	ctx, cancel, err := o.context()
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
		if err == nil {
			name, _ := jsio.Text(v)
			if verdict, ok := verdicts[name]; ok {
				return verdict
			}
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

// messageObject returns a message in the form that JavaScript handlers get.
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

// callFunction calls a JavaScript function and waits for the promise that it returns, if
// it returns one.
func callFunction(ctx context.Context, f js.Value, args ...any) (js.Value, error) {
	v, err := jsio.Try(func() js.Value { return f.Invoke(args...) })
	if err != nil {
		return js.Undefined(), err
	}
	return jsio.Outcome(ctx, v)
}

func (n *node) jsKeepHistory(args []js.Value) (any, error) {
	typ, err := stringArgument(argument(args, 0), "type", "a string")
	if err != nil {
		return nil, err
	}
	o, err := readOptions(argument(args, 1), "age", "bytes", "count")
	if err != nil {
		return nil, err
	}
	count, err1 := o.count("count", 1, jsio.MaxCount)
	bytes, err2 := o.count("bytes", 1, jsio.MaxCount)
	age, err3 := o.count("age", 1, math.MaxInt64/int64(time.Millisecond))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	return nil, n.KeepHistory(typ, replay.Limits{Count: int(count), Bytes: int(bytes), Age: time.Duration(age) * time.Millisecond})
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

// decimal returns a number as text, because a JavaScript number cannot hold all 64 bits.
func decimal(n uint64) string { return strconv.FormatUint(n, 10) }
