//go:build js

package webrtc_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/host/blank"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/muxer"
	core "github.com/tombolo-net/tombolo/core/webrtc"
	"github.com/tombolo-net/tombolo/core/webrtc/webrtctest"
	"github.com/tombolo-net/tombolo/wasm/internal/conformance"
	"github.com/tombolo-net/tombolo/wasm/internal/farside"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
	"github.com/tombolo-net/tombolo/wasm/webrtc"
	"github.com/tombolo-net/tombolo/wasm/websocket"
)

// waitLimit bounds every wait for something that must happen.
const waitLimit = 45 * time.Second

// newHost makes a host that dials WebSocket and circuits, as a host in a tab does.
func newHost(t *testing.T) host.Host {
	t.Helper()
	key := conformance.NewKey(t)
	id, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	ps, err := pstoremem.NewPeerstore()
	require.NoError(t, err)
	require.NoError(t, ps.AddPrivKey(id, key))
	require.NoError(t, ps.AddPubKey(id, key.GetPublic()))
	sw, err := swarm.NewSwarm(id, ps, eventbus.NewBus())
	require.NoError(t, err)
	muxers := []upgrader.StreamMuxer{{ID: muxer.ID, Muxer: muxer.Muxer{}}}
	n, err := noise.New(noise.ID, key, muxers)
	require.NoError(t, err)
	up, err := upgrader.New([]sec.SecureTransport{n}, muxers, nil, nil, nil)
	require.NoError(t, err)
	require.NoError(t, sw.AddTransport(websocket.New(up, nil)))
	h := blankhost.NewBlankHost(sw)
	require.NoError(t, client.AddTransport(h, up))
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// pair returns the two ends of a connection between two hosts of this page. The hosts
// connect through a relay first.
func pair(t *testing.T) (dialler, answerer network.MuxedConn) {
	t.Helper()
	if !webrtc.Available() {
		t.Skip("the platform has no RTCPeerConnection here")
	}
	relay := farside.Start(t, "listen=ws&relay=1")
	relayInfo := peer.AddrInfo{ID: relay.ID, Addrs: relay.Addrs}
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	t.Cleanup(cancel)
	var hosts [2]host.Host
	var transports [2]*core.Transport
	for i := range hosts {
		hosts[i] = newHost(t)
		var err error
		transports[i], err = core.AddTransport(hosts[i], webrtc.New(webrtc.Options{}), core.Options{})
		require.NoError(t, err)
		hosts[i].Network().(*swarm.Swarm).ListenClose(core.Addr)
		require.NoError(t, hosts[i].Connect(ctx, relayInfo))
	}
	_, err := client.Reserve(ctx, hosts[1], relayInfo)
	require.NoError(t, err)
	circuit := relay.Addrs[0].Encapsulate(ma.StringCast("/p2p/" + relay.ID.String() + "/p2p-circuit"))
	require.NoError(t, hosts[0].Connect(ctx, peer.AddrInfo{ID: hosts[1].ID(), Addrs: []ma.Multiaddr{circuit}}))
	l, err := transports[1].Listen(core.Addr)
	require.NoError(t, err)
	accepted := make(chan network.MuxedConn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	c, err := transports[0].Dial(ctx, core.Addr, hosts[1].ID())
	require.NoError(t, err, "a page without a network interface that has a route has no address to send")
	select {
	case answerer = <-accepted:
	case <-ctx.Done():
		require.Fail(t, "it was not accepted")
	}
	return c, answerer
}

func TestStreams(t *testing.T) {
	a, b := pair(t)
	webrtctest.Streams(t, a, b)
}

func TestNothingLeaksOverManyStreams(t *testing.T) {
	a, b := pair(t)
	go func() {
		for {
			s, err := b.AcceptStream()
			if err != nil {
				return
			}
			_, _ = s.Read(make([]byte, 1))
			_ = s.Close()
		}
	}()
	open := func(times int) {
		for range times {
			s, err := a.OpenStream(t.Context())
			require.NoError(t, err)
			_ = s.SetDeadline(time.Now().Add(waitLimit))
			_, err = s.Write([]byte("x"))
			require.NoError(t, err)
			_, _ = s.Read(make([]byte, 1)) // EOF: the other end has closed its stream
			require.NoError(t, s.Close())
		}
	}
	open(5)
	settled := func(goroutines, funcs int) func() bool {
		return func() bool { return runtime.NumGoroutine() <= goroutines && jsio.LiveFuncs() <= funcs }
	}
	goroutines, funcs := runtime.NumGoroutine(), jsio.LiveFuncs()
	open(200)
	require.Eventually(t, settled(goroutines+2, funcs), waitLimit, 20*time.Millisecond)
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
}

func TestNodeJSHasNone(t *testing.T) {
	if webrtc.Available() {
		t.Skip("this platform has it")
	}
	_, err := webrtc.New(webrtc.Options{}).New(core.Events{})
	require.ErrorContains(t, err, "no RTCPeerConnection")
}
