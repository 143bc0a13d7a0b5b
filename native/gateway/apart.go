package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// hostName is the meaning of a request's Host: one service, or the gateway.
type hostName struct {
	label  string // of the one service at this name; empty for the gateway's
	parent string // services have names below this one; empty if they cannot
}

// shared reports whether the name is the gateway's, which all services share.
func (n hostName) shared() bool { return n.label == "" }

// keepsCookies reports whether cookies pass. At a name that services share, a browser
// would send each of them the cookies of others on that host, including other programs.
// Where services have names of their own, browsers are redirected before that.
func (n hostName) keepsCookies() bool { return !n.shared() || n.parent != "" }

// nameOf parses the Host of a request; ok is false if it is not the gateway's.
func (g *Gateway) nameOf(r *http.Request) (n hostName, ok bool) {
	u := url.URL{Host: r.Host}
	host := u.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap().WithZone("")
		if ip == loopback4 || ip == netip.IPv6Loopback() {
			n.parent = "localhost" // browsers resolve all names below it to these two
		}
		return n, ip.IsLoopback() || ip == servedOn(r) || g.hosts[ip.String()]
	}
	host = canonicalName(host)
	if g.parents[host] {
		return hostName{parent: host}, true
	}
	if label, parent, below := strings.Cut(host, "."); below && label != "" && g.parents[parent] {
		return hostName{label, parent}, true
	}
	return hostName{}, g.hosts[host]
}

var loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// label returns the first label of a service's own host name. It is long enough that
// nobody can find a service with the label of another.
func label(p peer.ID, proto protocol.ID) string {
	sum := sha256.Sum256([]byte(p.String() + string(proto)))
	return hex.EncodeToString(sum[:16])
}

// originOf returns the origin of a service with its own name, as the client sees it.
func (n hostName) originOf(r *http.Request, label string) string { return n.below(r, label+".") }

func (n hostName) below(r *http.Request, prefix string) string {
	asked := url.URL{Host: r.Host}
	to := url.URL{Scheme: scheme(r), Host: prefix + n.parent}
	if port := asked.Port(); port != "" {
		to.Host += ":" + port
	}
	return to.String()
}

// home returns the URL of the landing page.
func (g *Gateway) home(r *http.Request) string {
	if n, ok := g.nameOf(r); ok && !n.shared() {
		return n.below(r, "") + "/"
	}
	return "/"
}

var notUnderThisName = &problem{
	Status: http.StatusForbidden,
	Text: "This host name is for the site of one service, and nothing else is under it. " +
		"Other services are under names of their own, to which the gateway's first page leads.",
}

// isBrowser reports whether a request comes from a browser, as far as can be seen:
// browsers from before 2023 do not identify themselves so, but they ask for a page with
// the same Accept.
func isBrowser(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Site") != "" || preferred(r, "text/plain", "text/html") == "text/html"
}

// withheld are response headers of a service that would affect more than the service: all
// cookies of the domain, every server at the host, or the origin for longer than this
// gateway serves there. The service worker's gateway withholds them, too.
var withheld = []string{
	"Clear-Site-Data", "Strict-Transport-Security", "Alt-Svc",
	"Reporting-Endpoints", "Report-To", "Nel",
}

// withheldShared are those that would affect other services at the same host name:
// browsers store credentials and send them to any service that asks with the same words.
var withheldShared = []string{"Set-Cookie", "Www-Authenticate"}

// noScripts is the policy for a site at a shared name, the same as in the service
// worker's gateway. The caller appends the only URL to which forms may be sent.
const noScripts = "sandbox allow-same-origin allow-forms allow-popups allow-popups-to-escape-sandbox allow-downloads; " +
	"script-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'self'; form-action "

// isolate sets the response headers that make a browser keep the site apart.
func (x *exchange) isolate(h http.Header) {
	for _, name := range withheld {
		h.Del(name)
	}
	h.Set("Origin-Agent-Cluster", "?1")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if h.Get("Cross-Origin-Opener-Policy") == "" {
		h.Set("Cross-Origin-Opener-Policy", "same-origin-allow-popups") // so that logging in elsewhere works
	}
	if !x.name.shared() {
		h.Add("Content-Security-Policy", "frame-ancestors 'self'")
		return
	}
	if !x.name.keepsCookies() {
		for _, name := range withheldShared {
			h.Del(name)
		}
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Content-Security-Policy", noScripts+x.origin+strings.NewReplacer(";", "%3B", ",", "%2C").Replace(x.prefix)+"/")
}

// confineCookies restricts each cookie to this service.
func (x *exchange) confineCookies(h http.Header) {
	if x.name.shared() {
		h["Set-Cookie"] = slices.DeleteFunc(h["Set-Cookie"], forWholeHost)
	}
	if len(h["Set-Cookie"]) == 0 {
		h.Del("Set-Cookie")
	}
	for i, c := range h["Set-Cookie"] {
		h["Set-Cookie"][i] = x.cookie(c)
	}
}

// forWholeHost reports whether the path of a Set-Cookie is / by definition.
func forWholeHost(set string) bool { return strings.HasPrefix(strings.TrimSpace(set), "__Host-") }

// cookie returns a Set-Cookie whose path is below the prefix, and without a domain that
// would spread it to other names. A cookie without a path is for the folder of the
// request, which is below the prefix already.
func (x *exchange) cookie(set string) string {
	parts := strings.Split(set, ";")
	if forWholeHost(set) {
		return set
	}
	kept := parts[:1]
	for _, part := range parts[1:] {
		name, value, _ := strings.Cut(part, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, "Domain") && x.covers(value):
			continue
		case strings.EqualFold(name, "Path") && strings.HasPrefix(value, "/") && !within(value, x.prefix):
			part = " Path=" + x.prefix + value
		}
		kept = append(kept, part)
	}
	return strings.Join(kept, ";")
}

// covers reports whether the Domain of a cookie is the peer's, or one that contains the
// request's host name. Browsers reject all others.
func (x *exchange) covers(domain string) bool {
	domain = canonicalName(strings.TrimPrefix(domain, "."))
	u := url.URL{Host: x.host}
	return domain == strings.ToLower(x.peer.String()) || strings.HasSuffix("."+canonicalName(u.Hostname()), "."+domain)
}
