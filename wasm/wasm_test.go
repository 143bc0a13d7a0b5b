//go:build js

package wasm_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/wasm"
	"github.com/tombolo-net/tombolo/wasm/internal/farside"
	"github.com/tombolo-net/tombolo/wasm/websocket"
	"github.com/tombolo-net/tombolo/wasm/webtransport"
)

const limit = 45 * time.Second

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func available() []string {
	var names []string
	if webtransport.Available() {
		names = append(names, wasm.WebTransport)
	}
	if websocket.Available() {
		names = append(names, wasm.WebSocket)
	}
	return names
}

// join makes a node with a reservation on the relay.
func join(t *testing.T, relay *farside.Peer, transports ...string) (*core.Node, *core.Events) {
	t.Helper()
	n, err := wasm.New(bounded(t), wasm.Options{
		Relays:     []peer.AddrInfo{{ID: relay.ID, Addrs: relay.Addrs}},
		Transports: transports,
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	events := n.Events()
	t.Cleanup(events.Close)
	if len(n.Reservations()) == 0 {
		next(t, events, core.ReservationMade)
	}
	return n, events
}

func next(t *testing.T, events *core.Events, want core.EventType) core.Event {
	t.Helper()
	for ev := range events.All(bounded(t)) {
		if ev.Type == want {
			return ev
		}
	}
	require.Failf(t, "no event", "%s did not come in %s", want, limit)
	return core.Event{}
}

// circuit returns an address at which a native peer can dial the node.
func circuit(t *testing.T, n *core.Node) string {
	t.Helper()
	for _, a := range n.Addrs() {
		if s := a.String(); strings.Contains(s, "/p2p-circuit/") && strings.Contains(s, "/ws/") {
			return s
		}
	}
	require.Failf(t, "not dialable", "no circuit address in %v", n.Addrs())
	return ""
}

func TestNodeIsDialledThroughItsRelay(t *testing.T) {
	for _, name := range available() {
		t.Run(name, func(t *testing.T) {
			relay := farside.Start(t, "listen=ws,webtransport&relay=1")
			n, events := join(t, relay, name)
			require.Len(t, n.Peers(), 1)
			assert.Equal(t, name, n.Peers()[0].Transport)

			native := farside.Start(t, "listen=ws")
			r := native.Tell(t, "echo", circuit(t, n), "bytes=2000000")
			require.True(t, r.OK, r.Error)
			assert.True(t, r.Relayed)
			assert.False(t, r.Limited)
			assert.EqualValues(t, 2_000_000, next(t, events, core.EchoAnswered).Bytes)

			got, err := n.Echo(bounded(t), native.ID, []byte("and back"))
			require.NoError(t, err)
			assert.Equal(t, "and back", string(got))

			id := native.Tell(t, "identify", "/p2p/"+n.ID().String(), "")
			require.True(t, id.OK, id.Error)
			assert.Contains(t, id.Agent, "tombolo/")
			assert.Contains(t, id.Protocols, string(core.EchoProtocol))
		})
	}
}

func TestNodeDialsANativePeerDirectly(t *testing.T) {
	native := farside.Start(t, "listen=ws,webtransport")
	for _, name := range available() {
		t.Run(name, func(t *testing.T) {
			n, err := wasm.New(bounded(t), wasm.Options{Transports: []string{name}})
			require.NoError(t, err)
			defer n.Close()
			require.NoError(t, n.ConnectPeer(bounded(t), peer.AddrInfo{ID: native.ID, Addrs: native.Addrs}))
			p := n.Peers()[0]
			assert.Equal(t, name, p.Transport)
			assert.False(t, p.Relayed)
			_, err = n.Echo(bounded(t), native.ID, make([]byte, 1<<20))
			require.NoError(t, err)
		})
	}
}

func TestWebTransportIsPreferred(t *testing.T) {
	if !webtransport.Available() {
		t.Skip("the platform has no WebTransport")
	}
	native := farside.Start(t, "listen=ws,webtransport")
	n, err := wasm.New(bounded(t), wasm.Options{})
	require.NoError(t, err)
	defer n.Close()
	require.NoError(t, n.ConnectPeer(bounded(t), peer.AddrInfo{ID: native.ID, Addrs: native.Addrs}))
	assert.Equal(t, "webtransport", n.Peers()[0].Transport)
}

func TestReservationComesBackAfterTheRelayWasKilled(t *testing.T) {
	for _, name := range available() {
		t.Run(name, func(t *testing.T) {
			first := farside.Start(t, "listen=ws,webtransport&relay=1&process=1&identity=phoenix-"+name)
			n, events := join(t, first, name)
			first.Post(t, "kill", nil)
			lost := next(t, events, core.ReservationLost)
			assert.Equal(t, first.ID, lost.Peer)
			require.Error(t, lost.Err)
			assert.Empty(t, n.Reservations())

			second := farside.Start(t, fmt.Sprintf("listen=ws:%s,webtransport:%s&relay=1&process=1&identity=phoenix-%s",
				port(t, first, "/tcp/"), port(t, first, "/udp/"), name))
			require.Equal(t, first.ID, second.ID)
			next(t, events, core.ReservationMade)
			native := farside.Start(t, "listen=ws")
			r := native.Tell(t, "echo", circuit(t, n), "bytes=1000")
			require.True(t, r.OK, r.Error)
		})
	}
}

func port(t *testing.T, p *farside.Peer, proto string) string {
	t.Helper()
	for _, a := range p.Addrs {
		if _, rest, ok := strings.Cut(a.String(), proto); ok {
			number, _, _ := strings.Cut(rest, "/")
			return number
		}
	}
	require.Failf(t, "no port", "%v has no %s", p.Addrs, proto)
	return ""
}

func TestOptionsThatCannotBeAreRefused(t *testing.T) {
	_, err := wasm.New(bounded(t), wasm.Options{Transports: []string{"pigeon"}})
	require.ErrorContains(t, err, `unknown transport "pigeon"`)
	_, err = wasm.New(bounded(t), wasm.Options{RelayURLs: []string{"wss://relay.example"}})
	require.ErrorContains(t, err, `"wss://relay.example"`)
	if !webtransport.Available() {
		_, err = wasm.New(bounded(t), wasm.Options{Transports: []string{wasm.WebTransport}})
		require.ErrorContains(t, err, "does not offer WebTransport")
	}
}

func TestPersistentIdentityOutlivesItsNode(t *testing.T) {
	key, held, err := wasm.PersistentIdentity(bounded(t))
	if errors.Is(err, wasm.ErrNotPersistent) {
		t.Skip(err)
	}
	require.NoError(t, err)
	// A second tab at the same time is another peer.
	other, otherHeld, err := wasm.PersistentIdentity(bounded(t))
	require.NoError(t, err)
	assert.NotEqual(t, id(t, key), id(t, other))
	require.NoError(t, held.Close())

	// The next tab takes the identity that is free, and is the same peer as its last holder.
	again, againHeld, err := wasm.PersistentIdentity(bounded(t))
	require.NoError(t, err)
	assert.Equal(t, id(t, key), id(t, again))
	require.NoError(t, otherHeld.Close())
	require.NoError(t, againHeld.Close())
}

func id(t *testing.T, key crypto.PrivKey) peer.ID {
	t.Helper()
	id, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	return id
}
