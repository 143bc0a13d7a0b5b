package gateway

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestLinksKeepServicesApartWhereTheHostIsThisMachine(t *testing.T) {
	one := listing{Peers: []listedPeer{{ID: "a", Services: []listedService{{Protocol: "/x/a/http", Link: "/p2p/a/x/a/http/"}, {Protocol: "/x/b"}}},
		{ID: "b", Services: []listedService{{Protocol: "/x/a/http", Link: "/p2p/b/x/a/http/"}}}}}
	for _, host := range []string{"127.0.0.1:8081", "localhost:8081", "[::1]:8081", "x.localhost:8081"} {
		got := one.apart(&http.Request{Host: host})
		first, second := got.Peers[0].Services[0].Link, got.Peers[1].Services[0].Link
		assert.Regexp(t, `^http://[0-9a-f]{16}\.localhost:8081/p2p/a/x/a/http/$`, first, host)
		assert.NotEqual(t, first[:40], second[:40], "another host")
		assert.Empty(t, got.Peers[0].Services[1].Link)
	}
	for _, host := range []string{"gateway.example", "192.0.2.1:80"} {
		assert.Equal(t, one, one.apart(&http.Request{Host: host}), host)
	}
	assert.Equal(t, "/p2p/a/x/a/http/", one.Peers[0].Services[0].Link, "the listing itself is as it was")
}
