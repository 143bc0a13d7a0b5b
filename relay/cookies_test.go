package relay

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestBigCookiesAreExpiredAndSmallOnesLeft(t *testing.T) {
	h := testFiles(t, testSite())
	big := strings.Repeat("x", 4090)
	ask := func(host, path string, cookies ...string) []string {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = host
		r.Header.Set("Cookie", strings.Join(cookies, "; "))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		assert.Equal(t, http.StatusOK, w.Code, "%s%s", host, path)
		return w.Result().Header.Values("Set-Cookie")
	}
	expired := func(name, domain string) string { return name + "=-; Max-Age=0; Path=/; Domain=" + domain }
	assert.Empty(t, ask("relay.example", "/", "login=small", "other="+strings.Repeat("x", 2000)))
	assert.Equal(t, []string{expired("b", "relay.example"), expired("a", "relay.example")},
		ask("relay.example:80", "/", "login=small", "a="+big, "b="+big+"x"))
	assert.Equal(t, []string{expired("a", "one.relay.example"), expired("a", "relay.example")},
		ask("one.relay.example", "/", "a="+big, "login="+strings.Repeat("x", 100)))
	assert.Equal(t, []string{expired("", "localhost")}, ask("localhost:8080", "/", big+big), "a cookie without a name")
	assert.Empty(t, ask("192.0.2.1", "/", "a="+big, "b="+big), "no site is below an address")
	assert.Empty(t, ask("relay.example", module, "a="+big, "b="+big), "caches keep this answer")

	var many []string
	for i := range 180 {
		many = append(many, fmt.Sprintf("%d%s=", i, big))
	}
	size := 0
	for _, set := range ask("relay.example", "/", many...) {
		size += len(set)
	}
	assert.Positive(t, size)
	assert.Less(t, size, 2*maxExpiring)
}

func TestOnlyCookiesMayBeLarge(t *testing.T) {
	h := testFiles(t, testSite())
	for path, header := range map[string][]string{"/": {"X-Large", strings.Repeat("x", maxHeader)}, "/?" + strings.Repeat("x", maxHeader): nil} {
		resp := get(h, http.MethodGet, path, header...)
		assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, resp.StatusCode)
		assert.Equal(t, "close", resp.Header.Get("Connection"))
	}
}
