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
	overCircuit      = ma.StringCast("/ip4/192.0.2.2/udp/4001/quic-v1/webtransport" + someone + "/p2p-circuit")
)

func TestWebTransportThatHangsDelaysWebSocketByAFifthOfASecond(t *testing.T) {
	second := func(a ma.Multiaddr, s float64) network.AddrDelay {
		return network.AddrDelay{Addr: a, Delay: time.Duration(s * float64(time.Second))}
	}
	assert.Equal(t,
		[]network.AddrDelay{second(overWebTransport, 0), second(overWebSocket, 0.2), second(overCircuit, 0.7)},
		rank([]ma.Multiaddr{overCircuit, overWebSocket, overWebTransport}))
	assert.Equal(t, []network.AddrDelay{second(overWebSocket, 0), second(overCircuit, 0.5)}, rank([]ma.Multiaddr{overCircuit, overWebSocket}),
		"the first that there is waits for nothing")
	assert.Equal(t, []network.AddrDelay{second(overCircuit, 0)}, rank([]ma.Multiaddr{overCircuit}))
	assert.Empty(t, rank(nil))
}
