package gateway

import (
	"net/http"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
)

func TestLinksLeadToTheOwnNamesOfServices(t *testing.T) {
	one := listing{Peers: []listedPeer{{ID: "a", Services: []listedService{{Protocol: "/x/a/http", Link: "/p2p/a/x/a/http/"}, {Protocol: "/x/b"}}},
		{ID: "b", Services: []listedService{{Protocol: "/x/a/http", Link: "/p2p/b/x/a/http/"}}}}}
	g := New(new(core.Node), Options{Hosts: []string{"gateway.example", "*.Gate.example"}})
	defer g.Close()
	for host, parent := range map[string]string{
		"127.0.0.1:8081":     `localhost:8081`,
		"localhost:8081":     `localhost:8081`,
		"LOCALHOST.":         `localhost`,
		"[::1]:8081":         `localhost:8081`,
		"gate.example:8081":  `gate\.example:8081`,
		"127.0.0.2:8081":     "",
		"gateway.example:80": "",
	} {
		r := &http.Request{Host: host}
		n, ok := g.nameOf(r)
		require.True(t, ok, host)
		got := one.apart(r, n)
		if parent == "" {
			assert.Equal(t, one, got, host)
			continue
		}
		first, second := got.Peers[0].Services[0].Link, got.Peers[1].Services[0].Link
		assert.Regexp(t, `^http://[0-9a-f]{32}\.`+parent+`/p2p/a/x/a/http/$`, first, host)
		assert.NotEqual(t, first[:40], second[:40], "another host")
		assert.Empty(t, got.Peers[0].Services[1].Link)
	}
	assert.Equal(t, "/p2p/a/x/a/http/", one.Peers[0].Services[0].Link, "the listing itself is as it was")
}

// The service worker's gateway makes its host names from the same hash.
func TestANameIsMadeOfThePathOfTheService(t *testing.T) {
	p, err := peer.Decode(somebody)
	require.NoError(t, err)
	assert.Equal(t, "f39fedba351a5c114ce0993dcbd59db0", label(p, "/x/site/http"))
}

func TestAHostIsTakenInTheFormsThatCanMatch(t *testing.T) {
	for given, host := range map[string]string{
		"Gate.Example.":       "gate.example:18090",
		"b\u00fccher.example": "xn--bcher-kva.example",
		"my_gate":             "my_gate:80",
		"198.51.100.7":        "198.51.100.7:18090",
		"2001:DB8::7":         "[2001:db8::7]:18090",
		"[2001:db8::7]":       "[2001:db8::7]",
		"*.gate.example":      "gate.example",
	} {
		_, err := ParseHost(given)
		require.NoError(t, err)
		g := New(new(core.Node), Options{Hosts: []string{given}})
		_, ok := g.nameOf(&http.Request{Host: host})
		assert.True(t, ok, "%s answers at %s", given, host)
		_, ok = g.nameOf(&http.Request{Host: "198.51.100.8"})
		assert.False(t, ok)
	}
	for _, given := range []string{"", " gw.example", "gw.example:18090", "http://gw.example/", "gw.example/", "198.51.100.7:80", "[2001:db8::7]:80", "*.198.51.100.7", "*.", "*", "a..b"} {
		_, err := ParseHost(given)
		require.ErrorContains(t, err, "neither a host name", given)
	}
}
