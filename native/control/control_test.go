package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/tunnels"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// away is the ID of a peer that does not exist.
const away = "12D3KooWCY9aRhhZwCiQiwD6JnvgYHM5KSnNRdsKVosTEWfUhEeY"

var quiet = slog.New(slog.DiscardHandler)

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newNode(t testing.TB) *core.Node {
	t.Helper()
	n, err := native.New(testContext(t), native.Options{Listen: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0")}, NoMDNS: true, NoPortMapping: true})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	return n
}

// newServer serves a node. The test may close it earlier.
func newServer(t testing.TB) (*Server, *Client) {
	t.Helper()
	dir := t.TempDir()
	n := newNode(t)
	kept, err := tunnels.Open(testContext(t), n, dir, quiet)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, kept.Close()) })
	rooms, err := world.New(n)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, rooms.Close()) })
	s, err := Serve(Options{Node: n, Tunnels: kept, Rooms: rooms, Dir: dir, Logger: quiet})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	c, err := NewClient(dir)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return s, c
}

func TestTheSocketIsItsOwnersFromItsFirstMoment(t *testing.T) {
	s, c := newServer(t)
	info, err := os.Stat(c.path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoError(t, s.Close())
	assert.NoFileExists(t, c.path)
	require.NoError(t, s.Close(), "it may be closed again")

	// The mode is right from the moment the socket appears.
	dir := t.TempDir()
	made := make(chan os.FileMode, 1)
	stop := make(chan struct{})
	go func() {
		for {
			if info, err := os.Stat(filepath.Join(dir, SocketName)); err == nil {
				made <- info.Mode().Perm()
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	l, err := ListenPrivately(filepath.Join(dir, SocketName))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), <-made)
	close(stop)
	require.NoError(t, l.Close())
}

func TestTheSocketOfADaemonThatWasKilledIsReplaced(t *testing.T) {
	s, _ := newServer(t)
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	left, err := net.Listen("unix", path)
	require.NoError(t, err)
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, left.Close())
	_, err = os.Lstat(path)
	require.NoError(t, err)
	again, err := Serve(Options{Node: s.node, Tunnels: s.opts.Tunnels, Dir: dir, Logger: quiet})
	require.NoError(t, err)
	defer again.Close()
	c, err := NewClient(dir)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.call(testContext(t), "status", None{}, nil))
}

func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"a file":   func(path string) error { return os.WriteFile(path, []byte("mine"), 0o600) },
		"a folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"a link":   func(path string) error { return os.Symlink("elsewhere", path) },
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, SocketName)
		require.NoError(t, put(path))
		_, err := Serve(Options{Dir: dir, Logger: quiet})
		require.ErrorContains(t, err, path+", and it is not a socket: move it away", name)
		_, err = os.Lstat(path)
		require.NoError(t, err, name)
	}
}

func TestAPathThatIsTooLongForASocketIsSaid(t *testing.T) {
	dir := "/" + strings.Repeat("x", 103-len(SocketName)-2)
	path, err := SocketPath(dir)
	require.NoError(t, err)
	assert.Len(t, path, 103)
	_, err = NewClient(dir + "x")
	require.ErrorContains(t, err, "choose a data directory with a path of at most 90 characters")
	_, err = Serve(Options{Dir: dir + "x"})
	require.ErrorContains(t, err, dir+"x")
	assert.Len(t, dir, 90)
}

func TestWithoutADaemonACallSaysHowToStartOne(t *testing.T) {
	dir := t.TempDir()
	c, err := NewClient(dir)
	require.NoError(t, err)
	for _, left := range []bool{false, true} {
		if left { // the socket of a daemon that was killed
			l, err := net.Listen("unix", filepath.Join(dir, SocketName))
			require.NoError(t, err)
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			require.NoError(t, l.Close())
		}
		err := c.call(testContext(t), "ls", None{}, nil)
		require.ErrorIs(t, err, ErrNoDaemon)
		require.EqualError(t, err, "no daemon is running for "+dir+": start one with tombolo up --data-dir "+dir)
		_, _, err = c.Dial(testContext(t), DialCall{})
		require.ErrorIs(t, err, ErrNoDaemon)
		for _, err := range lines[None](testContext(t), c, "watch", None{}) {
			require.ErrorIs(t, err, ErrNoDaemon)
		}
	}
}

// raw sends bytes on the socket, closes its half, and returns all that comes back.
func raw(t testing.TB, path string, b []byte) []byte {
	t.Helper()
	c, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	_, err = c.Write(b)
	if err == nil {
		err = c.(*net.UnixConn).CloseWrite()
	}
	answer, readErr := io.ReadAll(c)
	for _, err := range []error{err, readErr} {
		if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.ENOTCONN) {
			require.NoError(t, err, "the server ends the connection of a client that has sent everything: %q", b)
		}
	}
	return answer
}

func post(t testing.TB, c *Client, method, verb, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), method, "http://daemon/"+verb, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := c.http.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

func TestACallThatIsWrongIsAnsweredWithWhatIsWrong(t *testing.T) {
	_, c := newServer(t)
	for _, x := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "v1/nonsense", "{}", 400, "there is no call POST /v1/nonsense"},
		{"GET", "v1/ls", "", 400, "there is no call GET /v1/ls"},
		{"DELETE", "v1/ls", "", 400, "there is no call DELETE"},
		{"GET", "", "", 400, "there is no call GET /"},
		{"POST", "v2/ls", "{}", 400, "there is no call POST /v2/ls: the client may be newer"},
		{"POST", "v1/ls", "nonsense", 400, "the call is not understood"},
		{"POST", "v1/ls", "[]", 400, "cannot unmarshal array"},
		{"POST", "v1/ls", "{", 400, "unexpected EOF"},
		{"POST", "v1/ls", "{}{}", 400, "something follows"},
		{"POST", "v1/ls", "{}}", 400, "the call is not understood"},
		{"POST", "v1/ls", "{}]", 400, "the call is not understood"},
		{"POST", "v1/ls", `{"more":1}`, 400, `unknown field \"more\"`},
		{"POST", "v1/listen", `{"protocol":1}`, 400, "cannot unmarshal number"},
		{"POST", "v1/listen", `{"protocol":"/x/a","target":"127.0.0.1:22","access":{"allow":["bob"]}}`, 400, "the call is not understood"},
		{"POST", "v1/listen", `{"protocol":"/x/a","target":"127.0.0.1:22","access":{"dney":[]}}`, 400, `unknown field \"dney\"`},
		{"POST", "v1/listen", `{"target":"127.0.0.1:22"}`, 422, "bad protocol name: it is empty"},
		{"POST", "v1/listen/foreground", `{"protocol":"/x/a"}`, 422, "target"},
		{"POST", "v1/forward", `{"protocol":"/x/a","listen":"127.0.0.1:0","peer":"/ip4/127.0.0.1/tcp/1"}`, 422, "does not end in /p2p/"},
		{"POST", "v1/ping", `{"peer":"bob"}`, 400, "neither a peer ID nor a multiaddr"},
		{"POST", "v1/ping", `{}`, 400, "the peer is empty"},
		{"POST", "v1/close", `{}`, 400, "no matching options given"},
		{"POST", "v1/close", `{"all":true,"protocol":"/x/a"}`, 400, "can't combine --all"},
		{"POST", "v1/close", `{"id":-1}`, 400, "cannot unmarshal number"},
		{"POST", "v1/streams", `{"id":7}`, 422, "no live stream has that id"},
		{"POST", "v1/streams/close", `{}`, 400, "no stream is given"},
		{"POST", "v1/streams/close", `{"all":true,"ids":[1]}`, 400, "not both"},
		{"POST", "v1/streams/close", `{"ids":[7]}`, 422, "close stream 7: no live stream has that id"},
		{"POST", "v1/access", `{"protocol":"/x/none"}`, 422, "there is no listener"},
		{"POST", "v1/echo", `{"peer":"` + away + `","bytes":-1}`, 400, "bytes: -1"},
		{"POST", "v1/echo", `{"peer":"` + away + `","bytes":1000000000000}`, 400, "bytes: 1000000000000"},
		{"POST", "v1/subscribe", `{"type":""}`, 400, ""},
		{"POST", "v1/subscribe", `{"type":"a","buffer":-1}`, 400, "a buffer of -1"},
		{"POST", "v1/subscribe", `{"type":"a","buffer":1000000000000}`, 400, "a buffer of 1000000000000"},
		{"POST", "v1/broadcast", `{"type":"a","data":"no base64!"}`, 400, "base64"},
		{"POST", "v1/broadcast", `{"type":"a","data":"AA=="}`, 422, "peer"},
		{"POST", "v1/dial", `{"peer":"` + away + `","protocol":"/x/a"}`, 400, "it must ask for an upgrade to tombolo-stream"},
	} {
		name := fmt.Sprint(x.method, " ", x.path, " ", x.body)
		status, answer := post(t, c, x.method, x.path, x.body)
		assert.Equal(t, x.status, status, "%s: %s", name, answer)
		var body errorBody
		require.NoError(t, json.Unmarshal([]byte(answer), &body), name)
		require.NotNil(t, body.Error, name)
		assert.Contains(t, answer, x.want, name)
	}
	status, _ := post(t, c, "POST", "v1/ls", "")
	assert.Equal(t, 200, status, "an empty body is an empty object")
}

func TestACallThatIsTooLargeIsCutOff(t *testing.T) {
	_, c := newServer(t)
	status, answer := post(t, c, "POST", "v1/broadcast", `{"type":"a","data":"`+strings.Repeat("A", maxBody)+`"}`)
	assert.Equal(t, http.StatusRequestEntityTooLarge, status, answer)
	status, answer = post(t, c, "POST", "v1/ls", "{}"+strings.Repeat(" ", maxBody))
	assert.Equal(t, http.StatusRequestEntityTooLarge, status, answer)
	require.NoError(t, c.call(testContext(t), "ls", None{}, nil))
}

func TestTheLargestMessageFitsACall(t *testing.T) {
	_, c := newServer(t)
	var failed *Error
	err := c.call(testContext(t), "broadcast", MessageCall{Type: "a", Data: make([]byte, message.MaxData)}, nil)
	require.ErrorAs(t, err, &failed)
	assert.ErrorContains(t, failed, "no peer is on the topic")
	err = c.call(testContext(t), "broadcast", MessageCall{Type: "a", Data: make([]byte, message.MaxData+1)}, nil)
	require.ErrorAs(t, err, &failed)
	assert.ErrorContains(t, failed, "has 1048577 bytes of data; the limit is 1048576")
}

func TestGarbageOnTheSocketDisturbsNobody(t *testing.T) {
	_, c := newServer(t)
	for _, garbage := range garbage() {
		raw(t, c.path, []byte(garbage))
	}
	require.NoError(t, c.call(testContext(t), "status", None{}, nil))
}

// garbage returns requests that nobody should send.
func garbage() []string {
	call := func(verb, body string) string {
		return fmt.Sprintf("POST /v1/%s HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n%s", verb, len(body), body)
	}
	return []string{
		"", "\x00", "\r\n\r\n", strings.Repeat("A", 1<<16), "GET / HTTP/9.9\r\n\r\n", "POST /v1/ls HTTP/1.1\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "GET //v1/../ls HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /v1/ls HTTP/1.1\r\nHost: d\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"POST /v1/ls HTTP/1.1\r\nHost: d\r\nContent-Length: 1000\r\n\r\n{",
		"POST /v1/ls HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
		"POST /v1/ls HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
		"POST /v1/dial HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tombolo-stream\r\nContent-Length: 2\r\n\r\n{}early",
		call("ls", "{}") + call("ls", "{}"), call("ls", strings.Repeat("[", 1<<16)), call("watch", "{}"), call("subscribe", `{"type":"a"}`),
		call("listen/foreground", `{"protocol":"/x/a","target":"127.0.0.1:22"}`),
		call("forward/foreground", `{"protocol":"/x/a","listen":"127.0.0.1:0","peer":"`+away+`"}`),
		call("access", `{"protocol":"/x/a","allow":[""]}`), call("connect", `{"peer":"/ip4/127.0.0.1/tcp/1/p2p/`+away+`"}`),
	}
}

func FuzzControl(f *testing.F) {
	for _, g := range garbage() {
		f.Add([]byte(g))
	}
	_, c := newServer(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		raw(t, c.path, b)
		if err := c.call(testContext(t), "ls", None{}, nil); err != nil {
			t.Fatalf("the server does not answer any more: %v", err)
		}
	})
}

func TestWhoSendsHalfACallHoldsNothingUp(t *testing.T) {
	s, c := newServer(t)
	for _, half := range []string{"POST /v1/ls HT", "POST /v1/ls HTTP/1.1\r\nHost: d\r\nContent-Length: 100\r\n\r\n{"} {
		conn, err := net.Dial("unix", c.path)
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte(half))
		require.NoError(t, err)
	}
	require.NoError(t, c.call(testContext(t), "ls", None{}, nil))
	began := time.Now()
	require.NoError(t, s.Close())
	assert.Less(t, time.Since(began), headerTimeout, "it does not wait for the rest of them")
}
