package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tombolo-net/tombolo/native/gateway"
)

func TestNamesOfOthersAreNotAnsweredAgainstDNSRebinding(t *testing.T) {
	w := newWorld(t, say("secret"))
	w.base, w.gateway = serve(t, w.here, gateway.Options{Hosts: []string{"Gate.Example"}})
	own := strings.TrimPrefix(w.base, "http://")
	for host, allowed := range map[string]bool{
		own:                       true,
		"127.0.0.1":               true,
		"127.9.9.9:1":             true,
		"[::1]:8080":              true,
		"[::ffff:127.0.0.1]":      true,
		"localhost":               true,
		"LocalHost:99":            true,
		"localhost.":              true,
		"a.b.localhost:8080":      false,
		"gate.example":            true,
		"GATE.example.:443":       true,
		"evil.example":            false,
		"sub.gate.example":        false,
		"localhost.evil.example":  false,
		"notlocalhost":            false,
		"evil@a.localhost":        false,
		"127.0.0.1.nip.example":   false,
		"0.0.0.0":                 false,
		"192.0.2.1":               false,
		"[2001:db8::1]:80":        false,
		"2130706433":              false,
		"localhost:80.evil.local": false,
	} {
		for _, path := range []string{"/", w.prefix + "/", "/favicon.ico"} {
			res, body := w.get(t, path, "Host", host)
			if allowed {
				assert.NotEqual(t, http.StatusForbidden, res.StatusCode, "%s%s", host, path)
				continue
			}
			assert.Equal(t, http.StatusForbidden, res.StatusCode, "%s%s", host, path)
			assert.NotContains(t, body, "secret")
			if !strings.Contains(host, ".localhost") {
				assert.Contains(t, body, "--gateway-host")
			}
		}
	}
}

func TestPagesOfOtherOriginsCannotUseTheGateway(t *testing.T) {
	w := newWorld(t, say("secret"))
	host := w.ownHost(t, "/x/site/http")
	own := "http://" + host
	navigate := []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	for name, c := range map[string]struct {
		method  string
		header  []string
		allowed bool
	}{
		"a program":                    {"GET", nil, true},
		"own origin":                   {"POST", []string{"Origin", own}, true},
		"own origin, by fetch":         {"POST", []string{"Origin", own, "Sec-Fetch-Site", "same-origin"}, true},
		"typed by hand":                {"GET", append([]string{"Sec-Fetch-Site", "none"}, navigate...), true},
		"same origin image":            {"GET", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, true},
		"own page hides its origin":    {"POST", []string{"Origin", "null", "Sec-Fetch-Site", "same-origin"}, true},
		"link from another site":       {"GET", append([]string{"Sec-Fetch-Site", "cross-site"}, navigate...), true},
		"link from another port":       {"GET", append([]string{"Sec-Fetch-Site", "same-site"}, navigate...), true},
		"another origin":               {"GET", []string{"Origin", "https://evil.example"}, false},
		"another port":                 {"GET", []string{"Origin", "http://127.0.0.1:1"}, false},
		"another scheme":               {"GET", []string{"Origin", strings.Replace(own, "http", "https", 1)}, false},
		"own and another":              {"GET", []string{"Origin", own, "Origin", "https://evil.example"}, false},
		"own with a path":              {"GET", []string{"Origin", own + "/"}, false},
		"own with a user":              {"GET", []string{"Origin", strings.Replace(own, "//", "//u@", 1)}, false},
		"null":                         {"POST", []string{"Origin", "null"}, false},
		"null, sandboxed":              {"POST", []string{"Origin", "null", "Sec-Fetch-Site", "cross-site"}, false},
		"empty":                        {"GET", []string{"Origin", ""}, false},
		"form of another site, silent": {"POST", append([]string{"Sec-Fetch-Site", "cross-site"}, navigate...), false},
		"form of another site":         {"POST", append([]string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, navigate...), false},
		"preflight":                    {"OPTIONS", []string{"Origin", "https://evil.example", "Access-Control-Request-Method", "PUT"}, false},
		"image on another site":        {"GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, false},
		"script on another port":       {"GET", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"}, false},
		"frame on another site":        {"GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, false},
		"what nobody knows":            {"GET", []string{"Sec-Fetch-Site", "new-value"}, false},
		"websocket of another site":    {"GET", []string{"Origin", "https://evil.example", "Connection", "Upgrade", "Upgrade", "websocket"}, false},
		"websocket of a null origin":   {"GET", []string{"Origin", "null", "Connection", "Upgrade", "Upgrade", "websocket"}, false},
	} {
		res := w.do(t, c.method, w.prefix+"/", nil, append(c.header, "Host", host)...)
		if body := read(t, res); c.allowed {
			assert.Equal(t, http.StatusOK, res.StatusCode, name)
		} else {
			assert.Equal(t, http.StatusForbidden, res.StatusCode, name)
			assert.NotContains(t, body, "secret")
		}
		assert.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
	}
}

func TestAProxyBeforeTheGatewayMayBringTLS(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) { say(r.Header.Get("X-Forwarded-Proto"))(w, r) })
	w.base, w.gateway = serve(t, w.here, gateway.Options{Hosts: []string{"gate.example"}})
	res, body := w.get(t, w.prefix+"/", "Host", "gate.example", "Origin", "https://gate.example", "X-Forwarded-Proto", "https")
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, "https", body)
}
