//go:build js

package jsapi

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"syscall/js"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

func (n *node) jsOpen(args []js.Value) (any, error) {
	p, err := n.remoteArgument(argument(args, 0))
	if err != nil {
		return nil, err
	}
	proto, err := protocolArgument(argument(args, 1))
	if err != nil {
		return nil, err
	}
	o, err := readOptions(argument(args, 2), "allowCustomProtocol", "signal")
	if err != nil {
		return nil, err
	}
	custom, err := o.flag("allowCustomProtocol", false)
	if err != nil {
		return nil, err
	}
	if err := bridge.CheckName(proto, custom); err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	ctx, cancel, err := o.context()
	if err != nil {
		return nil, err
	}
	defer cancel()
	c, err := n.Dial(ctx, p, proto)
	if err != nil {
		return nil, err
	}
	if err := negotiate(ctx, c); err != nil {
		return nil, fmt.Errorf("open %s to %s: %w", proto, p, err)
	}
	return streamObject(c), nil
}

// negotiate finishes the protocol negotiation, which hosts may put off to the first read
// and write. If the peer does not speak the protocol, open fails, rather than the stream.
func negotiate(ctx context.Context, c *bridge.Conn) error {
	if _, bare := c.Stream.(*swarm.Stream); bare {
		return nil // negotiated already; an empty Read would wait for the peer
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Reset() })
	defer stop()
	_, err := c.Write(nil)
	if err == nil {
		_, err = c.Read(nil)
	}
	if err != nil {
		_ = c.Reset()
		return errors.Join(ctx.Err(), err)
	}
	return nil
}

// handlerTarget passes the streams of a listener to a JavaScript function.
type handlerTarget struct {
	node     *node
	protocol protocol.ID
	f        js.Value
}

var _ bridge.Target = (*handlerTarget)(nil)

// String returns the name of the target in the registry.
func (t *handlerTarget) String() string {
	if v, err := jsio.Get(t.f, "name"); err == nil {
		if name, _ := jsio.Text(v); name != "" {
			return "function " + name
		}
	}
	return "js"
}

// Serve passes a stream to JavaScript and returns when the stream has ended. If the
// function throws or rejects, the stream is reset and the page gets an error event.
func (t *handlerTarget) Serve(ctx context.Context, c *bridge.Conn) error {
	if _, err := callFunction(ctx, t.f, streamObject(c)); err != nil && ctx.Err() == nil {
		t.node.dispatch("error", map[string]any{"message": fmt.Sprintf("handler of %s: %v", t.protocol, err)})
		return &bridge.Error{Reason: bridge.TargetFailed, Err: err}
	}
	select {
	case <-c.Done():
	case <-ctx.Done():
	}
	return nil
}

// listener is a bridge.Listener that JavaScript holds.
type listener struct {
	*bridge.Listener
	node   *node
	object js.Value
}

var listeners *class[*listener]

func init() {
	listeners = newClass(&class[*listener]{
		name:   "a listener",
		parent: "Object",
		methods: map[string]func(*listener, []js.Value) (any, error){
			"close": func(l *listener, _ []js.Value) (any, error) {
				listeners.open.Drop(l.object)
				return nil, l.Close()
			},
			"update": (*listener).update,
		},
		ended: func(_ js.Value, method string) (any, error) {
			if method == "close" {
				return nil, nil
			}
			return nil, errListenerClosed
		},
	})
}

var errListenerClosed error = &coded{codeClosed, errors.New("the listener is closed")}

func (n *node) jsListen(args []js.Value) (any, error) {
	proto, err := protocolArgument(argument(args, 0))
	if err != nil {
		return nil, err
	}
	handler, err := functionArgument(argument(args, 1), "handler")
	if err != nil {
		return nil, err
	}
	config, err := listenConfig(argument(args, 2))
	if err != nil {
		return nil, err
	}
	l, err := n.Listen(context.Background(), proto, &handlerTarget{n, proto, handler}, bridge.With(config))
	if codeOf(err) == codeFailed {
		err = &coded{codeArgument, err} // the options are at fault
	}
	if err != nil {
		return nil, err
	}
	object := newObject(map[string]any{"protocol": string(proto)})
	return listeners.object(object, &listener{l, n, object}), nil
}

func listenConfig(raw js.Value) (c bridge.ListenConfig, err error) {
	o, err := readOptions(raw, append([]string{"allowCustomProtocol", "announce"}, updateOptions...)...)
	if err != nil {
		return c, err
	}
	if c.CustomProtocol, err = o.flag("allowCustomProtocol", false); err != nil {
		return c, err
	}
	if c.Announce, err = o.words("announce", "a description"); err != nil {
		return c, err
	}
	change, err := parseUpdate(o)
	if err != nil {
		return c, err
	}
	change(&c.Access, &c.Limits)
	return c, nil
}

func (l *listener) update(args []js.Value) (any, error) {
	raw := argument(args, 0)
	if jsio.TypeOf(raw) != js.TypeObject {
		return nil, &jsio.ArgumentError{Name: "changes", Want: "an object", Got: raw}
	}
	o, err := readOptions(raw, updateOptions...)
	if err != nil {
		return nil, err
	}
	change, err := parseUpdate(o)
	if err != nil {
		return nil, err
	}
	return nil, l.Update(change)
}

// updateOptions are the options of a listener that can be changed while it listens.
var updateOptions = []string{"allow", "deny", "maxStreams", "maxStreamsPerPeer", "rate"}

// parseUpdate reads the updateOptions and returns a function that applies them. Options
// that are not given are left unchanged.
func parseUpdate(o options) (func(*bridge.Access, *bridge.Limits), error) {
	var changes []func(*bridge.Access, *bridge.Limits)
	for name, field := range map[string]func(*bridge.Access) *[]peer.ID{
		"allow": func(a *bridge.Access) *[]peer.ID { return &a.Allow },
		"deny":  func(a *bridge.Access) *[]peer.ID { return &a.Deny },
	} {
		if !o.given(name) {
			continue
		}
		peers, err := peersOption(o, name)
		if err != nil {
			return nil, err
		}
		changes = append(changes, func(a *bridge.Access, _ *bridge.Limits) { *field(a) = peers })
	}
	for name, set := range map[string]func(*bridge.Limits, int64){
		"maxStreams":        func(m *bridge.Limits, n int64) { m.Streams = int(n) },
		"maxStreamsPerPeer": func(m *bridge.Limits, n int64) { m.StreamsPerPeer = int(n) },
		"rate":              func(m *bridge.Limits, n int64) { m.Rate = n },
	} {
		if !o.given(name) {
			continue
		}
		n, err := o.count(name, 0, jsio.MaxCount)
		if err != nil {
			return nil, err
		}
		changes = append(changes, func(_ *bridge.Access, m *bridge.Limits) { set(m, n) })
	}
	return func(a *bridge.Access, m *bridge.Limits) {
		for _, change := range changes {
			change(a, m)
		}
	}, nil
}

func peersOption(o options, name string) ([]peer.ID, error) {
	const want = "an array of peer ids"
	texts, err := o.strings(name, want)
	if err != nil {
		return nil, err
	}
	peers := make([]peer.ID, len(texts))
	for i, text := range texts {
		if peers[i], err = peer.Decode(text); err != nil {
			return nil, &jsio.ArgumentError{Name: "option " + name, Want: want, Got: js.ValueOf(text)}
		}
	}
	return peers, nil
}

func (n *node) jsListeners([]js.Value) (any, error) {
	return plain(reflect.ValueOf(n.Bridge().Listeners())), nil
}

func (n *node) jsStreams(args []js.Value) (any, error) {
	o, err := readOptions(argument(args, 0), "ended")
	if err != nil {
		return nil, err
	}
	ended, err := o.flag("ended", false)
	if err != nil {
		return nil, err
	}
	if ended {
		return plain(reflect.ValueOf(n.Bridge().Ended())), nil
	}
	return plain(reflect.ValueOf(n.Bridge().Streams())), nil
}

func (n *node) jsCloseStream(args []js.Value) (any, error) {
	v := argument(args, 0)
	id, ok := jsio.Count(v, 0, jsio.MaxCount)
	if !ok {
		return nil, &jsio.ArgumentError{Name: "id", Want: "the id of a stream, which is a whole number", Got: v}
	}
	if err := n.Bridge().CloseStream(uint64(id)); err != nil {
		return nil, fmt.Errorf("close stream %d: %w", id, err)
	}
	return nil, nil
}

// jsServices asks one peer, or all connected peers, for their services. Of all peers,
// those that do not answer are left out.
func (n *node) jsServices(args []js.Value) (any, error) {
	ctx, cancel, err := callContext(args, 1)
	if err != nil {
		return nil, err
	}
	defer cancel()
	if !argument(args, 0).IsUndefined() {
		p, err := n.remoteArgument(argument(args, 0))
		if err != nil {
			return nil, err
		}
		services, err := n.Services(ctx, p)
		if err != nil {
			return nil, err
		}
		return serviceObjects(nil, p, services), nil
	}
	answers := n.ServicesOf(ctx, nil)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("ask for services: %w", err)
	}
	list := []any{}
	for _, a := range answers {
		list = serviceObjects(list, a.Peer, a.Services)
	}
	return list, nil
}

func serviceObjects(list []any, p peer.ID, services []bridge.Service) []any {
	for _, s := range services {
		list = append(list, map[string]any{"peer": p.String(), "protocol": string(s.Protocol), "description": s.Description})
	}
	return list
}
