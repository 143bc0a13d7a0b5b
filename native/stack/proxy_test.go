package stack

import (
	"bufio"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWhomAProxySpeaksFor(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	v2, err := proxyproto.HeaderProxyFromAddrs(2, &net.TCPAddr{IP: net.ParseIP("203.0.113.7"), Port: 5}, &net.TCPAddr{IP: net.ParseIP("10.0.0.1"), Port: 6}).Format()
	require.NoError(t, err)
	health, err := (&proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}).Format()
	require.NoError(t, err)
	request := func(header string) string { return "GET / HTTP/1.1\r\nHost: x\r\n" + header + "\r\n" }
	for said, want := range map[string]string{
		string(v2) + "\x13/m":                                                     "203.0.113.7",
		"PROXY TCP6 2001:db8::7 2001:db8::1 5 6\r\nGET":                           "2001:db8::7",
		string(health) + "GET":                                                    "",
		request("X-Forwarded-For: 203.0.113.7\r\n"):                               "203.0.113.7",
		request("X-Forwarded-For: 203.0.113.7:51234\r\n"):                         "203.0.113.7",
		request("X-Forwarded-For: [2001:db8::7]:51234\r\n"):                       "2001:db8::7",
		request("x-forwarded-for: [2001:db8::7]\r\n"):                             "2001:db8::7",
		request("X-Forwarded-For: 192.0.2.1, 203.0.113.7, 10.1.2.3\r\n"):          "203.0.113.7", // the first may be forged
		request("X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 203.0.113.7\r\n"): "203.0.113.7",
		request("X-Forwarded-For: 203.0.113.7, nonsense\r\n"):                     "",
		request("X-Forwarded-For: 10.0.0.9\r\n"):                                  "10.0.0.9", // a client in the proxies' own network
		request(""):                                                               "",
		"GET nonsense\r\n\r\n":                                                    "",
		"\x13/multistream/1.0.0\n":                                                "",
		request("A: " + strings.Repeat("x", maxProxied)):                          "", // longer than what is examined
	} {
		r := bufio.NewReaderSize(strings.NewReader(said), maxProxied)
		of, err := spokenFor(r, proxies)
		require.NoError(t, err, "%.60q", said)
		if want == "" {
			assert.False(t, of.IsValid(), "%.60q", said)
			continue
		}
		assert.Equal(t, want, of.String(), "%.60q", said)
	}
	for _, said := range []string{"", "\r\n\r\n\x00\r\nQUIT", "PROXY nonsense\r\n", "GET / HTTP/1.1\r\nHost", string(v2[:20])} {
		_, err := spokenFor(bufio.NewReaderSize(strings.NewReader(said), maxProxied), proxies)
		assert.Error(t, err, "%q", said)
	}
}
