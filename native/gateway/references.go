package gateway

import (
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"regexp"
	"strings"
)

// references are the response headers whose value is one reference.
var references = []string{"Location", "Content-Location", "Service-Worker-Allowed", "Sourcemap", "X-Sourcemap"}

var (
	// linked matches the references in a Link header (RFC 8288), and quoted strings, which
	// contain none.
	linked = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|<[^>]*>`)
	// refresh matches what precedes the reference in a Refresh header, by the rules of HTML.
	refresh = regexp.MustCompile(`(?i)^\s*[\d.]*[\s;,]+(?:url\s*=\s*)?`)
)

// leadOut rewrites a response's references to the service so that they point through the
// gateway.
func (x *exchange) leadOut(h http.Header) {
	for _, name := range references {
		for i, ref := range h[name] {
			if ref != "" {
				h[name][i] = x.locate(ref)
			}
		}
	}
	for i, link := range h["Link"] {
		h["Link"][i] = linked.ReplaceAllStringFunc(link, func(s string) string {
			if ref, ok := strings.CutPrefix(s, "<"); ok {
				return "<" + x.locate(strings.TrimSpace(strings.TrimSuffix(ref, ">"))) + ">"
			}
			return s
		})
	}
	for i, value := range h["Refresh"] {
		h["Refresh"][i] = x.refresh(value)
	}
}

func (x *exchange) refresh(value string) string {
	before := refresh.FindString(value)
	ref := value[len(before):]
	if before == "" || ref == "" {
		return value
	}
	if quote := ref[:1]; quote == `"` || quote == "'" {
		ref, after, closed := strings.Cut(ref[1:], quote)
		if closed {
			after = quote + after
		}
		return before + quote + x.locate(ref) + after
	}
	return before + x.locate(strings.TrimSpace(ref))
}

// leadIn rewrites a request's references to the gateway into ones to the service, which
// compares them with Host. The guard has let in no Origin but the gateway's own.
func (x *exchange) leadIn(r *httputil.ProxyRequest) {
	h, own := r.Out.Header, url.URL{Scheme: scheme(r.In), Host: x.peer.String()}
	if h.Get("Origin") != "" {
		h.Set("Origin", own.String())
	}
	for name, elsewhere := range map[string]string{"Referer": "/", "Destination": ""} {
		u, err := url.Parse(h.Get(name))
		if err != nil || u.Host == "" || !ownOrigin(r.In, u.Scheme+"://"+u.Host) {
			continue
		}
		rest := (&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}).String()
		switch {
		case within(rest, x.prefix):
			h.Set(name, own.String()+"/"+strings.TrimPrefix(rest[len(x.prefix):], "/"))
		case elsewhere != "": // do not tell this service another's path
			h.Set(name, own.String()+elsewhere)
		}
	}
}

// ofTheMessage are fields that mean nothing in a trailer, and that a recipient which
// merges the two could take for header fields (RFC 9110, 6.5.1).
var ofTheMessage = []string{
	"Authorization", "Connection", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Cookie", "Expect", "Forwarded",
	"Host", "Keep-Alive", "Max-Forwards", "Origin", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Via",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-Proto",
}

func cleanTrailer(h http.Header) {
	for _, name := range ofTheMessage {
		h.Del(name)
	}
}

// hinting rewrites the references of interim responses, too.
type hinting struct{ http.RoundTripper }

func (h hinting) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeOf(r)
	return h.RoundTripper.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, header textproto.MIMEHeader) error {
			x.leadOut(http.Header(header))
			return nil
		},
	})))
}
