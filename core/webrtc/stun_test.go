package webrtc

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	mocknet "github.com/libp2p/go-libp2p/p2p/net/mock"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSTUNIsAskedOfRelaysAtTheirUDPPort(t *testing.T) {
	net := mocknet.New()
	t.Cleanup(func() { _ = net.Close() })
	h, err := net.GenPeer()
	require.NoError(t, err)
	relay := func(id peer.ID, addrs ...string) peer.AddrInfo {
		info := peer.AddrInfo{ID: id}
		for _, a := range addrs {
			info.Addrs = append(info.Addrs, ma.StringCast(a))
		}
		return info
	}
	assert.Empty(t, STUN(h, []peer.AddrInfo{relay("a", "/ip4/1.2.3.4/tcp/1/ws", "/ip4/1.2.3.4/udp/1/quic-v1")}))
	assert.Equal(t, []string{"stun:1.2.3.4:5", "stun:[::1]:7"}, STUN(h, []peer.AddrInfo{
		relay("a", "/ip4/10.0.0.1/udp/4/webrtc-direct", "/ip4/1.2.3.4/udp/5/webrtc-direct", "/ip4/9.9.9.9/udp/6/webrtc-direct"),
		relay("b", "/ip6/::1/udp/7/webrtc-direct"),
		relay("c", "/dns4/relay.example/udp/8/webrtc-direct"),
	}))
}
