package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// guard says why a request is refused, if it is: the name it came by is none of
// ours, or a page of another origin sent it.
func (g *Gateway) guard(r *http.Request) *problem {
	refused := func(format string, args ...any) *problem {
		return &problem{Status: http.StatusForbidden, Text: fmt.Sprintf(format, args...)}
	}
	if !g.answersTo(r) {
		return refused("The gateway does not answer to the host name %.100q, so that no web page can reach it by pointing a name "+
			"of its own here. If the name is yours, start the daemon with --gateway-host NAME.", r.Host)
	}
	site := r.Header.Get("Sec-Fetch-Site")
	for _, origin := range r.Header.Values("Origin") {
		// A page that hides where requests come from (Referrer-Policy: no-referrer)
		// sends null even to itself, and then the browser says that it was itself.
		if !ownOrigin(r, origin) && (origin != "null" || site != "same-origin") {
			return refused("A page of %.100q may not use the gateway: only pages that came from it may.", origin)
		}
	}
	switch site {
	case "", "none", "same-origin":
		return nil
	}
	if r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" {
		return nil // a link that somebody follows
	}
	return refused("A page of another origin may lead to the gateway with a link, but not load or send anything from within it.")
}

// answersTo says whether the Host of a request is the gateway's.
func (g *Gateway) answersTo(r *http.Request) bool {
	u := url.URL{Host: r.Host}
	name := u.Hostname()
	if ip, err := netip.ParseAddr(name); err == nil {
		ip = ip.Unmap().WithZone("")
		return ip.IsLoopback() || ip == servedOn(r)
	}
	name = canonicalName(name)
	return name == "localhost" || strings.HasSuffix(name, ".localhost") && isHostName(name) || g.hosts[name]
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

func isHostName(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

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
