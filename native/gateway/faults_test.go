package gateway_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/local"
	"github.com/tombolo-net/tombolo/native/printable"
	"github.com/tombolo-net/tombolo/native/socket/sockettest"
)

func TestAPathThatLeadsNowhereIsA400WithTheReason(t *testing.T) {
	w := newWorld(t, say(""))
	for path, want := range map[string]string{
		"/p2p/":                              "of the form",
		"/p2p//http/":                        "names no peer",
		"/p2p/nobody/http/":                  "is not a peer ID",
		"/p2p/%zz/http/":                     "", // Go's server refuses it
		w.path(""):                           "of the form",
		w.path("/"):                          "after the peer comes",
		w.path("/ipfs/"):                     "after the peer comes",
		w.path("/x"):                         "ends before",
		w.path("/x/"):                        "ends before",
		w.path("/x/http/"):                   "has no /http/",
		w.path("/x/site/"):                   "has no /http/",
		w.path("/x//http/"):                  "empty segment",
		w.path("/x/a%20b/http/"):             "space",
		w.path("/x/a%00/http/"):              "control character",
		w.path("/x/" + long(300) + "/http/"): "longer than 256 bytes",
	} {
		c, err := net.Dial("tcp4", strings.TrimPrefix(w.base, "http://"))
		require.NoError(t, err)
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		assert.Equal(t, http.StatusBadRequest, res.StatusCode, path)
		assert.Contains(t, read(t, res), want, path)
		require.NoError(t, c.Close())
	}
	res, body := w.get(t, "/elsewhere")
	assert.Equal(t, http.StatusNotFound, res.StatusCode)
	assert.Contains(t, body, "/p2p/<peer>/x/<name>/http/<path>")
	res, body = w.get(t, "/favicon.ico")
	assert.Equal(t, http.StatusNotFound, res.StatusCode)
	assert.Empty(t, body)
}

func long(n int) string { return strings.Repeat("a", n) }

func TestARefusalIsA502ThatNamesReasonPeerAndProtocol(t *testing.T) {
	w := newWorld(t, nil)
	refusing, err := local.Target(sockettest.Nobody(t))
	require.NoError(t, err)
	expose(t, w.there, "/x/dead/http", refusing)
	expose(t, w.there, "/x/slow/http", bridge.DialTarget("slow", func(context.Context) (bridge.Local, error) {
		return nil, &bridge.Error{Reason: bridge.TargetTimedOut}
	}))
	expose(t, w.there, "/x/private/http", site(t, say("secret")), bridge.Allow(w.there.ID()))
	expose(t, w.there, "/x/odd/http", bridge.DialTarget("odd", func(context.Context) (bridge.Local, error) {
		return nil, bridge.Reason("<b>out of tea</b>")
	}))
	expose(t, w.there, "/x/eof/http", bridge.Func(func(_ context.Context, c net.Conn) { _, _ = c.Read(make([]byte, 1)) }))
	expose(t, w.there, "/x/ssh/http", bridge.Func(func(_ context.Context, c net.Conn) {
		_, _ = io.WriteString(c, "SSH-2.0-\x1b[2JOpenSSH\r\n")
		_, _ = io.Copy(io.Discard, c)
	}))
	for _, name := range []string{"dead", "slow", "private", "odd"} {
		knows(t, w.here, w.there, protocol.ID("/x/"+name+"/http"))
	}
	for name, want := range map[string]string{
		"dead":    "target refused",
		"slow":    "target timed out",
		"private": "not allowed",
		"none":    "no such protocol",
		"odd":     "<b>out of tea</b>",
		"eof":     "closed the connection without an answer",
		"ssh":     "did not answer as HTTP/1.1",
	} {
		t.Run(name, func(t *testing.T) {
			for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
				proto := "/x/" + name + "/http"
				res := w.do(t, method, w.path(proto)+"/", strings.NewReader(strings.Repeat("body", 1<<12)))
				body := read(t, res)
				assert.Equal(t, http.StatusBadGateway, res.StatusCode, method)
				assert.Equal(t, "text/plain; charset=utf-8", res.Header.Get("Content-Type"))
				assert.Equal(t, printable.Lines(body), body, "curl shows it in a terminal")
				for _, part := range []string{want, w.there.ID().String(), proto} {
					assert.Contains(t, body, part, method)
				}
				assert.NotContains(t, body, "idle connection")
			}
			own := w.ownHost(t, "/x/"+name+"/http")
			res, body := w.get(t, w.path("/x/"+name+"/http/"), "Host", own, "Accept", "text/html,*/*;q=0.8")
			assert.Equal(t, "text/html; charset=utf-8", res.Header.Get("Content-Type"))
			assert.Contains(t, res.Header.Get("Content-Security-Policy"), "default-src 'none'")
			assert.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
			assert.NotContains(t, body, "<b>out", "what a peer says is escaped")
			assert.Contains(t, body, "<!doctype html>")
		})
	}
}

func TestAPeerThatIsAwayIsA502(t *testing.T) {
	w := newWorld(t, say("here"))
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	stranger, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, w.there.Close())
	for _, p := range []peer.ID{stranger, w.there.ID(), w.here.ID()} {
		res, body := w.get(t, "/p2p/"+p.String()+"/x/site/http/")
		assert.Equal(t, http.StatusBadGateway, res.StatusCode)
		assert.Contains(t, body, "peer away")
		assert.Contains(t, body, p.String())
	}
}

// stalled sends a request whose body does not end.
func stalled(t *testing.T, w *world, path string) net.Conn {
	c, err := net.Dial("tcp4", strings.TrimPrefix(w.base, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nbegun", path)
	return c
}

func TestAnUploadThatIsRefusedIsToldSoBeforeItsEnd(t *testing.T) {
	w := newWorld(t, nil)
	expose(t, w.there, "/x/site/http", site(t, say("")), bridge.Allow(w.there.ID()))
	knows(t, w.here, w.there, "/x/site/http")
	for range 3 {
		res, err := http.ReadResponse(bufio.NewReader(stalled(t, w, w.prefix+"/")), nil)
		require.NoError(t, err)
		assert.Equal(t, http.StatusBadGateway, res.StatusCode)
		assert.Contains(t, read(t, res), "not allowed")
	}
}

func TestAnUploadThatStandsStillDoesNotHoldUpClose(t *testing.T) {
	arrived := make(chan struct{})
	w := newWorld(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		_, _ = io.Copy(io.Discard, r.Body)
	})
	stalled(t, w, w.prefix+"/")
	<-arrived
	require.NoError(t, w.gateway.Close())
}

func TestABodyThatIsBadIsNotBlamedOnThePeer(t *testing.T) {
	w := newWorld(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	c, err := net.Dial("tcp4", strings.TrimPrefix(w.base, "http://"))
	require.NoError(t, err)
	defer c.Close()
	fmt.Fprintf(c, "POST %s/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\nnonsense\r\n", w.prefix)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusBadRequest, res.StatusCode)
	assert.Contains(t, read(t, res), "body of the request")
}

func TestAClientThatGoesStopsThePeer(t *testing.T) {
	for name, listen := range map[string]string{"tcp": "/ip4/127.0.0.1/tcp/0", "quic": "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(name, func(t *testing.T) {
			stopped := make(chan error, 1)
			w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
				part := make([]byte, 64<<10)
				for {
					if _, err := w.Write(part); err != nil {
						stopped <- err
						return
					}
				}
			}, listen)
			res := w.do(t, http.MethodGet, w.prefix+"/", nil)
			_, err := io.ReadFull(res.Body, make([]byte, 1<<20))
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			select {
			case <-stopped:
			case <-time.After(patience):
				require.Fail(t, "the service still sends")
			}
			assert.Eventually(t, func() bool { return len(w.here.Bridge().Streams())+len(w.there.Bridge().Streams()) == 0 }, patience, time.Millisecond)
		})
	}
}

func TestAPeerThatDiesInTheMiddleIsNoShortBody(t *testing.T) {
	for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
		t.Run(version, func(t *testing.T) {
			w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "begun")
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			})
			c, err := net.Dial("tcp4", strings.TrimPrefix(w.base, "http://"))
			require.NoError(t, err)
			defer c.Close()
			fmt.Fprintf(c, "GET %s/ %s\r\nHost: localhost\r\n\r\n", w.prefix, version)
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			require.NoError(t, err)
			got := make([]byte, 5)
			_, err = io.ReadFull(res.Body, got)
			require.NoError(t, err)
			assert.Equal(t, "begun", string(got))
			require.NoError(t, w.there.Close())
			_, err = io.ReadAll(res.Body)
			assert.Error(t, err)
		})
	}
}

func TestAPeerThatComesBackIsServedAgain(t *testing.T) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	w := newWorld(t, nil)
	for round := range 2 {
		there := newNodeWithKey(t, key)
		expose(t, there, "/x/site/http", site(t, say("here")))
		connect(t, w.here, there)
		_, body := w.get(t, "/p2p/"+there.ID().String()+"/x/site/http/")
		assert.Equal(t, "here", body, "round %d", round)
		require.NoError(t, there.Close())
		assert.Eventually(t, func() bool { return len(w.here.Bridge().Streams()) == 0 }, patience, time.Millisecond)
	}
}
