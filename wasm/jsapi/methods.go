//go:build js

package jsapi

import (
	"errors"
	"fmt"
	"reflect"
	"syscall/js"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// methods are the calls on a node. Each runs in its own goroutine, and its results settle
// the promise.
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

	"hostRoom":    (*node).jsHostRoom,
	"joinRoom":    (*node).jsJoinRoom,
	"standByRoom": (*node).jsStandByRoom,
	"rooms":       (*node).jsRooms,
	"watchRooms":  (*node).jsWatchRooms,
	"placeRoom":   (*node).jsPlaceRoom,
	"board":       (*node).jsBoard,

	"privateKey": (*node).jsPrivateKey,

	// Called by the page if the node is in a worker.
	"rest": func(n *node, _ []js.Value) (any, error) { n.Rest(); return nil, nil },
	"wake": func(n *node, _ []js.Value) (any, error) { n.Wake(); return nil, nil },

	"stats": func(n *node, _ []js.Value) (any, error) { return plain(reflect.ValueOf(n.Stats())), nil },
	"close": func(n *node, _ []js.Value) (any, error) { return nil, n.close() },
}

func (n *node) jsAddrs([]js.Value) (any, error) { return addrStrings(n.Addrs()), nil }

// jsPrivateKey returns the node's private key to the page whose worker the node runs in.
// A node that replaces it after a crash then has the same identity.
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
	list, err := stringsArgument("relays", relaysWanted, argument(args, 0))
	if err != nil {
		return nil, err
	}
	relays, urls, err := core.ParseRelays(list)
	if err != nil {
		return nil, optionError("relays", err)
	}
	if err := n.AddRelays(relays); err != nil {
		return nil, err
	}
	return nil, n.AddRelayURLs(urls)
}

func (n *node) jsConnect(args []js.Value) (any, error) {
	addr, err := stringArgument(argument(args, 0), "peer", "a peer id or a multiaddr")
	if err != nil {
		return nil, err
	}
	info, err := core.ParsePeer(addr)
	if err == nil && info.ID == n.ID() {
		err = errors.New("the peer is this node itself")
	}
	if err != nil {
		return nil, &coded{codeArgument, fmt.Errorf("connect: %w", err)}
	}
	ctx, cancel, err := callContext(args, 1)
	if err != nil {
		return nil, err
	}
	defer cancel()
	return info.ID.String(), n.ConnectPeer(ctx, info)
}

func (n *node) jsDisconnect(args []js.Value) (any, error) {
	p, err := n.remoteArgument(argument(args, 0))
	if err != nil {
		return nil, err
	}
	return nil, n.Disconnect(p)
}

func (n *node) jsPing(args []js.Value) (any, error) {
	p, err := n.remoteArgument(argument(args, 0))
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

// maxEcho bounds the data of echo, in bytes: Go's memory has to hold it several times.
const maxEcho = 256 << 20

func (n *node) jsEcho(args []js.Value) (any, error) {
	p, err := n.remoteArgument(argument(args, 0))
	if err != nil {
		return nil, err
	}
	data, err := bytesArgument(argument(args, 1), "data", "a Uint8Array", maxEcho)
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := callContext(args, 2)
	if err != nil {
		return nil, err
	}
	defer cancel()
	reply, err := n.Echo(ctx, p, data)
	if err != nil {
		return nil, err
	}
	return jsio.Uint8Array(reply), nil
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
