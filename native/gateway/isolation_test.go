package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/gateway"
)

// Headers that a browser sends with a followed link, and with fetch.
var (
	byLink  = []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Accept", "text/html,*/*;q=0.8"}
	byFetch = []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Accept", "*/*"}
)

// twoSites makes a world with a second site, which the first may try to reach.
func twoSites(t *testing.T, opts gateway.Options) (w *world, own, other string) {
	w = newWorld(t, say("own"))
	expose(t, w.there, "/x/other/http", site(t, say("secret")), bridge.Announce("secret"))
	w.base, w.gateway = serve(t, w.here, opts)
	return w, w.ownHost(t, "/x/site/http"), w.ownHost(t, "/x/other/http")
}

func TestUnderTheNameOfAServiceThereIsNothingElse(t *testing.T) {
	w, own, other := twoSites(t, gateway.Options{})
	require.NotEqual(t, own, other)
	label, port, _ := strings.Cut(own, ".localhost:")
	for _, host := range []string{own, strings.ToUpper(own), label + ".localhost.:" + port, label + ".localhost", label + ".localhost:1"} {
		for _, header := range [][]string{nil, byLink, byFetch, {"Accept", "application/json"}} {
			for path, status := range map[string]int{
				w.prefix + "/":               http.StatusOK,
				w.prefix + "/a?b":            http.StatusOK,
				w.prefix:                     http.StatusTemporaryRedirect,
				"/":                          http.StatusForbidden,
				"/?":                         http.StatusForbidden,
				"//":                         http.StatusForbidden,
				"/favicon.ico":               http.StatusForbidden,
				"/robots.txt":                http.StatusForbidden,
				"/p2p/":                      http.StatusForbidden,
				"/p2p/nobody/http/":          http.StatusForbidden,
				w.path("/x/other/http/"):     http.StatusForbidden,
				w.path("/x/other/http"):      http.StatusForbidden,
				w.path("/http/"):             http.StatusForbidden,
				w.path("/x/site%2Fhttp/"):    http.StatusForbidden,
				w.path("/x/site/a/http/"):    http.StatusForbidden,
				w.path("/x/Site/http/"):      http.StatusForbidden,
				w.prefix + "x/":              http.StatusForbidden,
				"/" + w.path("/x/site/http"): http.StatusForbidden,
			} {
				for _, method := range []string{http.MethodGet, http.MethodPost} {
					if method == http.MethodPost && header != nil {
						continue
					}
					res := w.do(t, method, path, nil, append([]string{"Host", host}, header...)...)
					body := read(t, res)
					assert.Equal(t, status, res.StatusCode, "%s %s%s %v", method, host, path, header)
					assert.NotContains(t, body, "secret")
					assert.NotContains(t, body, w.here.ID().String(), "the landing page")
				}
			}
		}
	}
	for _, host := range []string{other, "a" + own, "a." + own, "x.localhost", "www.localhost:80", label + "0.localhost", label[:16] + ".localhost", ".localhost"} {
		res, _ := w.get(t, w.prefix+"/", "Host", host)
		assert.Equal(t, http.StatusForbidden, res.StatusCode, host)
	}
}

// If the request line names the host, that host counts, and not the one in the header.
func TestANameInTheRequestLineCounts(t *testing.T) {
	w, own, other := twoSites(t, gateway.Options{})
	ask := func(target, host string) (int, string) {
		c, err := net.Dial("tcp4", strings.TrimPrefix(w.base, "http://"))
		require.NoError(t, err)
		defer c.Close()
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nX-Forwarded-Host: %s\r\nConnection: close\r\n\r\n", target, host, own)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		b, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, string(b)
	}
	for target, status := range map[string]int{
		"http://" + own + w.prefix + "/":       http.StatusOK,
		"http://" + other + w.prefix + "/":     http.StatusForbidden,
		"http://evil.example" + w.prefix + "/": http.StatusForbidden,
		"http://" + own + "/":                  http.StatusForbidden,
	} {
		got, body := ask(target, own)
		assert.Equal(t, status, got, "%s: %s", target, body)
	}
	got, _ := ask(w.prefix+"/", other)
	assert.Equal(t, http.StatusForbidden, got, "X-Forwarded-Host decides nothing")
}

func TestBrowsersAreSentToTheOwnNameOfAService(t *testing.T) {
	w := newWorld(t, say("own"))
	w.base, w.gateway = serve(t, w.here, gateway.Options{Hosts: []string{"*.gate.example"}})
	_, port, err := net.SplitHostPort(strings.TrimPrefix(w.base, "http://"))
	require.NoError(t, err)
	for host, parent := range map[string]string{
		"127.0.0.1:" + port: "localhost:" + port, "localhost:" + port: "localhost:" + port, "[::1]:" + port: "localhost:" + port,
		"LocalHost.": "localhost", "gate.example": "gate.example", "gate.example:80": "gate.example:80",
	} {
		for _, header := range [][]string{
			byLink,
			{"Accept", "text/html,application/xhtml+xml,*/*;q=0.8"}, // a browser from before 2023
			{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"},
		} {
			for path, to := range map[string]string{w.prefix + "/a%2Fb?c=%zz;d": w.prefix + "/a%2Fb?c=%zz;d", w.prefix + "?q": w.prefix + "/?q"} {
				res, _ := w.get(t, path, append([]string{"Host", host}, header...)...)
				require.Equal(t, http.StatusTemporaryRedirect, res.StatusCode, "%s %v", host, header)
				location := res.Header.Get("Location")
				require.Regexp(t, `^http://[0-9a-f]{32}\.`, location)
				_, rest, _ := strings.Cut(location, ".")
				assert.Equal(t, parent+to, rest)
			}
		}
		res, body := w.get(t, w.prefix+"/", "Host", host)
		assert.Equal(t, http.StatusOK, res.StatusCode, "a program is answered at once")
		assert.Equal(t, "own", body)
	}
}

func TestNoPageUnderAnotherNameCanAskAnything(t *testing.T) {
	w := newWorld(t, say("secret"))
	host := strings.TrimPrefix(w.base, "http://")
	for _, path := range []string{"/", "/favicon.ico", w.prefix + "/", w.prefix} {
		for name, header := range map[string][]string{
			"fetch":     byFetch,
			"its form":  {"Origin", w.base, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"},
			"frame":     {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Accept", "text/html"},
			"image":     {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"},
			"worker":    {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "same-origin", "Sec-Fetch-Dest", "serviceworker", "Service-Worker", "script"},
			"websocket": {"Origin", w.base, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "websocket", "Connection", "Upgrade", "Upgrade", "websocket"},
		} {
			res, body := w.get(t, path, append([]string{"Host", host}, header...)...)
			assert.Equal(t, http.StatusForbidden, res.StatusCode, "%s %s", name, path)
			assert.NotContains(t, body, "secret")
			assert.NotContains(t, body, w.here.ID().String(), "the landing page")
		}
	}
}

// Under a name that services share, a response has no scripts, not even if it was requested
// as something else and a browser takes it for a page.
func TestUnderASharedNameASiteHasNeitherScriptsNorCookies(t *testing.T) {
	var cookies string
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		cookies = r.Header.Get("Cookie")
		h := rw.Header()
		h.Set("Content-Security-Policy", "script-src *")
		h.Add("Set-Cookie", "a=b")
		h.Add("Set-Cookie", "__Host-a=b; Secure; Path=/")
		h.Set("Www-Authenticate", "Basic")
	})
	w.base, w.gateway = serve(t, w.here, gateway.Options{Hosts: []string{"gate.example"}})
	own := w.ownHost(t, "/x/site/http")
	for host, c := range map[string]struct{ shared, cookies bool }{
		"gate.example:8081": {shared: true},
		"127.0.0.2:8081":    {shared: true},
		"127.0.0.1:8081":    {shared: true, cookies: true}, // only programs are answered here
		own:                 {cookies: true},
	} {
		res, _ := w.get(t, w.prefix+"/", "Host", host, "Cookie", "c=d")
		require.Equal(t, http.StatusOK, res.StatusCode, host)
		policies := res.Header.Values("Content-Security-Policy")
		require.Len(t, policies, 2, host)
		assert.Equal(t, "script-src *", policies[0], host)
		assert.Contains(t, policies[1], "frame-ancestors 'self'", host)
		assert.Equal(t, c.shared, strings.HasPrefix(policies[1], "sandbox allow-same-origin allow-forms"), host)
		assert.Equal(t, c.shared, strings.Contains(policies[1], "script-src 'none'"), host)
		assert.Equal(t, c.shared, strings.HasSuffix(policies[1], "form-action http://"+host+w.prefix+"/"), host)
		assert.NotContains(t, policies[1], "allow-scripts")
		switch {
		case !c.cookies:
			assert.Empty(t, cookies, host)
			assert.Empty(t, res.Header.Values("Set-Cookie"), host)
			assert.Empty(t, res.Header.Get("Www-Authenticate"), host)
		case c.shared:
			assert.Equal(t, "c=d", cookies, host)
			assert.Equal(t, []string{"a=b"}, res.Header.Values("Set-Cookie"), host)
		default:
			assert.Equal(t, "c=d", cookies, host)
			assert.Len(t, res.Header.Values("Set-Cookie"), 2, host)
		}
	}
}

func TestEveryAnswerKeepsItsPageApart(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Clear-Site-Data", "Strict-Transport-Security", "Alt-Svc", "Report-To", "Nel", "Reporting-Endpoints",
			"Origin-Agent-Cluster", "Cross-Origin-Resource-Policy"} {
			rw.Header().Set(name, "theirs")
		}
		if r.URL.RawQuery != "" {
			rw.Header().Set("Cross-Origin-Opener-Policy", r.URL.RawQuery)
		}
	})
	own := w.ownHost(t, "/x/site/http")
	for path, opener := range map[string]string{
		w.prefix + "/":             "same-origin-allow-popups",
		w.prefix + "/?unsafe-none": "unsafe-none",
		"/":                        "same-origin",
	} {
		res, _ := w.get(t, path, "Host", own)
		assert.Equal(t, opener, res.Header.Get("Cross-Origin-Opener-Policy"), path)
		assert.Equal(t, "?1", res.Header.Get("Origin-Agent-Cluster"), path)
		assert.Equal(t, "same-origin", res.Header.Get("Cross-Origin-Resource-Policy"), path)
		assert.Contains(t, strings.Join(res.Header.Values("Content-Security-Policy"), ", "), "frame-ancestors '", path)
		for _, name := range []string{"Clear-Site-Data", "Strict-Transport-Security", "Alt-Svc", "Report-To", "Nel", "Reporting-Endpoints"} {
			assert.Empty(t, res.Header.Get(name), path)
		}
	}
}

func TestAProblemLeadsToTheFirstPage(t *testing.T) {
	w, own, _ := twoSites(t, gateway.Options{})
	_, port, _ := strings.Cut(own, ":")
	_, body := w.get(t, "/", append([]string{"Host", own}, byLink...)...)
	assert.Contains(t, body, `<a href="http://localhost:`+port+`/">What peers offer</a>`)
	_, body = w.get(t, "/none", "Accept", "text/html")
	assert.Contains(t, body, `<a href="/">What peers offer</a>`)
}
