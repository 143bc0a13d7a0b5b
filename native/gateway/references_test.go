package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAServiceThatComparesOriginWithHostTakesFormsAndWebSockets(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ws" {
			c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil) // Upgrade compares Origin with Host
			if err == nil {
				_ = c.Close()
			}
			return
		}
		fmt.Fprint(w, r.Header.Get("Origin"), " ", r.Host)
	})
	own, id := w.ownHost(t, "/x/site/http"), w.there.ID().String()
	c, res, err := websocket.DefaultDialer.DialContext(testContext(t), strings.Replace(w.base, "http", "ws", 1)+w.prefix+"/ws",
		http.Header{"Origin": {"http://" + own}, "Host": {own}})
	require.NoError(t, err)
	assert.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
	require.NoError(t, c.Close())
	for origin, want := range map[string]string{"http://" + own: "http://" + id, "null": "http://" + id, "": ""} {
		header := []string{"Host", own, "Sec-Fetch-Site", "same-origin"}
		if origin != "" {
			header = append(header, "Origin", origin)
		}
		assert.Equal(t, want+" "+id, read(t, w.do(t, http.MethodPost, w.prefix+"/form", strings.NewReader("a=b"), header...)))
	}
	refused := w.do(t, http.MethodPost, w.prefix+"/form", nil, "Host", own, "Origin", "http://"+id)
	assert.Equal(t, http.StatusForbidden, refused.StatusCode, "what the service is told is not what a page may say")
	require.NoError(t, refused.Body.Close())
}

func TestWhatARequestSaysOfItsOwnAddressIsTrueOfTheServices(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Referer"), " ", r.Header.Get("Destination"))
	})
	own, id := w.ownHost(t, "/x/site/http"), "http://"+w.there.ID().String()
	for ref, want := range map[string][2]string{
		"http://" + own + w.prefix + "/a%2Fb?c": {id + "/a%2Fb?c", id + "/a%2Fb?c"},
		"http://" + own + w.prefix:              {id + "/", id + "/"},
		"http://" + own + w.prefix + "//a":      {id + "//a", id + "//a"},
		"http://" + own + "/p2p/other/http/x":   {id + "/", "http://" + own + "/p2p/other/http/x"},
		"http://" + own + "/":                   {id + "/", "http://" + own + "/"},
		"https://elsewhere.example/a":           {"https://elsewhere.example/a", "https://elsewhere.example/a"},
		"/relative":                             {"/relative", "/relative"},
	} {
		_, got := w.get(t, w.prefix+"/", "Host", own, "Referer", ref, "Destination", ref)
		assert.Equal(t, strings.Join(want[:], " "), got)
	}
}

func TestLinksAndRefreshesLeadThroughTheGateway(t *testing.T) {
	var header http.Header
	w := newWorld(t, func(w http.ResponseWriter, _ *http.Request) {
		maps.Copy(w.Header(), header)
		w.WriteHeader(http.StatusEarlyHints)
	})
	p, id := w.prefix, w.there.ID().String()
	for name, cases := range map[string]map[string]string{
		"Link": {
			`</a>; rel=next`: `<` + p + `/a>; rel=next`,
			`</a>; title="</b>, \"</c>", < /d >, <http://` + id + `/e>; rel="x"`: `<` + p + `/a>; title="</b>, \"</c>", <` + p + `/d>, <` + p + `/e>; rel="x"`,
			`<a>, <https://elsewhere.example/>`:                                  `<a>, <https://elsewhere.example/>`,
			`<` + p + `/a>`:                                                      `<` + p + `/a>`,
			`</open`:                                                             `</open`,
		},
		"Refresh": {
			"5; url=/a":           "5; url=" + p + "/a",
			"0;URL = '/a' x":      "0;URL = '" + p + "/a' x",
			`1.5, "/a`:            `1.5, "` + p + `/a`,
			"3 /a?b;c":            "3 " + p + "/a?b;c",
			"0;url=http://" + id:  "0;url=" + p + "/",
			"0;url=a":             "0;url=a",
			"5":                   "5",
			"0;https://a.example": "0;https://a.example",
		},
		"Sourcemap": {"/a.map": p + "/a.map", "a.map": "a.map"},
	} {
		for from, to := range cases {
			header = http.Header{name: {from, from}}
			var hinted []string
			ctx := httptrace.WithClientTrace(testContext(t), &httptrace.ClientTrace{
				Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
					hinted = h[name]
					return nil
				},
			})
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+p+"/", nil)
			require.NoError(t, err)
			res, err := w.client.Do(req)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			assert.Equal(t, []string{to, to}, res.Header[name])
			assert.Equal(t, []string{to, to}, hinted, "in an interim response")
		}
	}
}

func TestTrailersOfRequestsPassAnnouncedOrNot(t *testing.T) {
	trailers := make(chan http.Header, 1)
	w := newWorld(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		trailers <- r.Trailer.Clone()
	})
	for _, announced := range []string{"", "Trailer: X-Sum, X-Other\r\n"} {
		c, err := net.Dial("tcp4", strings.TrimPrefix(w.base, "http://"))
		require.NoError(t, err)
		fmt.Fprintf(c, "POST %s/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n%s\r\n"+
			"3\r\nabc\r\n0\r\nX-Sum: 42\r\nX-Other: a\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 7\r\nHost: evil\r\n\r\n", w.prefix, announced)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, res.StatusCode)
		assert.Equal(t, http.Header{"X-Sum": {"42"}, "X-Other": {"a"}}, <-trailers)
		require.NoError(t, c.Close())
	}
}
