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
	p, err := n.remoteArgument(argument(args, 0))
	if err != nil {
		return nil, err
	}
	typ, data, err := messageArguments(rest(args, 1))
	if err != nil {
		return nil, err
	}
	opts, ctx, cancel, err := sendOptions(argument(args, 3))
	if err != nil {
		return nil, err
	}
	defer cancel()
	return nil, n.Send(ctx, p, typ, data, opts...)
}

func (n *node) jsSendAll(args []js.Value) (any, error) {
	list, err := itemsArgument("peers", "an array of peer ids", argument(args, 0))
	if err != nil {
		return nil, err
	}
	peers := make([]peer.ID, len(list))
	for i, v := range list {
		if peers[i], err = peerArgument(v); err != nil {
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
	switch name, _ := jsio.Text(v); name {
	case "every":
		return link.Every, nil
	case "sqrt":
		return link.Sqrt, nil
	}
	if jsio.TypeOf(v) == js.TypeObject {
		random, err := jsio.Get(v, "random")
		if err != nil {
			return nil, &jsio.ArgumentError{Name: "filter", Err: err}
		}
		o := options{"random": random}
		if n, err := o.count("random", 1, jsio.MaxCount); n > 0 || err != nil {
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
	opts, ctx, cancel, err := sendOptions(argument(args, 3))
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

// sendOptions reads the options of a message and returns a context that ends with its
// signal. cancel must be called unless there is an error.
func sendOptions(raw js.Value) (opts []core.SendOption, ctx context.Context, cancel func(), err error) {
	o, err := readOptions(raw, "priority", "signal")
	if err != nil {
		return nil, nil, nil, err
	}
	if o.given("priority") {
		name, _ := jsio.Text(o["priority"])
		p, ok := priorities[name]
		if !ok {
			return nil, nil, nil, o.bad("priority", `"high", "normal" or "low"`)
		}
		opts = append(opts, core.At(p))
	}
	ctx, cancel, err = o.context()
	return opts, ctx, cancel, err
}

func (n *node) jsRequest(args []js.Value) (any, error) {
	p, err := n.remoteArgument(argument(args, 0))
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
		reply, err := bytesArgument(v, "the reply", "a Uint8Array", maxMessage)
		if err != nil {
			n.dispatch("error", map[string]any{"message": fmt.Sprintf("responder of %q: %v", typ, err)})
		}
		return reply, err
	})
	if err != nil {
		return nil, err
	}
	return n.register(map[string]any{"type": typ}, remove), nil
}

func peerStrings(ids []peer.ID) []any {
	list := make([]any, len(ids))
	for i, p := range ids {
		list[i] = p.String()
	}
	return list
}
