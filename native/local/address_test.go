package local_test

import (
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/local"
)

func TestATargetThatNoStreamCanReachIsRefusedWithAReason(t *testing.T) {
	for address, reason := range map[string]string{
		"":                                "it is empty",
		"127.0.0.1:0":                     "port 0",
		"/ip4/127.0.0.1/tcp/0":            "port 0",
		"localhost:0":                     "port 0",
		"[::1]:0":                         "port 0",
		"/ip4/127.0.0.1/udp/53":           "carries no streams: TCP or unix",
		"/ip6/::1/udp/53":                 "carries no streams: TCP or unix",
		"/ip4/127.0.0.1/udp/4001/quic-v1": "carries no streams",
		"/ip4/127.0.0.1":                  "carries no streams",
		"/ip4/127.0.0.1/tcp/80/ws":        "not an address of a stream socket",
		"/p2p-circuit":                    "not an address of a stream socket",
		"/ip4/300.0.0.1/tcp/80":           "not a multiaddr",
		"/ip4/127.0.0.1/tcp/70000":        "not a multiaddr",
		"/x/ssh":                          "not a multiaddr",
		"/":                               "",
		"//":                              "",
		"127.0.0.1":                       "neither host:port",
		"just words":                      "neither host:port",
		":22":                             "has no host",
		"127.0.0.1:ssh":                   "not a multiaddr",
		"127.0.0.1:-1":                    "not a multiaddr",
		"localhost/tcp/22:80":             "not an address of a stream socket",
		"unix:relative":                   "must be absolute",
		"unix:":                           "must be absolute",
		"unix:/" + strings.Repeat("a", local.MaxSocketPath): "at most",
		"/unix/" + strings.Repeat("a", local.MaxSocketPath): "at most",
		"file:":                 "names no folder",
		"80":                    "write 127.0.0.1:80",
		"::1":                   "write [::1]:PORT",
		"http://localhost:80/a": "write localhost:80",
		"tcp://127.0.0.1:22":    "write 127.0.0.1:22",
		"localhost:99999":       "99999",
		"localhost:":            "port",
		" 127.0.0.1:22":         "white space",
		"user@host:22":          "host",
		"/ip4/127.0.0.1/tcp/22/p2p/12D3KooWCY9aRhhZwCiQiwD6JnvgYHM5KSnNRdsKVosTEWfUhEeY": "with nothing after it",
		"file:/nowhere/at/all":              "no such file",
		"file:address_test.go":              "not a folder",
		"127.0.0.1:22\n":                    "",
		"/ip4/127.0.0.1/tcp/22/ip4/1.1.1.1": "not an address of a stream socket",
		strings.Repeat("a", 1<<16):          "neither host:port",
	} {
		target, err := local.Target(address)
		if assert.Errorf(t, err, "%.80q gave %v", address, target) {
			assert.ErrorContains(t, err, reason, "%.80q", address)
		}
	}
}

func TestATargetIsNamedAsAMultiaddr(t *testing.T) {
	for address, name := range map[string]string{
		"127.0.0.1:22":          "/ip4/127.0.0.1/tcp/22",
		"[::1]:22":              "/ip6/::1/tcp/22",
		"localhost:22":          "/dns/localhost/tcp/22",
		"/ip4/127.0.0.1/tcp/22": "/ip4/127.0.0.1/tcp/22",
		"/dns4/localhost/tcp/1": "/dns4/localhost/tcp/1",
		"/ip4/1.2.3.4/tcp/80/":  "/ip4/1.2.3.4/tcp/80",
		"bücher.example:80":     "/dns/xn--bcher-kva.example/tcp/80",
		"[::ffff:1.2.3.4]:80":   "/ip4/1.2.3.4/tcp/80",
		"[fe80::1%lo]:80":       "/ip6zone/lo/ip6/fe80::1/tcp/80",
		"unix:/" + strings.Repeat("a", local.MaxSocketPath-1): "/unix/" + strings.Repeat("a", local.MaxSocketPath-1),
		"unix:/tmp/a.sock": "/unix/tmp/a.sock",
		"/unix/tmp/a.sock": "/unix/tmp/a.sock",
	} {
		target, err := local.Target(address)
		if assert.NoError(t, err, address) {
			assert.Equal(t, name, target.String())
		}
	}
}

func TestAnAddressThatCannotBeListenedOnIsAnErrorAtOnce(t *testing.T) {
	for address, reason := range map[string]string{
		"":                      "it is empty",
		"/ip4/127.0.0.1/udp/1":  "carries no streams",
		"file:/tmp":             "a folder can be a target, but not a listen address",
		"unix:relative":         "must be absolute",
		"192.0.2.1:1":           "listen on /ip4/192.0.2.1/tcp/1",
		"unix:/nowhere/at/all":  "no such file",
		"unix:" + t.TempDir():   "not a socket",
		"nowhere.invalid:12345": "listen on /dns/nowhere.invalid/tcp/12345",
	} {
		_, err := local.Listen(t.Context(), address)
		assert.ErrorContains(t, err, reason, address)
	}
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, err = local.Listen(t.Context(), taken.Addr().String())
	assert.ErrorContains(t, err, "address already in use")
}

func TestPort0IsThePortThatTheSystemPicked(t *testing.T) {
	l, err := local.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	assert.Regexp(t, `^/ip4/127\.0\.0\.1/tcp/[1-9][0-9]*$`, l.String())
	target, err := local.Target(l.String())
	require.NoError(t, err, "Target accepts what a listener prints")
	assert.Equal(t, l.String(), target.String())
}

func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"127.0.0.1:22", "[::1]:22", "/ip4/127.0.0.1/tcp/22", "unix:/a", "/unix/a", "a:1", "/dns/a/tcp/1", "/ip4/1.2.3.4/udp/1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.HasPrefix(s, "file:") {
			return
		}
		target, err := local.Target(s)
		if err != nil {
			return
		}
		again, err := local.Target(target.String())
		require.NoError(t, err, "%q was taken, its own name %q is not", s, target)
		require.Equal(t, target.String(), again.String())
	})
}
