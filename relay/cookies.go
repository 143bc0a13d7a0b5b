package relay

import (
	"net/http"
	"slices"
	"strings"
)

// A site of a peer, at a name below the relay's, can set cookies for the relay's own name
// and for every name above it that is not on the public suffix list. Browsers send them
// with each request for the page: up to 180 of 4 KiB. The relay uses none. It answers
// however many are sent, and expires the largest, so that the page does not stay slow and
// a proxy in front of it does not refuse the requests. It leaves small ones alone: they
// may belong to such a proxy.
const (
	maxHeader    = 16 << 10 // bytes of a request's header, beside cookies
	cookiesLeft  = 4 << 10  // bytes of cookies that do no harm
	maxExpiring  = 16 << 10 // bytes of names in one response; the next one expires more
	cookieHeader = "Cookie"
)

// takeCookies removes the cookies from a request, because a response that is read slowly
// would keep them in memory, and expires those above cookiesLeft.
func takeCookies(w http.ResponseWriter, r *http.Request) {
	cookies := strings.Split(strings.Join(r.Header.Values(cookieHeader), ";"), ";")
	r.Header.Del(cookieHeader)
	if strings.HasPrefix(r.URL.Path, "/assets/") {
		return // the response may be cached for others, and would contain the Set-Cookie headers
	}
	total := 0
	for i, c := range cookies {
		cookies[i] = strings.TrimSpace(c)
		total += len(cookies[i])
	}
	slices.SortFunc(cookies, func(a, b string) int { return len(b) - len(a) })
	domains, secure := domainsOf(asked(r).host), ""
	if asked(r).tls {
		secure = "; Secure"
	}
	size := 0
	for _, c := range cookies {
		name, _, named := strings.Cut(c, "=")
		if !named {
			name = ""
		}
		size += len(domains) * len(name)
		if total <= cookiesLeft || size > maxExpiring {
			return
		}
		total -= len(c)
		for _, domain := range domains {
			w.Header().Add("Set-Cookie", name+"=-; Max-Age=0; Path=/; Domain="+domain+secure)
		}
	}
}

// domainsOf returns a host name and those above it, except the last label, for which no
// browser accepts a cookie. It returns none for an IP address, which has no names below
// it.
func domainsOf(host string) (domains []string) {
	if !hostname.MatchString(host) {
		return nil
	}
	for domains = []string{host}; ; domains = append(domains, host) {
		_, above, _ := strings.Cut(host, ".")
		if !strings.Contains(above, ".") {
			return domains
		}
		host = above
	}
}

// tooLarge reports whether a request, without its cookies and its body, is larger than
// any client needs.
func tooLarge(r *http.Request) bool {
	size := len(r.RequestURI)
	for name, values := range r.Header {
		for _, v := range values {
			if name != cookieHeader {
				size += len(name) + len(v)
			}
		}
	}
	return size > maxHeader
}
