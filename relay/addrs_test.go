package relay

import (
	"crypto/tls"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testID = "12D3KooWE9iLsiczrnYmEtJm9SpkxGPs7hiiLCaYPKkJyDesmCcC"

func selfAddrs(t *testing.T, o origin, own ...string) []string {
	t.Helper()
	id, err := peer.Decode(testID)
	require.NoError(t, err)
	var addrs []ma.Multiaddr
	for _, a := range own {
		addrs = append(addrs, ma.StringCast(a+"/p2p/"+testID))
	}
	var out []string
	for _, a := range addrsFor(addrs, id, o) {
		rest, ok := strings.CutSuffix(a.String(), "/p2p/"+testID)
		require.True(t, ok, "%s", a)
		out = append(out, rest)
	}
	return out
}

var ownAddrs = []string{
	"/ip4/127.0.0.1/tcp/8080",
	"/ip4/127.0.0.1/tcp/8080/ws",
	"/ip4/127.0.0.1/udp/8080/quic-v1",
	"/ip4/127.0.0.1/udp/8080/quic-v1/webtransport",
	"/ip4/127.0.0.1/udp/8080/webrtc-direct",
	"/ip4/192.168.1.5/tcp/8080/ws",
	"/ip4/192.168.1.5/udp/8080/quic-v1/webtransport",
	"/ip6/2001:db8::5/tcp/8080/ws",
}

func TestTheBestForABrowserComesFirst(t *testing.T) {
	assert.Equal(t, []string{
		"/ip4/127.0.0.1/udp/8080/quic-v1/webtransport",
		"/ip4/192.168.1.5/udp/8080/quic-v1/webtransport",
		"/ip4/127.0.0.1/tcp/8080/ws",
		"/ip4/192.168.1.5/tcp/8080/ws",
		"/ip6/2001:db8::5/tcp/8080/ws",
		"/ip4/127.0.0.1/udp/8080/webrtc-direct",
		"/ip4/127.0.0.1/udp/8080/quic-v1",
		"/ip4/127.0.0.1/tcp/8080",
	}, selfAddrs(t, origin{host: "localhost", port: "8080"}, ownAddrs...))
}

func TestAmongEqualsTheHostThatWasAskedComesFirst(t *testing.T) {
	got := selfAddrs(t, origin{host: "192.168.1.5", port: "8080"}, ownAddrs...)
	assert.Equal(t, "/ip4/192.168.1.5/udp/8080/quic-v1/webtransport", got[0])
	assert.Equal(t, "/ip4/192.168.1.5/tcp/8080/ws", got[2])
	assert.Len(t, got, len(ownAddrs), "nothing is left out and nothing added")

	got = selfAddrs(t, origin{host: "2001:db8:0::5", port: "8080"}, ownAddrs...)
	assert.Equal(t, "/ip6/2001:db8::5/tcp/8080/ws", got[2])
	assert.Len(t, got, len(ownAddrs))
}

func TestAHostThatTheRelayDoesNotKnowIsAdded(t *testing.T) {
	for want, o := range map[string]origin{
		"/dns/relay.example/tcp/8080/ws":    {host: "relay.example", port: "8080"},
		"/dns/relay.example/tcp/443/tls/ws": {host: "relay.example", port: "443", tls: true},
		"/ip4/203.0.113.9/tcp/80/ws":        {host: "203.0.113.9", port: "80"},
		"/ip6/2001:db8::9/tcp/8443/tls/ws":  {host: "2001:db8::9", port: "8443", tls: true},
	} {
		got := selfAddrs(t, o, ownAddrs...)
		assert.Len(t, got, len(ownAddrs)+1)
		assert.Equal(t, want, got[2], "before the other WebSocket addresses")
	}
	announced := append([]string{"/dns4/relay.example/tcp/443/tls/ws"}, ownAddrs...)
	assert.Len(t, selfAddrs(t, origin{host: "relay.example", port: "443", tls: true}, announced...), len(announced))
	for _, nonsense := range []string{"", "a/b", "/", "fe80::1%eth0", "a b/c"} {
		assert.Len(t, selfAddrs(t, origin{host: nonsense, port: "80"}, ownAddrs...), len(ownAddrs), nonsense)
	}
	assert.Len(t, selfAddrs(t, origin{host: "relay.example", port: "http"}, ownAddrs...), len(ownAddrs))
}

func TestWhereARequestThinksTheRelayIs(t *testing.T) {
	for host, want := range map[string]origin{
		"relay.example":      {host: "relay.example", port: "80"},
		"relay.example:8080": {host: "relay.example", port: "8080"},
		"[::1]:8080":         {host: "::1", port: "8080"},
		"[::1]":              {host: "::1", port: "80"},
		"":                   {host: "", port: "80"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		assert.Equal(t, want, asked(r), host)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = "relay.example"
	r.Header.Set("X-Forwarded-Proto", "HTTPS")
	assert.Equal(t, origin{host: "relay.example", port: "443", tls: true}, asked(r))
	r = httptest.NewRequest("GET", "/", nil)
	r.Host, r.TLS = "relay.example", &tls.ConnectionState{}
	assert.Equal(t, origin{host: "relay.example", port: "443", tls: true}, asked(r))
}
