package relay

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/andybalholm/brotli"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	script = "/assets/index-abc.js"
	module = "/assets/tombolo-abc.wasm"
	icon   = "/assets/icon-abc.svg"
)

var plain = map[string]string{
	"/":    "<!doctype html>" + strings.Repeat("<p>page", 500),
	script: strings.Repeat("let a = 1;", 500),
	module: "\x00asm" + strings.Repeat("code", 50_000),
	icon:   "<svg/>",
}

// testSite returns a site as the web package builds it: the wasm file only compressed, the
// icon only uncompressed.
func testSite() fstest.MapFS {
	site := fstest.MapFS{".gitignore": {Data: []byte("*")}, icon[1:]: {Data: []byte(plain[icon])}}
	for path, name := range map[string]string{"/": "index.html", script: script[1:], module: module[1:]} {
		if path != module {
			site[name] = &fstest.MapFile{Data: []byte(plain[path])}
		}
		var br, gz bytes.Buffer
		b, g := brotli.NewWriter(&br), gzip.NewWriter(&gz)
		io.WriteString(b, plain[path])
		io.WriteString(g, plain[path])
		b.Close()
		g.Close()
		site[name+".br"] = &fstest.MapFile{Data: br.Bytes()}
		site[name+".gz"] = &fstest.MapFile{Data: gz.Bytes()}
	}
	return site
}

func testFiles(t *testing.T, site fs.FS) http.Handler {
	t.Helper()
	s, err := newSite(Options{Site: site})
	require.NoError(t, err)
	return s
}

func get(h http.Handler, method, path string, header ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func decoded(t *testing.T, resp *http.Response) string {
	t.Helper()
	var body io.Reader = resp.Body
	switch coding := resp.Header.Get("Content-Encoding"); coding {
	case "br":
		body = brotli.NewReader(body)
	case "gzip":
		z, err := gzip.NewReader(body)
		require.NoError(t, err)
		body = z
	default:
		assert.Empty(t, coding)
	}
	b, err := io.ReadAll(body)
	require.NoError(t, err)
	return string(b)
}

func TestAFileIsSentInTheEncodingTheClientLikesBest(t *testing.T) {
	h := testFiles(t, testSite())
	for _, c := range []struct{ path, accept, want string }{
		{script, "gzip, deflate, br, zstd", "br"},
		{script, "gzip, deflate", "gzip"},
		{script, "", ""},
		{script, "identity", ""},
		{script, "br;q=0, gzip", "gzip"},
		{script, "br;q=0.5, gzip;q=0.8", "gzip"},
		{script, "br; q=0.5 , gzip ; q=0.50", "br"},
		{script, "*", "br"},
		{script, "*;q=0.1, br;q=0", "gzip"},
		{script, "BR", "br"},
		{script, "identity, gzip;q=0.1", ""},
		{script, "br;q=nonsense", ""},
		{script, "zstd, deflate", ""},
		{module, "br", "br"},
		{module, "gzip", "gzip"},
		{module, "", "gzip"}, // it exists only compressed, and the client accepts any encoding
		{icon, "br, gzip", ""},
		{"/", "br", "br"},
		{"/index.html", "gzip", "gzip"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			resp := get(h, method, c.path, "Accept-Encoding", c.accept)
			require.Equal(t, http.StatusOK, resp.StatusCode, c)
			assert.Equal(t, c.want, resp.Header.Get("Content-Encoding"), c)
			assert.Equal(t, "Accept-Encoding", resp.Header.Get("Vary"), c)
			if method == http.MethodHead {
				b, _ := io.ReadAll(resp.Body)
				assert.Empty(t, b)
				continue
			}
			path := strings.TrimSuffix(c.path, "index.html")
			assert.True(t, plain[path] == decoded(t, resp), "%v: the content differs", c)
		}
	}
}

func TestAClientThatRefusesEveryFormIsTold(t *testing.T) {
	h := testFiles(t, testSite())
	for _, accept := range []string{"identity;q=0", "*;q=0", "zstd, identity;q=0"} {
		resp := get(h, http.MethodGet, script, "Accept-Encoding", accept)
		assert.Equal(t, http.StatusNotAcceptable, resp.StatusCode)
		assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	}
}

func TestNothingIsUnpackedOnTheWay(t *testing.T) {
	h := testFiles(t, testSite())
	for _, accept := range []string{"identity", "zstd", "identity, *;q=0"} {
		resp := get(h, http.MethodGet, module, "Accept-Encoding", accept)
		assert.Equal(t, http.StatusNotAcceptable, resp.StatusCode, accept)
		b, _ := io.ReadAll(resp.Body)
		assert.Contains(t, string(b), "br, gzip", "the answer names the encodings that there are")
	}
}

func TestTheLengthIsTold(t *testing.T) {
	site := testSite()
	h := testFiles(t, site)
	assert.EqualValues(t, len(site[module[1:]+".br"].Data), get(h, http.MethodGet, module, "Accept-Encoding", "br").ContentLength)
	assert.EqualValues(t, len(plain[script]), get(h, http.MethodHead, script).ContentLength)
	assert.EqualValues(t, len(site[module[1:]+".gz"].Data), get(h, http.MethodGet, module).ContentLength)
}

func TestEachKindOfFileHasItsHeaders(t *testing.T) {
	h := testFiles(t, testSite())
	for path, want := range map[string]struct{ kind, cache string }{
		"/":    {"text/html; charset=utf-8", "no-cache"},
		script: {"text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		module: {"application/wasm", "public, max-age=31536000, immutable"},
		icon:   {"image/svg+xml", "public, max-age=31536000, immutable"},
	} {
		resp := get(h, http.MethodGet, path, "Accept-Encoding", "br")
		assert.Equal(t, want.kind, resp.Header.Get("Content-Type"), path)
		assert.Equal(t, want.cache, resp.Header.Get("Cache-Control"), path)
		assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"), path)
		policy := resp.Header.Get("Content-Security-Policy")
		assert.Contains(t, policy, "script-src 'self' 'wasm-unsafe-eval';", path)
		assert.Contains(t, policy, "connect-src * ws: wss:", path)
		assert.NotContains(t, policy, "'unsafe-eval'", path)
	}
}

func TestOnlyTheGatewaysFileMayBeFramed(t *testing.T) {
	site := testSite()
	site["gateway.html"] = &fstest.MapFile{Data: []byte("<!doctype html>")}
	h := testFiles(t, site)
	for path, want := range map[string]string{"/": "frame-ancestors 'none'", "/gateway.html": "frame-ancestors http: https:"} {
		assert.Contains(t, get(h, http.MethodGet, path).Header.Get("Content-Security-Policy"), want, path)
	}
}

func TestThePageMayShowSitesUnderNamesBelowItsOwn(t *testing.T) {
	h := testFiles(t, testSite())
	for host, want := range map[string]string{
		"localhost:8080":      "frame-src 'self' *.localhost:8080;",
		"relay.example.com":   "frame-src 'self' *.relay.example.com;",
		"127.0.0.1:8080":      "frame-src 'self';",
		"[::1]:8080":          "frame-src 'self';",
		"a; script-src *":     "frame-src 'self';",
		"a.example,evil.test": "frame-src 'self';",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		assert.Contains(t, w.Header().Get("Content-Security-Policy"), want, host)
	}
}

func TestWhatTheClientHasIsNotSentAgain(t *testing.T) {
	h := testFiles(t, testSite())
	tags := make(map[string]string)
	for _, accept := range []string{"br", "gzip", ""} {
		tag := get(h, http.MethodGet, "/", "Accept-Encoding", accept).Header.Get("ETag")
		require.Regexp(t, `^"[^"]+"$`, tag)
		assert.NotContains(t, tags, tag, "each form has its own")
		tags[tag] = accept
		for _, have := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
			resp := get(h, http.MethodGet, "/", "Accept-Encoding", accept, "If-None-Match", have)
			assert.Equal(t, http.StatusNotModified, resp.StatusCode, have)
			assert.Equal(t, tag, resp.Header.Get("ETag"))
			assert.Equal(t, "no-cache", resp.Header.Get("Cache-Control"))
			assert.Equal(t, "Accept-Encoding", resp.Header.Get("Vary"))
			b, _ := io.ReadAll(resp.Body)
			assert.Empty(t, b)
		}
		assert.Equal(t, http.StatusOK, get(h, http.MethodGet, "/", "Accept-Encoding", accept, "If-None-Match", `"other"`).StatusCode)
	}
	changed := testSite()
	changed["index.html"] = &fstest.MapFile{Data: []byte("new")}
	assert.NotContains(t, tags, get(testFiles(t, changed), http.MethodGet, "/").Header.Get("ETag"))
}

func TestWhatIsNotThereIsSaidInWords(t *testing.T) {
	h := testFiles(t, testSite())
	for _, path := range []string{"/nothing", "/assets/", "/assets", "/index.html/x", "/.gitignore", "/assets/index-abc.js.br.br", "/.well-known/other"} {
		resp := get(h, http.MethodGet, path)
		assert.Equal(t, http.StatusNotFound, resp.StatusCode, path)
		assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"), path)
		b, _ := io.ReadAll(resp.Body)
		assert.Contains(t, string(b), path)
	}
	assert.Equal(t, http.StatusMethodNotAllowed, get(h, http.MethodPost, "/").StatusCode)
	assert.Equal(t, http.StatusMethodNotAllowed, get(h, http.MethodDelete, "/healthz").StatusCode)
	for _, path := range []string{"/../../etc/passwd", "/%2e%2e/secret"} {
		assert.NotEqual(t, http.StatusOK, get(h, http.MethodGet, path).StatusCode, path)
	}
}

func TestWhereThereIsNoPageTheAnswerSaysWhy(t *testing.T) {
	resp := get(testFiles(t, nil), http.MethodGet, "/")
	assert.Equal(t, http.StatusNotFound, resp.StatusCode)
	assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	b, _ := io.ReadAll(resp.Body)
	assert.Contains(t, string(b), "--no-page")
	assert.Contains(t, string(b), "make build")
}

func TestDocumentsLieBesideThePage(t *testing.T) {
	s, err := newSite(Options{Docs: fstest.MapFS{"index.html": {Data: []byte("all")}, "go/index.html": {Data: []byte("go")}, "go.html": {Data: []byte("one")}}})
	require.NoError(t, err)
	for path, want := range map[string]string{"/docs/": "all", "/docs/go/": "go", "/docs/go.html": "one"} {
		b, _ := io.ReadAll(get(s, http.MethodGet, path).Body)
		assert.Equal(t, want, string(b), path)
	}
	for path, want := range map[string]string{"/docs": "/docs/", "/docs/go": "go/"} {
		resp := get(s, http.MethodGet, path)
		assert.Equal(t, want, resp.Header.Get("Location"), path)
		assert.Contains(t, []int{301, 307}, resp.StatusCode, path)
	}
	assert.Equal(t, http.StatusNotFound, get(s, http.MethodGet, "/").StatusCode)
}

func TestAFolderThatHoldsMoreThanAPageServesThePageOnly(t *testing.T) {
	site := testSite()
	site[".git/config"] = &fstest.MapFile{Data: []byte("secret")}
	assert.Equal(t, http.StatusNotFound, get(testFiles(t, site), http.MethodGet, "/.git/config").StatusCode)
	_, err := newSite(Options{Site: fstest.MapFS{"page.html": {}}})
	assert.ErrorContains(t, err, "index.html")
}

func TestAFileThatHasChangedIsServedAfterAReload(t *testing.T) {
	site := testSite()
	s, err := newSite(Options{Site: site})
	require.NoError(t, err)
	site[icon[1:]] = &fstest.MapFile{Data: []byte("<svg>another</svg>")}
	resp := get(s, http.MethodGet, icon)
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	b, _ := io.ReadAll(resp.Body)
	assert.Contains(t, string(b), "tombolo-relay reload")
	require.NoError(t, s.reload())
	b, _ = io.ReadAll(get(s, http.MethodGet, icon).Body)
	assert.Equal(t, "<svg>another</svg>", string(b))
}

func TestAPageMayBeFramedByThoseWhoAreNamed(t *testing.T) {
	s, err := newSite(Options{Site: testSite(), Embedders: []string{"https://a.example", "http://*.b.example:8000"}})
	require.NoError(t, err)
	assert.Regexp(t, `frame-ancestors https://a\.example http://\*\.b\.example:8000$`, get(s, http.MethodGet, "/").Header.Get("Content-Security-Policy"))
	for _, origin := range []string{"a.example", "https://a.example/", "https://a; script-src *", "*", "https://a.example\n"} {
		_, err := newSite(Options{Embedders: []string{origin}})
		assert.ErrorContains(t, err, "not an origin", origin)
	}
}

func TestASiteThatCannotBeReadIsAnErrorAtTheStart(t *testing.T) {
	_, err := newSite(Options{Site: brokenFS{testSite()}})
	assert.ErrorContains(t, err, "read the page")
}

type brokenFS struct{ fstest.MapFS }

func (f brokenFS) Open(name string) (fs.File, error) {
	if name == icon[1:] {
		return nil, errors.New("bad sector")
	}
	return f.MapFS.Open(name)
}
