//go:build js

package wasm

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
)

const someone = "/p2p/12D3KooWEpZR8iXGsMv4XoQsbyfyQMbRfmS7rq39ARq7Phe6YbYV"

var (
	overWebTransport = ma.StringCast("/ip4/192.0.2.1/udp/4001/quic-v1/webtransport")
	overWebSocket    = ma.StringCast("/ip4/192.0.2.1/tcp/4001/ws")
	overWebRTC       = ma.StringCast("/ip4/192.0.2.1/udp/4001/webrtc-direct/certhash/uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g")
	overCircuit      = ma.StringCast("/ip4/192.0.2.2/udp/4001/quic-v1/webtransport" + someone + "/p2p-circuit")
)

func second(a ma.Multiaddr, s float64) network.AddrDelay {
	return network.AddrDelay{Addr: a, Delay: time.Duration(s * float64(time.Second))}
}

func TestWebTransportThatHangsDelaysWebSocketByAFifthOfASecond(t *testing.T) {
	assert.Equal(t,
		[]network.AddrDelay{second(overWebTransport, 0), second(overWebSocket, 0.2), second(overCircuit, 0.7)},
		rank([]ma.Multiaddr{overCircuit, overWebSocket, overWebTransport}))
	assert.Equal(t, []network.AddrDelay{second(overWebSocket, 0), second(overCircuit, 0.5)}, rank([]ma.Multiaddr{overCircuit, overWebSocket}),
		"the first address waits for nothing")
	assert.Equal(t, []network.AddrDelay{second(overCircuit, 0)}, rank([]ma.Multiaddr{overCircuit}))
	assert.Empty(t, rank(nil))
}

func TestWebRTCDirectIsTheLastToBeDialledAndWaitsForNothingWhereItIsAlone(t *testing.T) {
	assert.Equal(t,
		[]network.AddrDelay{second(overWebTransport, 0), second(overWebSocket, 0.2), second(overCircuit, 0.7), second(overWebRTC, 5)},
		rank([]ma.Multiaddr{overWebRTC, overCircuit, overWebSocket, overWebTransport}))
	assert.Equal(t, []network.AddrDelay{second(overWebSocket, 0), second(overWebRTC, 5)}, rank([]ma.Multiaddr{overWebRTC, overWebSocket}))
	assert.Equal(t, []network.AddrDelay{second(overWebRTC, 0), second(overCircuit, 0.5)}, rank([]ma.Multiaddr{overCircuit, overWebRTC}),
		"WebRTC is dialled before a circuit")
}
