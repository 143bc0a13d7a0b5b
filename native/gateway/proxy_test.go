package gateway_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPathAndQueryPassAsTheyAre(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) { say(r.RequestURI)(w, r) })
	for _, uri := range []string{"/", "/?", "/a/b?c=d&e", "/a%2Fb/%20/%C3%A9", "/a//b/../c/./", "/http/x/http/", "/%2e%2e/", "/a+b;c=d?x=%zz;y=1", "//evil.example/", "/%68ttp", "/~!$&'()*,:@"} {
		c, err := net.Dial("tcp4", strings.TrimPrefix(w.base, "http://"))
		require.NoError(t, err)
		fmt.Fprintf(c, "GET %s%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", w.prefix, uri)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		assert.Equal(t, uri, read(t, res))
		require.NoError(t, c.Close())
	}
}

func TestHeadersSayWhereARequestCameFromAndNothingForged(t *testing.T) {
	var got http.Header
	var host string
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		got, host = r.Header.Clone(), r.Host
		w.Header().Set("Keep-Alive", "timeout=5")
		w.Header().Set("X-Kept", "yes")
	})
	res, _ := w.get(t, w.prefix+"/", "Host", "localhost:8080", "Connection", "X-Hop, keep-alive", "X-Hop", "1", "Keep-Alive", "5",
		"Proxy-Authorization", "secret", "Te", "trailers", "X-Forwarded-For", "192.0.2.1", "X-Forwarded-Host", "evil.example",
		"Forwarded", "for=192.0.2.1", "X-Forwarded-Prefix", "/evil", "Via", "1.1 first", "User-Agent", "", "X-Kept", "yes", "Cookie", "a=b")
	assert.Equal(t, w.there.ID().String(), host, "as Kubo does")
	assert.Equal(t, http.Header{
		"X-Forwarded-For":    {"127.0.0.1"},
		"X-Forwarded-Host":   {"localhost:8080"},
		"X-Forwarded-Proto":  {"http"},
		"X-Forwarded-Prefix": {w.prefix},
		"Via":                {"1.1 first", "1.1 tombolo"},
		"Te":                 {"trailers"},
		"X-Kept":             {"yes"},
		"Cookie":             {"a=b"},
	}, got)
	assert.Equal(t, "yes", res.Header.Get("X-Kept"))
	assert.Empty(t, res.Header.Get("Keep-Alive"))
}

func TestRedirectsAndCookiesLeadThroughTheGateway(t *testing.T) {
	var header http.Header
	w := newWorld(t, func(w http.ResponseWriter, _ *http.Request) {
		maps.Copy(w.Header(), header)
		w.WriteHeader(http.StatusFound)
	})
	id, p, host := w.there.ID().String(), w.prefix, w.ownHost(t, "/x/site/http")
	for from, to := range map[string]string{
		"/login?a=b":                   p + "/login?a=b",
		"/":                            p + "/",
		p + "/there/already":           p + "/there/already",
		p + "?q":                       p + "?q",
		p + "x":                        p + p + "x",
		"next":                         "next",
		"../up":                        "../up",
		"?q":                           "?q",
		"http://" + id + "/abs#f":      p + "/abs#f",
		"https://" + id + ":80/abs":    p + "/abs",
		"http://" + id:                 p + "/",
		"http://" + id + "?q":          p + "/?q",
		"//" + id + "/abs":             p + "/abs",
		"http://" + id + "//evil.test": p + "/evil.test",
		"http://" + host + "/abs":      p + "/abs",
		"http://" + host + p + "/abs":  p + "/abs",
		"https://elsewhere.example/a":  "https://elsewhere.example/a",
		"//elsewhere.example/a":        "//elsewhere.example/a",
		"ftp://" + id + "/a":           "ftp://" + id + "/a",
		"mailto:someone@example.org":   "mailto:someone@example.org",
	} {
		header = http.Header{"Location": {from}, "Content-Location": {from}, "Service-Worker-Allowed": {from}}
		res, _ := w.get(t, p+"/", "Host", host)
		for name := range header {
			assert.Equal(t, to, res.Header.Get(name), "%s: %s", name, from)
		}
	}
	name, _, _ := strings.Cut(host, ":")
	for from, to := range map[string]string{
		"a=b":                                    "a=b",
		"a=b; Path=/; HttpOnly":                  "a=b; Path=" + p + "/; HttpOnly",
		"a=b; HttpOnly; path=/app":               "a=b; HttpOnly; Path=" + p + "/app",
		"a=b; Path=" + p + "/app":                "a=b; Path=" + p + "/app",
		"a=b; Path=relative":                     "a=b; Path=relative",
		"a=b; Domain=" + id + "; Max-Age=1":      "a=b; Max-Age=1",
		"a=b; Domain=elsewhere.example; Secure":  "a=b; Domain=elsewhere.example; Secure",
		"a=b; domain = .LocalHost ; Secure":      "a=b; Secure",
		"a=b; Domain=" + name + "; Domain=lhost": "a=b; Domain=lhost",
		"__Host-a=b; Path=/; Secure":             "__Host-a=b; Path=/; Secure",
	} {
		header = http.Header{"Set-Cookie": {from, from}}
		res, _ := w.get(t, p+"/", "Host", host)
		assert.Equal(t, []string{to, to}, res.Header["Set-Cookie"])
	}
}

func TestBodiesStreamBothWays(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		require.NoError(t, rc.EnableFullDuplex())
		w.Header().Set("Content-Type", "text/event-stream")
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintf(w, "data: %s\n\n", lines.Text())
			_ = rc.Flush()
		}
	})
	in, out := io.Pipe()
	go fmt.Fprintln(out, "first")
	stop := time.AfterFunc(patience, func() { _ = out.Close() }) // otherwise the client waits for its own body
	defer stop.Stop()
	res := w.do(t, http.MethodPost, w.prefix+"/", in)
	lines := bufio.NewReader(res.Body)
	for _, next := range []string{"second", "third", ""} {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		assert.True(t, strings.HasPrefix(line, "data: "), "at once, and not when there is more")
		_, err = lines.ReadString('\n')
		require.NoError(t, err)
		if next != "" {
			fmt.Fprintln(out, next)
		}
	}
	require.NoError(t, out.Close())
	_, err := lines.ReadByte()
	assert.Equal(t, io.EOF, err)
}

func TestFormsTrailersAndEarlyHintsPass(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "X-Sum")
		f, h, err := r.FormFile("file")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		n, _ := io.Copy(io.Discard, f)
		fmt.Fprintf(w, "%s %d %s", h.Filename, n, r.FormValue("name"))
		w.Header().Set("X-Sum", "42")
	})
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	require.NoError(t, form.WriteField("name", "größe"))
	part, err := form.CreateFormFile("file", "a.bin")
	require.NoError(t, err)
	_, _ = part.Write(make([]byte, 5<<20))
	require.NoError(t, form.Close())

	hints := 0
	ctx := httptrace.WithClientTrace(testContext(t), &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		if code == http.StatusEarlyHints {
			hints++
		}
		return nil
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.base+w.prefix+"/", &body)
	require.NoError(t, err)
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("Expect", "100-continue")
	res, err := w.client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	assert.Equal(t, "a.bin 5242880 größe", read(t, res))
	assert.Equal(t, "42", res.Trailer.Get("X-Sum"))
	assert.Equal(t, 1, hints)
}

// upgrade opens a WebSocket through the gateway.
func upgrade(t *testing.T, w *world, header http.Header) (*websocket.Conn, *http.Response, error) {
	return websocket.DefaultDialer.DialContext(testContext(t), strings.Replace(w.base, "http", "ws", 1)+w.prefix+"/ws?q=1", header)
}

func echo(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	c, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		kind, data, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, data) != nil {
			return
		}
	}
}

// Kubo answers 502 (its issue 5341).
func TestWebSocketsPass(t *testing.T) {
	for name, listen := range map[string]string{"tcp": "/ip4/127.0.0.1/tcp/0", "quic": "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, echo, listen)
			c, res, err := upgrade(t, w, http.Header{"Origin": {w.base}})
			require.NoError(t, err)
			defer c.Close()
			assert.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
			for _, size := range []int{0, 1, 1 << 10, 1 << 20} {
				sent := bytes.Repeat([]byte{7}, size)
				require.NoError(t, c.WriteMessage(websocket.BinaryMessage, sent))
				_, got, err := c.ReadMessage()
				require.NoError(t, err)
				assert.True(t, bytes.Equal(sent, got))
			}
			require.NoError(t, c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, "bye")))
			_, _, err = c.ReadMessage()
			assert.True(t, websocket.IsCloseError(err, websocket.CloseNormalClosure), "%v", err)
			require.NoError(t, c.Close())
			assert.Eventually(t, func() bool { return len(w.there.Bridge().Streams()) == 0 }, patience, time.Millisecond)
			for _, ended := range append(w.here.Bridge().Ended(), w.there.Bridge().Ended()...) {
				assert.Empty(t, ended.Reason, "it ended well")
			}
		})
	}
}

func TestAWebSocketOfAnotherOriginIsRefused(t *testing.T) {
	w := newWorld(t, echo)
	_, res, err := upgrade(t, w, http.Header{"Origin": {"https://evil.example"}})
	require.Error(t, err)
	assert.Equal(t, http.StatusForbidden, res.StatusCode)
}

func TestAWebSocketEndsWithTheGateway(t *testing.T) {
	w := newWorld(t, echo)
	c, _, err := upgrade(t, w, nil)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, w.gateway.Close())
	_, _, err = c.ReadMessage()
	assert.Error(t, err)
	assert.Empty(t, w.here.Bridge().Streams())
}

func TestTheGatewayDoesNotWaitForTheClientOfAWebSocketThatItsServiceEnded(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if assert.NoError(t, err) {
			_ = c.Close()
		}
	})
	c, _, err := upgrade(t, w, nil)
	require.NoError(t, err)
	defer c.Close()
	_, _, err = c.ReadMessage()
	require.Error(t, err, "the service has ended its half")
	require.NoError(t, w.gateway.Close())
}

func TestConnectionsAreKeptForTheSamePeerAndProtocolOnly(t *testing.T) {
	a := newWorld(t, say("a"))
	b := newNode(t)
	connect(t, a.here, b)
	expose(t, b, "/x/site/http", site(t, say("b")))
	expose(t, a.there, "/x/other/http", site(t, say("other")))
	for range 5 {
		for path, want := range map[string]string{
			a.prefix + "/":                              "a",
			a.path("/x/other/http/"):                    "other",
			"/p2p/" + b.ID().String() + "/x/site/http/": "b",
		} {
			_, body := a.get(t, path)
			assert.Equal(t, want, body)
		}
	}
	assert.Len(t, a.there.Bridge().Streams(), 2)
	assert.Len(t, b.Bridge().Streams(), 1)
	assert.EqualValues(t, 3, a.here.Bridge().Stats().Opened)
}

func TestA100RequestsAtATimePass(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) { say(r.URL.RawQuery)(w, r) })
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			for range 3 {
				res, body := w.get(t, fmt.Sprintf("%s/?%d", w.prefix, i))
				assert.Equal(t, http.StatusOK, res.StatusCode, body)
				assert.Equal(t, fmt.Sprint(i), body)
			}
		})
	}
	all.Wait()
	assert.Eventually(t, func() bool { return len(w.here.Bridge().Streams()) <= 8 }, patience, time.Millisecond, "the rest is not kept")
}
