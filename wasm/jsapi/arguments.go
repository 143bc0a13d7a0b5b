//go:build js

package jsapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall/js"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// argument returns args[i], or undefined.
func argument(args []js.Value, i int) js.Value { return jsio.First(rest(args, i)) }

func rest(args []js.Value, from int) []js.Value {
	if from >= len(args) {
		return nil
	}
	return args[from:]
}

func stringArgument(v js.Value, name, want string) (string, error) {
	s, ok := jsio.Text(v)
	if !ok {
		return "", &jsio.ArgumentError{Name: name, Want: want, Got: v}
	}
	return s, nil
}

func functionArgument(v js.Value, name string) (js.Value, error) {
	if jsio.TypeOf(v) != js.TypeFunction {
		return v, &jsio.ArgumentError{Name: name, Want: "a function", Got: v}
	}
	return v, nil
}

// bytesArgument copies at most limit bytes; want describes them for the error text.
func bytesArgument(v js.Value, name, want string, limit int) ([]byte, error) {
	b, err := jsio.Bytes(v, limit)
	switch {
	case errors.Is(err, jsio.ErrNotBytes):
		return nil, &jsio.ArgumentError{Name: name, Want: want, Got: v}
	case errors.Is(err, jsio.ErrTooLarge):
		return nil, &coded{codeTooLarge, fmt.Errorf("%s is %w", name, err)}
	case err != nil:
		return nil, &jsio.ArgumentError{Name: name, Err: err}
	}
	return b, nil
}

// remoteArgument reads the ID of a peer other than this node.
func (n *node) remoteArgument(v js.Value) (peer.ID, error) {
	id, err := peerArgument(v)
	if err == nil && id == n.ID() {
		err = &coded{codeArgument, errors.New("the peer is this node itself")}
	}
	return id, err
}

func peerArgument(v js.Value) (peer.ID, error) {
	s, _ := jsio.Text(v)
	id, err := peer.Decode(s)
	if err != nil {
		return "", &jsio.ArgumentError{Name: "peer", Want: "a peer id", Got: v}
	}
	return id, nil
}

func protocolArgument(v js.Value) (protocol.ID, error) {
	s, _ := jsio.Text(v)
	if len(s) < 2 || s[0] != '/' {
		return "", &jsio.ArgumentError{Name: "protocol", Want: "a name that begins with /", Got: v}
	}
	return protocol.ID(s), nil
}

// messageArguments reads the type and the bytes of a message.
func messageArguments(args []js.Value) (typ string, data []byte, err error) {
	if typ, err = stringArgument(argument(args, 0), "type", "a string"); err != nil {
		return "", nil, err
	}
	data, err = bytesArgument(argument(args, 1), "data", "a Uint8Array", maxMessage)
	return typ, data, err
}

// maxMessage bounds the data of a message that is copied into Go, in bytes. It is above
// core's own bound, so that core's error names the real one.
const maxMessage = 2 * message.DefaultMaxFrame

// handlerArguments reads a type and the function that handles it.
func handlerArguments(args []js.Value) (typ string, f js.Value, err error) {
	if typ, err = stringArgument(argument(args, 0), "type", "a string"); err != nil {
		return "", f, err
	}
	f, err = functionArgument(argument(args, 1), "handler")
	return typ, f, err
}

// options are the properties of an options object. Each is read only once, because a
// getter may throw or return something else the next time.
type options map[string]js.Value

// readOptions reads the known properties of an object. It treats undefined as an empty
// object. An unknown property is an error, because it is usually a typing mistake.
func readOptions(raw js.Value, known ...string) (options, error) {
	if raw.IsUndefined() {
		return nil, nil
	}
	if jsio.TypeOf(raw) != js.TypeObject {
		return nil, &jsio.ArgumentError{Name: "options", Want: "an object", Got: raw}
	}
	keys, err := jsio.Call(js.Global().Get("Object"), "keys", raw)
	if err != nil {
		return nil, &jsio.ArgumentError{Name: "options", Err: err}
	}
	for i := range keys.Length() {
		if name, _ := jsio.Text(keys.Index(i)); !slices.Contains(known, name) {
			return nil, &coded{codeArgument, fmt.Errorf("unknown option %q: there are %s", name, strings.Join(known, ", "))}
		}
	}
	o := make(options, len(known))
	for _, name := range known {
		if o[name], err = jsio.Get(raw, name); err != nil {
			return nil, &jsio.ArgumentError{Name: "option " + name, Err: err}
		}
	}
	return o, nil
}

// bad returns the error for an option that is not what it must be.
func (o options) bad(name, want string) error {
	return &jsio.ArgumentError{Name: "option " + name, Want: want, Got: o[name]}
}

func (o options) given(name string) bool { return !o[name].IsUndefined() }

// flag returns an option that is true or false.
func (o options) flag(name string, otherwise bool) (bool, error) {
	if !o.given(name) {
		return otherwise, nil
	}
	if jsio.TypeOf(o[name]) != js.TypeBoolean {
		return false, o.bad(name, "true or false")
	}
	return o[name].Bool(), nil
}

// words returns an option that is a string and, if given, not empty.
func (o options) words(name, want string) (string, error) {
	if !o.given(name) {
		return "", nil
	}
	s, _ := jsio.Text(o[name])
	if s == "" {
		return "", o.bad(name, want)
	}
	return s, nil
}

// count returns an option that is a whole number from least to most, or 0 if the option
// is not given.
func (o options) count(name string, least, most int64) (int64, error) {
	if !o.given(name) {
		return 0, nil
	}
	n, ok := jsio.Count(o[name], least, most)
	switch {
	case ok:
		return n, nil
	case least == 0:
		return 0, o.bad(name, "a whole number, or 0 for no bound")
	case most == jsio.MaxCount:
		return 0, o.bad(name, fmt.Sprintf("a whole number of at least %d", least))
	}
	return 0, o.bad(name, fmt.Sprintf("a whole number from %d to %d", least, most))
}

// strings returns an option that is an array of strings; want describes them.
func (o options) strings(name, want string) ([]string, error) {
	if !o.given(name) {
		return nil, nil
	}
	return stringsArgument("option "+name, want, o[name])
}

func stringsArgument(name, want string, v js.Value) ([]string, error) {
	items, err := itemsArgument(name, want, v)
	if err != nil {
		return nil, err
	}
	list := make([]string, len(items))
	for i, item := range items {
		if list[i], err = stringArgument(item, name, want); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func itemsArgument(name, want string, v js.Value) ([]js.Value, error) {
	items, err := jsio.Items(v)
	switch {
	case errors.Is(err, jsio.ErrNotArray):
		return nil, &jsio.ArgumentError{Name: name, Want: want, Got: v}
	case err != nil:
		return nil, &jsio.ArgumentError{Name: name, Err: err}
	}
	return items, nil
}

// context returns a context that ends with the option signal, if there is one. cancel
// must be called unless there is an error.
func (o options) context() (ctx context.Context, cancel func(), err error) {
	ctx, cancel, err = jsio.WithSignal(context.Background(), o["signal"])
	switch {
	case errors.Is(err, jsio.ErrNotSignal):
		return nil, nil, o.bad("signal", "an AbortSignal")
	case err != nil:
		return nil, nil, &jsio.ArgumentError{Name: "option signal", Err: err}
	}
	return ctx, cancel, nil
}

// callContext returns the context of a call whose only option, in args[i], is signal.
func callContext(args []js.Value, i int) (ctx context.Context, cancel func(), err error) {
	o, err := readOptions(argument(args, i), "signal")
	if err != nil {
		return nil, nil, err
	}
	return o.context()
}
