package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/net/idna"
)

// guard parses the Host of a request, and returns why the request is refused, if it is:
// the name is not the gateway's, or the page that sent the request may not use it.
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
		// A page that hides its origin (Referrer-Policy: no-referrer) sends null even to
		// itself; the browser then reports the request as same-origin.
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

// followsLink reports whether a browser requests the page of a tab, as when a person
// follows a link.
func followsLink(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// servedOn returns the local address of the connection; not valid if it has no IP
// address.
func servedOn(r *http.Request) netip.Addr {
	tcp, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// canonicalName returns a host name in lower case and without the root's dot.
func canonicalName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// lookup maps a name to ASCII as browsers do. They allow underscores, too.
var lookup = idna.New(idna.MapForLookup(), idna.StrictDomainName(false))

var hostForm = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*$`)

// ParseHost parses one of Options.Hosts, and returns it as the gateway compares it.
func ParseHost(s string) (string, error) {
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return ip.Unmap().WithZone("").String(), nil
	}
	name, below := strings.CutPrefix(s, "*.")
	name, err := lookup.ToASCII(canonicalName(name))
	if _, notIP := netip.ParseAddr(name); err != nil || notIP == nil || !hostForm.MatchString(name) {
		return "", fmt.Errorf("%q is neither a host name, such as gate.example or *.gate.example, nor an IP address: write it without scheme, port and path", s)
	}
	if below {
		name = "*." + name
	}
	return name, nil
}

// ownOrigin reports whether an Origin is that of a page served here.
func ownOrigin(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Scheme != scheme(r) {
		return false
	}
	return origin == u.Scheme+"://"+u.Host && authority(u.Scheme, u.Host) == authority(u.Scheme, r.Host)
}

// scheme returns the scheme with which the browser reached the gateway. X-Forwarded-Proto
// can come only from a proxy in front of it, or from a program: if a page of another
// origin sets it, the browser asks first, and is refused.
func scheme(r *http.Request) string {
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		return "https"
	}
	return "http"
}

// authority returns host:port in canonical form.
func authority(scheme, host string) string {
	u := url.URL{Host: host}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return net.JoinHostPort(canonicalName(u.Hostname()), port)
}
