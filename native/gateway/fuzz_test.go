package gateway_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzGateway sends bytes to a gateway's socket: whatever they are, it answers
// with HTTP or not at all, and still serves the next client.
func FuzzGateway(f *testing.F) {
	w := newWorld(f, say("here"))
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET " + w.prefix + "/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"POST " + w.prefix + "/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"GET " + w.prefix + "/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
		"GET //p2p/%zz HTTP/1.0\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"\x16\x03\x01\x00\xff\x00",
		"\x00",
		"",
	} {
		f.Add([]byte(request))
	}
	addr := strings.TrimPrefix(w.base, "http://")
	f.Fuzz(func(t *testing.T, request []byte) {
		c, err := net.Dial("tcp4", addr)
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		if _, err = c.Write(request); err == nil {
			_ = c.(*net.TCPConn).CloseWrite()
		}
		answers := bufio.NewReader(c)
		if _, err := answers.Peek(5); err == nil {
			res, err := http.ReadResponse(answers, nil)
			require.NoError(t, err, "%q", request)
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		} else {
			require.False(t, errors.Is(err, net.ErrClosed))
			var timeout net.Error
			require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "it hangs after %q", request)
		}
		res, err := w.client.Get(w.base + w.prefix + "/")
		require.NoError(t, err)
		defer res.Body.Close()
		assert.Equal(t, "here", read(t, res))
	})
}
