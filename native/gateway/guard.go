package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// guard finds what the Host of a request names, and says why the request is
// refused, if it is: the name is not the gateway's, or a page sent it that may not.
func (g *Gateway) guard(r *http.Request) (hostName, *problem) {
	refused := func(format string, args ...any) *problem {
		return &problem{Status: http.StatusForbidden, Text: fmt.Sprintf(format, args...)}
	}
	n, ok := g.nameOf(r)
	if !ok {
		return n, refused("The gateway does not answer to the host name %.100q, so that no web page can reach it by pointing a name "+
			"of its own here. If the name is yours, start the daemon with --gateway-host NAME.", r.Host)
	}
	site := r.Header.Get("Sec-Fetch-Site")
	for _, origin := range r.Header.Values("Origin") {
		// A page that hides where requests come from (Referrer-Policy: no-referrer)
		// sends null even to itself, and then the browser says that it was itself.
		if !ownOrigin(r, origin) && (origin != "null" || site != "same-origin") {
			return n, refused("A page of %.100q may not use the gateway: only pages that came from it may.", origin)
		}
	}
	switch {
	case site == "", site == "none", followsLink(r):
		return n, nil
	case site != "same-origin":
		return n, refused("A page of another origin may lead to the gateway with a link, but not load or send anything from within it.")
	case n.shared() && n.parent != "":
		return n, refused("Sites of peers are under host names of their own, and nothing that a page under this name asks for is answered.")
	}
	return n, nil
}

// followsLink says whether a browser asks for the page of a tab, as for a link that
// somebody follows.
func followsLink(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// servedOn is the local address of the connection; not valid where it has no IP.
func servedOn(r *http.Request) netip.Addr {
	tcp, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// canonicalName is a host name in lower case and without the dot of the root.
func canonicalName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// ownOrigin says whether an Origin is that of a page that came from here.
func ownOrigin(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Scheme != scheme(r) {
		return false
	}
	return origin == u.Scheme+"://"+u.Host && authority(u.Scheme, u.Host) == authority(u.Scheme, r.Host)
}

// scheme is how the browser reached the gateway. X-Forwarded-Proto can only come
// from a proxy before it, or from a program: a page of another origin that sets it
// is asked for by the browser first, and refused.
func scheme(r *http.Request) string {
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		return "https"
	}
	return "http"
}

// authority is host:port in one form.
func authority(scheme, host string) string {
	u := url.URL{Host: host}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return net.JoinHostPort(canonicalName(u.Hostname()), port)
}
