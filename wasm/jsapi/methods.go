//go:build js

package jsapi

import (
	"context"
	"errors"
	"reflect"
	"syscall/js"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// methods are the calls on a node. Each runs in a goroutine of its own; what
// it returns is what the promise brings.
var methods = map[string]func(n *node, args []js.Value) (any, error){
	"addrs":      (*node).jsAddrs,
	"peers":      (*node).jsPeers,
	"relays":     (*node).jsRelays,
	"addRelays":  (*node).jsAddRelays,
	"connect":    (*node).jsConnect,
	"disconnect": (*node).jsDisconnect,
	"ping":       (*node).jsPing,
	"echo":       (*node).jsEcho,

	"open":        (*node).jsOpen,
	"listen":      (*node).jsListen,
	"listeners":   (*node).jsListeners,
	"services":    (*node).jsServices,
	"streams":     (*node).jsStreams,
	"closeStream": (*node).jsCloseStream,

	"subscribe":   (*node).jsSubscribe,
	"broadcast":   (*node).jsBroadcast,
	"validate":    (*node).jsValidate,
	"presence":    (*node).jsPresence,
	"keepHistory": (*node).jsKeepHistory,
	"recover":     (*node).jsRecover,
	"send":        (*node).jsSend,
	"sendAll":     (*node).jsSendAll,
	"sendTo":      (*node).jsSendTo,
	"request":     (*node).jsRequest,
	"respond":     (*node).jsRespond,

	"privateKey": (*node).jsPrivateKey,

	// What the page of a node in a worker tells it.
	"rest": func(n *node, _ []js.Value) (any, error) { n.Rest(); return nil, nil },
	"wake": func(n *node, _ []js.Value) (any, error) { n.Wake(); return nil, nil },

	"stats": func(n *node, _ []js.Value) (any, error) { return plain(reflect.ValueOf(n.Stats())), nil },
	"close": func(n *node, _ []js.Value) (any, error) { return nil, n.close() },
}

func (n *node) jsAddrs([]js.Value) (any, error) { return addrStrings(n.Addrs()), nil }

// jsPrivateKey is for the page whose worker this node runs in: the node that
// takes its place after a crash has the same identity.
func (n *node) jsPrivateKey([]js.Value) (any, error) {
	key := n.Host().Peerstore().PrivKey(n.ID())
	if key == nil {
		return nil, errors.New("the node has no private key")
	}
	b, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return jsio.Uint8Array(b), nil
}

func (n *node) jsPeers([]js.Value) (any, error) {
	peers := n.Peers()
	list := make([]any, len(peers))
	for i, p := range peers {
		list[i] = peerObject(p)
	}
	return list, nil
}

func peerObject(p core.Peer) map[string]any {
	o := map[string]any{
		"id":          p.ID.String(),
		"addrs":       addrStrings(p.Addrs),
		"addr":        p.Addr.String(),
		"transport":   p.Transport,
		"direction":   direction(p.Direction),
		"relayed":     p.Relayed,
		"rtt":         nil,
		"agent":       p.Agent,
		"since":       p.Since.UnixMilli(),
		"connections": p.Conns,
	}
	if p.Relayed {
		o["relay"] = p.Relay.String()
	}
	if p.RTT > 0 {
		o["rtt"] = milliseconds(p.RTT)
	}
	return o
}

func (n *node) jsRelays([]js.Value) (any, error) {
	held := n.Reservations()
	list := make([]any, len(held))
	for i, r := range held {
		list[i] = map[string]any{"id": r.Relay.String(), "addrs": addrStrings(r.Addrs), "expires": r.Expires.UnixMilli()}
	}
	return list, nil
}

func (n *node) jsAddRelays(args []js.Value) (any, error) {
	list, err := parseStrings("relays", "an array of multiaddrs", argument(args, 0))
	if err != nil {
		return nil, err
	}
	relays, err := core.ParsePeers(list)
	if err != nil {
		return nil, optionError("relays", err)
	}
	return nil, n.AddRelays(relays)
}

func (n *node) jsConnect(args []js.Value) (any, error) {
	addr := argument(args, 0)
	if addr.Type() != js.TypeString {
		return nil, &jsio.ArgumentError{Name: "peer", Want: "a peer id or a multiaddr", Got: addr}
	}
	ctx, cancel, err := callContext(args, 1)
	if err != nil {
		return nil, err
	}
	defer cancel()
	id, err := n.Connect(ctx, addr.String())
	return id.String(), err
}

func (n *node) jsDisconnect(args []js.Value) (any, error) {
	p, err := peerArgument(args)
	if err != nil {
		return nil, err
	}
	return nil, n.Disconnect(p)
}

func (n *node) jsPing(args []js.Value) (any, error) {
	p, err := peerArgument(args)
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := callContext(args, 1)
	if err != nil {
		return nil, err
	}
	defer cancel()
	rtt, err := n.Ping(ctx, p)
	return milliseconds(rtt), err
}

func (n *node) jsEcho(args []js.Value) (any, error) {
	p, err := peerArgument(args)
	if err != nil {
		return nil, err
	}
	data := argument(args, 1)
	if !jsio.IsBytes(data) {
		return nil, &jsio.ArgumentError{Name: "data", Want: "a Uint8Array", Got: data}
	}
	ctx, cancel, err := callContext(args, 2)
	if err != nil {
		return nil, err
	}
	defer cancel()
	reply, err := n.Echo(ctx, p, jsio.Bytes(data))
	if err != nil {
		return nil, err
	}
	return jsio.Uint8Array(reply), nil
}

// callContext is bounded by the signal in the options at args[i], if any; cancel
// must be called unless there is an error.
func callContext(args []js.Value, i int) (ctx context.Context, cancel func(), err error) {
	signal := js.Undefined()
	if opts := argument(args, i); opts.Type() == js.TypeObject {
		signal = opts.Get("signal")
	}
	if !signal.IsUndefined() && !signal.IsNull() && !isSignal(signal) {
		return nil, nil, &jsio.ArgumentError{Name: "option signal", Want: "an AbortSignal", Got: signal}
	}
	ctx, cancel = jsio.WithSignal(context.Background(), signal)
	return ctx, cancel, nil
}

// isSignal goes by what a signal can do: one of another frame is no instance of
// this frame's AbortSignal.
func isSignal(v js.Value) bool {
	return v.Type() == js.TypeObject && v.Get("aborted").Type() == js.TypeBoolean && v.Get("addEventListener").Type() == js.TypeFunction
}

func peerArgument(args []js.Value) (peer.ID, error) {
	v := argument(args, 0)
	if v.Type() != js.TypeString {
		return "", &jsio.ArgumentError{Name: "peer", Want: "a peer id", Got: v}
	}
	id, err := peer.Decode(v.String())
	if err != nil {
		return "", &jsio.ArgumentError{Name: "peer", Want: "a peer id", Got: v}
	}
	return id, nil
}

func protocolArgument(v js.Value) (protocol.ID, error) {
	if v.Type() != js.TypeString || len(v.String()) < 2 || v.String()[0] != '/' {
		return "", &jsio.ArgumentError{Name: "protocol", Want: "a name that begins with /", Got: v}
	}
	return protocol.ID(v.String()), nil
}

func addrStrings(addrs []ma.Multiaddr) []any {
	list := make([]any, len(addrs))
	for i, a := range addrs {
		list[i] = a.String()
	}
	return list
}

func direction(d network.Direction) string {
	if d == network.DirInbound {
		return "inbound"
	}
	return "outbound"
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
