package local_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/local"
)

// client returns an HTTP client whose connections are streams of a peer's protocol.
func client(t testing.TB, here, there *core.Node, proto protocol.ID) *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return here.Dial(ctx, there.ID(), proto)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// request asks for a path exactly as it is given.
func request(t testing.TB, c *http.Client, method, path string, header ...string) (status int, body string, h http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(testContext(t), method, "http://peer/", nil)
	require.NoError(t, err)
	r.URL.Opaque = path
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(b), res.Header
}

func TestAFolderIsAReadOnlySite(t *testing.T) {
	here, there := pair(t)
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
	dir := filepath.Join(t.TempDir(), "site")
	write := func(name, content string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	write("index.html", "<p>home")
	write("a.css", "p{}")
	write("sub/page.html", "<p>page")
	write("data.bin", "0123456789")
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "link")))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "out")))
	require.NoError(t, os.Symlink("data.bin", filepath.Join(dir, "inside")))
	offer(t, there, "/x/site/http", "file:"+dir)
	c := client(t, here, there, "/x/site/http")

	status, body, h := request(t, c, "GET", "/")
	assert.Equal(t, 200, status)
	assert.Equal(t, "<p>home", body)
	assert.Equal(t, "text/html; charset=utf-8", h.Get("Content-Type"))
	assert.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
	_, _, h = request(t, c, "GET", "/a.css")
	assert.Equal(t, "text/css; charset=utf-8", h.Get("Content-Type"))
	status, body, h = request(t, c, "GET", "/data.bin", "Range", "bytes=2-4")
	assert.Equal(t, http.StatusPartialContent, status)
	assert.Equal(t, "234", body)
	assert.Equal(t, "bytes 2-4/10", h.Get("Content-Range"))
	status, _, _ = request(t, c, "GET", "/data.bin", "Range", "bytes=20-")
	assert.Equal(t, http.StatusRequestedRangeNotSatisfiable, status)
	_, _, h = request(t, c, "HEAD", "/data.bin")
	assert.Equal(t, "10", h.Get("Content-Length"))
	status, body, _ = request(t, c, "GET", "/inside")
	assert.Equal(t, 200, status)
	assert.Equal(t, "0123456789", body)
	_, body, _ = request(t, c, "GET", "/sub/")
	assert.Contains(t, body, "page.html")

	for _, path := range []string{"/link", "/out/secret", "/../secret", "/sub/../../secret", "/%2e%2e/secret", "/..%2fsecret", "/none",
		"/out", "//etc/passwd", "/etc/passwd", "/data.bin%00"} {
		status, body, _ := request(t, c, "GET", path)
		assert.NotEqual(t, 200, status, path)
		assert.NotContains(t, body, "root:", path)
		assert.NotEqual(t, "secret", body, path)
	}
	for _, path := range []string{"/data.bin%00", "/%00/data.bin", "/" + strings.Repeat("a", 1<<10)} {
		status, _, _ := request(t, c, "GET", path)
		assert.Equal(t, 404, status, "no file can have the name %.20s", path)
	}
	for _, method := range []string{"PUT", "POST", "DELETE", "PATCH", "MKCOL", "PROPFIND"} {
		for _, path := range []string{"/data.bin", "/new", "/"} {
			status, body, h := request(t, c, method, path)
			assert.Equal(t, http.StatusMethodNotAllowed, status, "%s %s", method, path)
			assert.Equal(t, "GET, HEAD", h.Get("Allow"))
			assert.Contains(t, body, "read-only")
		}
	}
	status, body, h = request(t, c, "OPTIONS", "/data.bin")
	assert.Equal(t, http.StatusNoContent, status)
	assert.Equal(t, "GET, HEAD", h.Get("Allow"))
	assert.Empty(t, body)
	kept, err := os.ReadFile(filepath.Join(dir, "data.bin"))
	require.NoError(t, err)
	assert.Equal(t, "0123456789", string(kept))

	// The folder may be replaced, or missing for a while.
	require.NoError(t, os.Rename(dir, dir+".old"))
	status, body, _ = request(t, c, "GET", "/")
	assert.Equal(t, 404, status)
	assert.Contains(t, body, "gone")
	write("index.html", "<p>new")
	_, body, _ = request(t, c, "GET", "/")
	assert.Equal(t, "<p>new", body)
}

// largeFile makes a folder with a file that no stream's window holds.
func largeFile(t testing.TB) (folder string, size int64) {
	t.Helper()
	folder, size = t.TempDir(), 8<<20
	path := filepath.Join(folder, "large")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, size))
	return folder, size
}

// ask requests the large file on a stream of its own, and reads nothing.
func ask(t testing.TB, here, there *core.Node, proto protocol.ID) net.Conn {
	t.Helper()
	c, err := here.Dial(testContext(t), there.ID(), proto)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	_, err = io.WriteString(c, "GET /large HTTP/1.1\r\nHost: peer\r\n\r\n")
	require.NoError(t, err)
	return c
}

func TestServedFilesAreCounted(t *testing.T) {
	defer local.LimitFiles(4)() // a request takes three
	here, there := pair(t)
	dir, size := largeFile(t)
	offer(t, there, "/x/site/http", "file:"+dir)
	held := ask(t, here, there, "/x/site/http")
	eventually(t, func() bool { return local.FilesOpen() == 3 })

	c := client(t, here, there, "/x/site/http")
	status, body, _ := request(t, c, "GET", "/large")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Equal(t, "this peer may open no more files now; try again later\n", body)
	assert.Equal(t, 3, local.FilesOpen(), "a refused request keeps nothing")

	require.NoError(t, held.Close())
	eventually(t, func() bool { return local.FilesOpen() == 0 })
	status, body, _ = request(t, c, "GET", "/large")
	assert.Equal(t, http.StatusOK, status)
	assert.Len(t, body, int(size))
	eventually(t, func() bool { return local.FilesOpen() == 0 })
}

func TestAReaderThatTakesNothingIsCut(t *testing.T) {
	here, there := pair(t)
	dir, size := largeFile(t)
	site, err := local.Target("file:" + dir)
	require.NoError(t, err)
	local.LimitStall(site, 50*time.Millisecond)
	_, err = there.Listen(t.Context(), "/x/site/http", site)
	require.NoError(t, err)
	c := ask(t, here, there, "/x/site/http")
	eventually(t, func() bool { return len(there.Bridge().Ended()) == 1 })
	assert.Equal(t, bridge.TimedOut, there.Bridge().Ended()[0].Reason)
	assert.Zero(t, local.FilesOpen())
	got, err := io.Copy(io.Discard, c)
	assert.ErrorIs(t, err, bridge.TimedOut, "what came is not taken for all")
	assert.Less(t, got, size)
}

// slowWriter takes a little at a time.
type slowWriter struct{ took int64 }

func (w *slowWriter) Write(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	w.took += int64(len(p))
	return len(p), nil
}

func TestAReaderThatIsSlowGetsAll(t *testing.T) {
	here, there := pair(t)
	dir, size := largeFile(t)
	site, err := local.Target("file:" + dir)
	require.NoError(t, err)
	const stall = time.Second
	local.LimitStall(site, stall)
	_, err = there.Listen(t.Context(), "/x/site/http", site)
	require.NoError(t, err)
	began := time.Now()
	res, err := http.ReadResponse(bufio.NewReader(ask(t, here, there, "/x/site/http")), nil)
	require.NoError(t, err)
	defer res.Body.Close()
	slow := new(slowWriter)
	_, err = io.CopyBuffer(slow, res.Body, make([]byte, 4<<10))
	require.NoError(t, err)
	assert.Equal(t, size, slow.took)
	assert.Greater(t, time.Since(began), stall)
}

func TestAHandlerIsToldThePeer(t *testing.T) {
	here, there := pair(t)
	_, err := there.Listen(t.Context(), "/x/who/http", local.HTTP("who", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.RemoteAddr)
	})))
	require.NoError(t, err)
	c := client(t, here, there, "/x/who/http")
	for range 3 {
		_, body, _ := request(t, c, "GET", "/")
		assert.Equal(t, "/p2p/"+here.ID().String(), body)
	}
	assert.Len(t, here.Bridge().Streams(), 1, "requests follow one another on a stream")
	c.CloseIdleConnections()
	eventually(t, func() bool { return len(there.Bridge().Streams()) == 0 })
}

func TestAStreamThatSpeaksNoHTTPIsToldSoAndEnded(t *testing.T) {
	here, there := pair(t)
	_, err := there.Listen(t.Context(), "/x/web/http", local.HTTP("web", http.NotFoundHandler()))
	require.NoError(t, err)
	conn, err := here.Dial(testContext(t), there.ID(), "/x/web/http")
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "SSH-2.0-OpenSSH\r\n\r\n")
	require.NoError(t, err)
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Contains(t, string(got), "400 Bad Request")
}

func TestAConnectionThatAHandlerTakesOverIsItsOwn(t *testing.T) {
	here, there := pair(t)
	var handling atomic.Int32
	_, err := there.Listen(t.Context(), "/x/ws/http", local.HTTP("ws", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handling.Add(1)
		defer handling.Add(-1)
		c, rw, err := w.(http.Hijacker).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(c, rw)
		time.Sleep(20 * time.Millisecond) // Close waits for what the handler still has to do
	})))
	require.NoError(t, err)
	open := func() (net.Conn, *bufio.Reader) {
		c, err := here.Dial(testContext(t), there.ID(), "/x/ws/http")
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: peer\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		require.NoError(t, err)
		r := bufio.NewReader(c)
		res, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
		_, err = io.WriteString(c, "hello\n")
		require.NoError(t, err)
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "hello\n", line)
		return c, r
	}
	c, r := open()
	require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	assert.Empty(t, rest)
	eventually(t, func() bool { return handling.Load() == 0 && len(there.Bridge().Streams()) == 0 })

	open()
	require.NoError(t, there.Bridge().Close())
	assert.Zero(t, handling.Load(), "Close waits for it")
}

func TestAHandlerUnderWayEndsWithTheNode(t *testing.T) {
	here, there := pair(t)
	var handling atomic.Int32
	_, err := there.Listen(t.Context(), "/x/slow/http", local.HTTP("slow", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handling.Add(1)
		defer handling.Add(-1)
		_, _ = io.Copy(io.Discard, r.Body) // the rest of it never comes
		<-r.Context().Done()
	})))
	require.NoError(t, err)
	c, err := here.Dial(testContext(t), there.ID(), "/x/slow/http")
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "POST / HTTP/1.1\r\nHost: peer\r\nContent-Length: "+strings.Repeat("9", 9)+"\r\n\r\n")
	require.NoError(t, err)
	eventually(t, func() bool { return handling.Load() == 1 })
	require.NoError(t, there.Bridge().Close())
	assert.Zero(t, handling.Load())
}
