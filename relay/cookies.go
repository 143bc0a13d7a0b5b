package relay

import (
	"net/http"
	"slices"
	"strings"
)

// Browsers let a site of a peer, under a name below the relay's, set cookies for
// the relay's own name, and for all names above it that are not on the public
// suffix list. They come with each request for the page: up to 180 of 4 KiB. The
// relay uses none. It answers however many come, and expires the biggest, so that
// the page is not slow for good and a proxy before it does not refuse them. Small
// ones are left alone: they may belong to such a proxy.
const (
	maxHeader    = 16 << 10 // bytes of a request's header, beside cookies
	cookiesLeft  = 4 << 10  // bytes of cookies that are no trouble
	maxExpiring  = 16 << 10 // bytes of names in one answer; the next expires more
	cookieHeader = "Cookie"
)

// takeCookies removes the cookies of a request, since an answer that is read slowly
// would hold them in memory, and expires those that are too many.
func takeCookies(w http.ResponseWriter, r *http.Request) {
	cookies := strings.Split(strings.Join(r.Header.Values(cookieHeader), ";"), ";")
	r.Header.Del(cookieHeader)
	if strings.HasPrefix(r.URL.Path, "/assets/") {
		return // the answer may be kept for others, and these would be in it
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

// domainsOf are a host name and those above it, except for the last, in which no
// browser takes a cookie. None of an IP address, which has no names below it.
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

// tooLarge says whether a request, beside its cookies and its body, is larger than
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
