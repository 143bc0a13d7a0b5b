package gateway

import (
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
)

const somebody = "12D3KooWFM92rKmFYsw4DraJ5Ac3J2N4mb6wgp9xsfUuBvSq4TRf"

// FuzzPath checks that a path which the parser accepts has a valid peer and protocol and is
// split without loss, and that the link made of the two is parsed to the same two.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/http/", "/x/a/http/b", "/x/a/b/http/", "/x/http/http/http/", "/x/a%2Fhttp/http", "/x/%2e%2E/http/?", "/x//http/", "/ipfs/"} {
		f.Add("/p2p/" + somebody + s)
	}
	f.Add("/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N/http/")
	f.Add("/p2p/")
	f.Fuzz(func(t *testing.T, path string) {
		got, err := parsePath(path)
		if err != nil {
			return
		}
		require.NoError(t, got.peer.Validate())
		require.NoError(t, bridge.CheckName(got.protocol, true))
		require.Equal(t, path, got.prefix+got.path)
		require.True(t, got.path == "" || got.path[0] == '/')
		id, proto, err := parseHost(hostOf(got.peer, got.protocol) + ":80")
		require.NoError(t, err)
		require.Equal(t, got.peer, id)
		require.Equal(t, got.protocol, proto)
		to, ok := link(got.peer, got.protocol)
		if !ok {
			require.Contains(t, []protocol.ID{"/x/./http", "/x/../http"}, got.protocol, "these alone have no link")
			return
		}
		again, err := parsePath(to)
		require.NoError(t, err)
		require.Equal(t, []any{got.peer, got.protocol, "/"}, []any{again.peer, again.protocol, again.path})
	})
}

func TestLinksAreForWhatIsSpokenOverHTTP(t *testing.T) {
	p, err := peer.Decode(somebody)
	require.NoError(t, err)
	for proto, want := range map[protocol.ID]string{
		"/http":               "/http/",
		"/x/site/http":        "/x/site/http/",
		"/x/a/b/http":         "/x/a/b/http/",
		"/x/a/http/http":      "/x/a%2Fhttp/http/",
		"/x/größe?#\"/http":   "/x/gr%C3%B6%C3%9Fe%3F%23%22/http/",
		"/x/a/../b/http":      "/x/a%2F..%2Fb/http/",
		"/x/ssh":              "",
		"/x/http":             "",
		"/x//http":            "",
		"/x/../http":          "",
		"/other/http":         "",
		"/x/site/https":       "",
		"/x/javascript:/http": "/x/javascript:/http/",
	} {
		got, ok := link(p, proto)
		assert.Equal(t, want != "", ok, proto)
		assert.Equal(t, want, strings.TrimPrefix(got, "/p2p/"+somebody), proto)
	}
}
