//go:build js

package jsapi

import (
	"context"
	"fmt"
	"syscall/js"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

func (n *node) jsSend(args []js.Value) (any, error) {
	p, err := peerArgument(args)
	if err != nil {
		return nil, err
	}
	typ, data, err := messageArguments(rest(args, 1))
	if err != nil {
		return nil, err
	}
	opts, err := sendOptions(argument(args, 3))
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := callContext(args, 3)
	if err != nil {
		return nil, err
	}
	defer cancel()
	return nil, n.Send(ctx, p, typ, data, opts...)
}

func (n *node) jsSendAll(args []js.Value) (any, error) {
	list := argument(args, 0)
	if !isArray(list) {
		return nil, &jsio.ArgumentError{Name: "peers", Want: "an array of peer ids", Got: list}
	}
	peers := make([]peer.ID, list.Length())
	for i := range peers {
		var err error
		if peers[i], err = peerArgument([]js.Value{list.Index(i)}); err != nil {
			return nil, err
		}
	}
	return n.sendMany(args, func(ctx context.Context, typ string, data []byte, opts []core.SendOption) (link.Report, error) {
		return n.SendAll(ctx, peers, typ, data, opts...)
	})
}

func (n *node) jsSendTo(args []js.Value) (any, error) {
	filter, err := filterArgument(argument(args, 0))
	if err != nil {
		return nil, err
	}
	return n.sendMany(args, func(ctx context.Context, typ string, data []byte, opts []core.SendOption) (link.Report, error) {
		return n.SendTo(ctx, filter, typ, data, opts...)
	})
}

func filterArgument(v js.Value) (link.Filter, error) {
	switch {
	case v.Type() == js.TypeString && v.String() == "every":
		return link.Every, nil
	case v.Type() == js.TypeString && v.String() == "sqrt":
		return link.Sqrt, nil
	case v.Type() == js.TypeObject:
		if n, ok, err := wholeNumber(v, "random"); ok || err != nil {
			return link.Random(int(n)), err
		}
	}
	return nil, &jsio.ArgumentError{Name: "filter", Want: `"every", "sqrt", {random: n} or a function`, Got: v}
}

func (n *node) sendMany(args []js.Value, send func(context.Context, string, []byte, []core.SendOption) (link.Report, error)) (any, error) {
	typ, data, err := messageArguments(rest(args, 1))
	if err != nil {
		return nil, err
	}
	opts, err := sendOptions(argument(args, 3))
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := callContext(args, 3)
	if err != nil {
		return nil, err
	}
	defer cancel()
	report, err := send(ctx, typ, data, opts)
	if err != nil {
		return nil, err
	}
	failed := make([]any, len(report.Failed))
	for i, f := range report.Failed {
		failed[i] = map[string]any{"peer": f.Peer.String(), "reason": f.Err.Error()}
	}
	return map[string]any{"reached": peerStrings(report.Reached), "failed": failed}, nil
}

var priorities = map[string]link.Priority{"high": link.High, "normal": link.Normal, "low": link.Low}

func sendOptions(raw js.Value) ([]core.SendOption, error) {
	if err := checkOptions(raw, "priority", "signal"); err != nil || raw.IsUndefined() {
		return nil, err
	}
	v := raw.Get("priority")
	if v.IsUndefined() {
		return nil, nil
	}
	if v.Type() == js.TypeString {
		if p, ok := priorities[v.String()]; ok {
			return []core.SendOption{core.At(p)}, nil
		}
	}
	return nil, &jsio.ArgumentError{Name: "option priority", Want: `"high", "normal" or "low"`, Got: v}
}

func (n *node) jsRequest(args []js.Value) (any, error) {
	p, err := peerArgument(args)
	if err != nil {
		return nil, err
	}
	typ, data, err := messageArguments(rest(args, 1))
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := callContext(args, 3)
	if err != nil {
		return nil, err
	}
	defer cancel()
	reply, err := n.Request(ctx, p, typ, data)
	if err != nil {
		return nil, err
	}
	return jsio.Uint8Array(reply), nil
}

func (n *node) jsRespond(args []js.Value) (any, error) {
	typ, f, err := handlerArguments(args)
	if err != nil {
		return nil, err
	}
	remove, err := n.Respond(typ, func(ctx context.Context, m *message.Message) ([]byte, error) {
		abort := js.Global().Get("AbortController").New()
		stop := context.AfterFunc(ctx, func() { abort.Call("abort") })
		defer stop()
		v, err := callFunction(ctx, f, messageObject(m), map[string]any{"signal": abort.Get("signal")})
		if err != nil {
			return nil, err
		}
		if !jsio.IsBytes(v) {
			err := &jsio.ArgumentError{Name: "the reply", Want: "a Uint8Array", Got: v}
			n.dispatch("error", map[string]any{"message": fmt.Sprintf("responder of %q: %v", typ, err)})
			return nil, err
		}
		return jsio.Bytes(v), nil
	})
	if err != nil {
		return nil, err
	}
	return n.register(map[string]any{"type": typ}, remove), nil
}

// messageArguments are the type and the bytes of a message.
func messageArguments(args []js.Value) (typ string, data []byte, err error) {
	if typ, err = stringArgument(argument(args, 0), "type", "a string"); err != nil {
		return "", nil, err
	}
	v := argument(args, 1)
	if !jsio.IsBytes(v) {
		return "", nil, &jsio.ArgumentError{Name: "data", Want: "a Uint8Array", Got: v}
	}
	return typ, jsio.Bytes(v), nil
}

// handlerArguments are a type and the function that answers it.
func handlerArguments(args []js.Value) (typ string, f js.Value, err error) {
	if typ, err = stringArgument(argument(args, 0), "type", "a string"); err != nil {
		return "", f, err
	}
	if f = argument(args, 1); f.Type() != js.TypeFunction {
		return "", f, &jsio.ArgumentError{Name: "handler", Want: "a function", Got: f}
	}
	return typ, f, nil
}

func stringArgument(v js.Value, name, want string) (string, error) {
	if v.Type() != js.TypeString {
		return "", &jsio.ArgumentError{Name: name, Want: want, Got: v}
	}
	return v.String(), nil
}

func rest(args []js.Value, from int) []js.Value {
	if from >= len(args) {
		return nil
	}
	return args[from:]
}

func isArray(v js.Value) bool { return js.Global().Get("Array").Call("isArray", v).Bool() }

func peerStrings(ids []peer.ID) []any {
	list := make([]any, len(ids))
	for i, p := range ids {
		list[i] = p.String()
	}
	return list
}
