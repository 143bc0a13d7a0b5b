package relay_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/relay"
)

// A peer's site can set as many cookies for the relay's domain as a browser keeps.
func TestAPageWithAllCookiesThatABrowserKeepsIsServed(t *testing.T) {
	r := newRelay(t, relay.Options{Site: fstest.MapFS{"index.html": {Data: []byte("page")}}})
	cookies := make([]string, 180)
	for i := range cookies {
		name := fmt.Sprintf("c%d=", i)
		cookies[i] = name + strings.Repeat("x", 4096-len(name))
	}
	client, header := client(t), http.Header{"Cookie": {strings.Join(cookies, "; ")}}
	for _, path := range []string{"", "healthz", ".well-known/tombolo"} {
		req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, r.PageURL()+path, nil)
		require.NoError(t, err)
		req.Header = header
		res, err := client.Do(req)
		require.NoError(t, err)
		res.Body.Close()
		assert.Equal(t, http.StatusOK, res.StatusCode, path)
		assert.Equal(t, "?1", res.Header.Get("Origin-Agent-Cluster"), path)
	}
	c, _, err := websocket.DefaultDialer.DialContext(testContext(t), strings.Replace(r.PageURL(), "http", "ws", 1), header)
	require.NoError(t, err, "the page's node dials with them, too")
	require.NoError(t, c.Close())
}
