//go:build unix

package main

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/command/commandtest"
)

func TestRunningOutOfFilesIsNotTheEnd(t *testing.T) {
	// libp2p closes a listener for good when accept fails, as it does for want
	// of a file.
	p := commandtest.Start(t, nil, "/bin/sh", "-c", `ulimit -n 64 && exec "$@"`, "sh",
		binary, "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--no-map-ports")
	page := strings.TrimSuffix(p.Line("page "), "/")
	addr := strings.Replace(strings.TrimPrefix(page, "http://"), "localhost", "127.0.0.1", 1)
	var held []net.Conn
	for range 200 {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		held = append(held, c)
	}
	// The last ones are refused: a read ends although nobody said anything.
	last := held[len(held)-1]
	require.NoError(t, last.SetReadDeadline(time.Now().Add(30*time.Second)))
	_, err := last.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it is left hanging")
	for _, c := range held {
		c.Close()
	}
	http := httpClient(t)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		resp, err := http.Get(page + "/healthz")
		if assert.NoError(c, err) {
			resp.Body.Close()
			assert.Equal(c, 200, resp.StatusCode)
		}
	}, 30*time.Second, 50*time.Millisecond)
	code, _ := p.Stop()
	assert.Zero(t, code)
}
