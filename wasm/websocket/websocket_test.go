//go:build js

package websocket_test

import (
	"context"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/wasm/internal/conformance"
	"github.com/tombolo-net/tombolo/wasm/internal/farside"
	"github.com/tombolo-net/tombolo/wasm/websocket"
)

func newTransport(t testing.TB, key crypto.PrivKey, opts ...websocket.Option) transport.Transport {
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}}
	n, err := noise.New(noise.ID, key, muxers)
	require.NoError(t, err)
	up, err := upgrader.New([]sec.SecureTransport{n}, muxers, nil, nil, nil)
	require.NoError(t, err)
	return websocket.New(up, nil, opts...)
}

func TestConforms(t *testing.T) {
	conformance.Run(t, conformance.Subject{
		Listen:    "ws",
		Part:      "/ws",
		Name:      "websocket",
		Mutes:     []string{"tcp", "ws"},
		OneWriter: true, // yamux
		New: func(t testing.TB, key crypto.PrivKey, handshake time.Duration) transport.Transport {
			return newTransport(t, key, websocket.WithHandshakeTimeout(handshake))
		},
	})
}

func TestCanDialIsExact(t *testing.T) {
	tr := newTransport(t, conformance.NewKey(t))
	const p2p = "/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
	for addr, want := range map[string]bool{
		"/ip4/1.2.3.4/tcp/80/ws":                           true,
		"/ip4/1.2.3.4/tcp/80/ws" + p2p:                     true,
		"/ip6/::1/tcp/80/ws":                               true,
		"/dns/example.com/tcp/80/ws":                       true,
		"/dns4/example.com/tcp/443/wss":                    true,
		"/dns6/example.com/tcp/443/tls/ws":                 true,
		"/ip4/1.2.3.4/tcp/443/tls/sni/example.com/ws":      true,
		"/ip4/1.2.3.4/tcp/80":                              false,
		"/ip4/1.2.3.4/ws":                                  false,
		"/ip4/1.2.3.4/udp/80/ws":                           false,
		"/ip4/1.2.3.4/tcp/80/ws/ws":                        false,
		"/ip4/1.2.3.4/tcp/80/sni/example.com/ws":           false,
		"/ip4/1.2.3.4/tcp/80/tls":                          false,
		"/ip4/1.2.3.4/tcp/80/tls/wss":                      false,
		"/ip4/1.2.3.4/tcp/80/ws" + p2p + "/p2p-circuit":    false,
		"/ip4/1.2.3.4/tcp/80/ws/p2p-circuit":               false,
		"/ip4/1.2.3.4/udp/80/quic-v1/webtransport":         false,
		"/dnsaddr/example.com/tcp/80/ws":                   false,
		"/unix/tmp/socket/tcp/80/ws":                       false,
		p2p:                                                false,
		"/ip4/1.2.3.4/tcp/80/tls/sni/example.com/ws" + p2p: true,
	} {
		a, err := ma.NewMultiaddr(addr)
		if err != nil {
			continue // not even a multiaddr
		}
		assert.Equal(t, want, tr.CanDial(a), addr)
	}
}

func TestUntrustedCertificateIsAnError(t *testing.T) {
	far := farside.Start(t, "listen=ws&wss=1")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := newTransport(t, conformance.NewKey(t)).Dial(ctx, far.Addr(t, "/tls"), far.ID)
	require.Error(t, err)
	require.NoError(t, ctx.Err())
}
