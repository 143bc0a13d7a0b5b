package relay_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/pires/go-proxyproto"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/relay"
)

// httpProxy runs a proxy like nginx and Caddy, whose clients all have the given address.
func httpProxy(t *testing.T, r *relay.Relay, client string) string {
	to, err := url.Parse(r.PageURL())
	require.NoError(t, err)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	s := httptest.NewServer(&httputil.ReverseProxy{Transport: transport, Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(to)
		p.Out.Host = p.In.Host
		p.Out.Header.Set("X-Forwarded-For", client)
	}})
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// tcpProxy runs a proxy like HAProxy, whose clients all have the given address.
func tcpProxy(t *testing.T, to, client string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var running sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); running.Wait() })
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			h := proxyproto.HeaderProxyFromAddrs(2, &net.TCPAddr{IP: net.ParseIP(client), Port: 1}, out.RemoteAddr())
			_, _ = h.WriteTo(out)
			running.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
			running.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
		}
	})
	return l.Addr().String()
}

func TestBehindATrustedProxyLimitsAndRulesAreByTheClientsAddress(t *testing.T) {
	dir := t.TempDir()
	r := newRelay(t, relay.Options{DataDir: dir, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Limits: relay.Limits{Peers: 8, PeersPerAddress: 1}})
	at := strings.Trim(strings.Replace(strings.TrimPrefix(r.PageURL(), "http://"), "localhost", "127.0.0.1", 1), "/")
	info := func(proxy, suffix string) peer.AddrInfo {
		host, port, err := net.SplitHostPort(proxy)
		require.NoError(t, err)
		return peer.AddrInfo{ID: r.Node().ID(), Addrs: []ma.Multiaddr{ma.StringCast("/ip4/" + host + "/tcp/" + port + suffix)}}
	}
	clients := make(map[string]*core.Node)
	for client, through := range map[string]peer.AddrInfo{
		"203.0.113.1":  info(httpProxy(t, r, "203.0.113.1"), "/ws"),
		"203.0.113.2":  info(tcpProxy(t, at, "203.0.113.2"), ""),
		"198.51.100.1": info(tcpProxy(t, at, "198.51.100.1"), "/ws"),
	} {
		n := newNode(t, native.Options{Relays: []peer.AddrInfo{through}})
		require.Eventually(t, func() bool { return len(n.Reservations()) == 1 }, 30*time.Second, 5*time.Millisecond, client)
		var from []string
		for _, p := range r.Peers() {
			if p.Peer == n.ID().String() {
				from = p.Addrs
			}
		}
		require.Len(t, from, 1)
		assert.Contains(t, from[0], "/ip4/"+client+"/")
		assert.ErrorContains(t, failure(t, newNode(t, native.Options{}), through), "peers at your address hold 1 reservations")
		clients[client] = n
	}
	write(t, dir, "ban 203.0.113.0/24")
	require.NoError(t, r.Reload())
	awaitClosed(t, r, clients["203.0.113.1"].ID())
	awaitClosed(t, r, clients["203.0.113.2"].ID())
	assert.Len(t, clients["198.51.100.1"].Reservations(), 1)

	// Requests of several clients do not share a connection.
	resp, err := client(t).Get("http://" + at + "/healthz")
	require.NoError(t, err)
	resp.Body.Close()
	assert.False(t, resp.Close)
	request, err := http.NewRequest(http.MethodGet, "http://"+at+"/healthz", nil)
	require.NoError(t, err)
	request.Header.Set("X-Forwarded-For", "203.0.113.1")
	resp, err = client(t).Do(request)
	require.NoError(t, err)
	resp.Body.Close()
	assert.True(t, resp.Close)
}

func TestAProxyThatIsNotTrustedSpeaksForNobody(t *testing.T) {
	r := newRelay(t, relay.Options{})
	host, port, err := net.SplitHostPort(httpProxy(t, r, "203.0.113.1"))
	require.NoError(t, err)
	n := newNode(t, native.Options{Relays: []peer.AddrInfo{{ID: r.Node().ID(), Addrs: []ma.Multiaddr{ma.StringCast("/ip4/" + host + "/tcp/" + port + "/ws")}}}})
	awaitReserved(t, n)
	assert.Contains(t, r.Peers()[0].Addrs[0], "/ip4/127.0.0.1/")
}
