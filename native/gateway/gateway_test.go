package gateway_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/gateway"
	"github.com/tombolo-net/tombolo/native/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that must happen.
const patience = 30 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newNode(t testing.TB, listen ...string) *core.Node {
	t.Helper()
	return newNodeWithKey(t, nil, listen...)
}

func newNodeWithKey(t testing.TB, key crypto.PrivKey, listen ...string) *core.Node {
	t.Helper()
	if listen == nil {
		listen = []string{"/ip4/127.0.0.1/tcp/0"}
	}
	o := native.Options{Identity: key, NoMDNS: true}
	for _, a := range listen {
		o.Listen = append(o.Listen, ma.StringCast(a))
	}
	n, err := native.New(testContext(t), o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	return n
}

func connect(t testing.TB, here, there *core.Node) {
	t.Helper()
	require.NoError(t, here.ConnectPeer(testContext(t), peer.AddrInfo{ID: there.ID(), Addrs: there.Host().Addrs()}))
}

func expose(t testing.TB, n *core.Node, proto protocol.ID, target bridge.Target, opts ...bridge.ListenOption) {
	t.Helper()
	_, err := n.Listen(t.Context(), proto, target, opts...)
	require.NoError(t, err)
}

// knows waits until one node knows that the other speaks a protocol, which it learns a
// moment after the other began to.
func knows(t testing.TB, here, there *core.Node, proto protocol.ID) {
	t.Helper()
	require.Eventually(t, func() bool {
		known, err := here.Host().Peerstore().SupportsProtocols(there.ID(), proto)
		return err == nil && len(known) == 1
	}, patience, time.Millisecond)
}

// site returns a real HTTP server on a socket as a target.
func site(t testing.TB, h http.HandlerFunc) bridge.Target {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	target, err := local.Target(s.Listener.Addr().String())
	require.NoError(t, err)
	return target
}

// serve serves a gateway of the node on a socket and returns its URL.
func serve(t testing.TB, n *core.Node, opts gateway.Options) (base string, g *gateway.Gateway) {
	t.Helper()
	g = gateway.New(n, opts)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	server, done := gateway.Server(g), make(chan struct{})
	go func() {
		defer close(done)
		assert.ErrorIs(t, server.Serve(l), http.ErrServerClosed)
	}()
	t.Cleanup(func() {
		assert.NoError(t, g.Close())
		assert.NoError(t, server.Close())
		<-done
	})
	return "http://" + l.Addr().String(), g
}

// world is a gateway to one peer that has one service, /x/site/http.
type world struct {
	here, there *core.Node
	gateway     *gateway.Gateway
	base        string // of the gateway
	prefix      string // the path of the service, without the last slash
	client      *http.Client
}

func newWorld(t testing.TB, h http.HandlerFunc, listen ...string) *world {
	t.Helper()
	w := &world{here: newNode(t), there: newNode(t, listen...), client: newClient(t)}
	connect(t, w.here, w.there)
	if h != nil {
		expose(t, w.there, "/x/site/http", site(t, h))
	}
	w.base, w.gateway = serve(t, w.here, gateway.Options{})
	w.prefix = w.path("/x/site/http")
	return w
}

// path returns the path of a protocol of the peer.
func (w *world) path(proto string) string { return "/p2p/" + w.there.ID().String() + proto }

// ownHost returns the host name of a service, with the port, to which the gateway redirects
// browsers.
func (w *world) ownHost(t testing.TB, proto string) string {
	t.Helper()
	res, _ := w.get(t, w.path(proto)+"/", "Accept", "text/html")
	to, err := res.Location()
	require.NoError(t, err)
	return to.Host
}

func newClient(t testing.TB) *http.Client {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// do sends a request to a path of the gateway; header is name, value, name, value.
func (w *world) do(t testing.TB, method, path string, body io.Reader, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), method, w.base+path, body)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Add(header[i], header[i+1])
	}
	res, err := w.client.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func (w *world) get(t testing.TB, path string, header ...string) (*http.Response, string) {
	t.Helper()
	res := w.do(t, http.MethodGet, path, nil, header...)
	return res, read(t, res)
}

func read(t testing.TB, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(b)
}

func say(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func TestServicesAreWhereKuboHasThem(t *testing.T) {
	w := newWorld(t, say("x/site"))
	expose(t, w.there, "/http", site(t, say("bare")), bridge.CustomProtocol)
	expose(t, w.there, "/x/a/b/http", site(t, say("a/b")))
	expose(t, w.there, "/x/a/http", site(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "a"+r.URL.Path) }))
	cid := "/p2p/" + peer.ToCid(w.there.ID()).String()
	for path, want := range map[string]string{
		w.path("/http/"):            "bare",
		w.path("/x/site/http/"):     "x/site",
		w.path("/x/a/b/http/"):      "a/b",
		w.path("/x/a/http/http/"):   "a/http/",
		w.path("/x/a/http/b/http/"): "a/b/http/",
		cid + "/x/site/http/":       "x/site",
	} {
		res, body := w.get(t, path)
		assert.Equal(t, http.StatusOK, res.StatusCode, path)
		assert.Equal(t, want, body, path)
	}
}

func TestAMissingLastSlashIsAddedSoThatRelativeLinksWork(t *testing.T) {
	w := newWorld(t, say(""))
	for _, path := range []string{w.path("/http"), w.prefix, w.path("/x/a/b/http")} {
		res, _ := w.get(t, path+"?q=%20a;b")
		assert.Equal(t, http.StatusTemporaryRedirect, res.StatusCode)
		assert.Equal(t, path+"/?q=%20a;b", res.Header.Get("Location"))
	}
}

func TestAFolderIsServedWithRanges(t *testing.T) {
	w := newWorld(t, nil)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "index.html"), []byte("<p>home"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data.bin"), []byte("0123456789"), 0o600))
	folder, err := local.Folder(dir)
	require.NoError(t, err)
	expose(t, w.there, "/x/site/http", folder)

	res, body := w.get(t, w.prefix+"/")
	assert.Equal(t, "<p>home", body)
	assert.Equal(t, "text/html; charset=utf-8", res.Header.Get("Content-Type"))

	res, body = w.get(t, w.prefix+"/data.bin", "Range", "bytes=2-4")
	assert.Equal(t, http.StatusPartialContent, res.StatusCode)
	assert.Equal(t, "234", body)
	assert.Equal(t, "bytes 2-4/10", res.Header.Get("Content-Range"))

	res = w.do(t, http.MethodHead, w.prefix+"/data.bin", nil)
	assert.EqualValues(t, 10, res.ContentLength)
	assert.Empty(t, read(t, res))

	res, _ = w.get(t, w.prefix+"/none")
	assert.Equal(t, http.StatusNotFound, res.StatusCode, "the service's own")
}

func TestA64MiBDownloadIsWhole(t *testing.T) {
	for name, listen := range map[string]string{"tcp": "/ip4/127.0.0.1/tcp/0", "quic": "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(name, func(t *testing.T) {
			part := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
			w := newWorld(t, func(w http.ResponseWriter, _ *http.Request) {
				for range 1 << 10 {
					_, _ = w.Write(part)
				}
			}, listen)
			want := sha256.New()
			for range 1 << 10 {
				want.Write(part)
			}
			res := w.do(t, http.MethodGet, w.prefix+"/", nil)
			got := sha256.New()
			n, err := io.Copy(got, res.Body)
			require.NoError(t, err)
			assert.EqualValues(t, 64<<20, n)
			assert.Equal(t, want.Sum(nil), got.Sum(nil))
		})
	}
}

func TestAClosedGatewayAnswersNothingAndHoldsNothing(t *testing.T) {
	arrived := make(chan struct{})
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		close(arrived)
		<-r.Context().Done()
	})
	res := w.do(t, http.MethodGet, w.prefix+"/", nil)
	<-arrived
	require.NoError(t, w.gateway.Close())
	require.NoError(t, w.gateway.Close())
	_, err := io.ReadAll(res.Body)
	require.Error(t, err, "a response under way is broken off")
	assert.Empty(t, w.here.Bridge().Streams())

	res, body := w.get(t, w.prefix+"/")
	assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	assert.Contains(t, body, "being closed")
}
