package customer_test

import (
	"testing"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"

	"github.com/tombolo-net/tombolo/core/customer"
)

func TestACustomerIsWhatACustomerHas(t *testing.T) {
	for in, want := range map[string]string{
		"/ip4/192.0.2.1/tcp/1/ws":              "192.0.2.1/32",
		"/ip6/::ffff:192.0.2.1/tcp/1":          "192.0.2.1/32",
		"/ip6/2001:db8:1:2ff::9/udp/1/quic-v1": "2001:db8:1:200::/56",
		"/dns/relay.example/tcp/1":             "invalid Prefix",
	} {
		assert.Equal(t, want, customer.Of(ma.StringCast(in)).String(), in)
	}
}
