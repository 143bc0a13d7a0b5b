// Package address parses host:port as people write it, and explains common mistakes.
package address

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// ErrForm is wrapped by errors of HostPort if the text is not host:port at all.
var ErrForm = errors.New("it is not host:port")

// HostPort splits host:port. The host is an IP address, which may have a zone, or a name,
// whose non-ASCII letters are encoded, or empty; the port is a number, which may be 0.
// The error does not contain s: the caller adds it.
func HostPort(s string) (host string, port uint16, err error) {
	if why := Mistake(s); why != "" {
		return "", 0, fmt.Errorf("%w: %s", ErrForm, why)
	}
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, fmt.Errorf("%w: write it like 127.0.0.1:8080", ErrForm)
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("its port %q is not a number from 0 to 65535", text)
	}
	if host, err = checkHost(host); err != nil {
		return "", 0, err
	}
	return host, uint16(number), nil
}

// labels matches a DNS name; underscores are in use.
var labels = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$`)

// numeric matches a name that ends in a number, as no name does: it was meant to be an
// IPv4 address.
var numeric = regexp.MustCompile(`(^|\.)[0-9]+\.?$`)

func checkHost(host string) (string, error) {
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return host, nil
	}
	name, err := idna.Lookup.ToASCII(host)
	if err != nil {
		name = host // such as one with an underscore
	}
	if !labels.MatchString(name) || len(name) > 254 || numeric.MatchString(name) {
		return "", fmt.Errorf("its host %q is neither an IP address nor a name", host)
	}
	return name, nil
}

// Mistake returns what was written instead of host:port or a multiaddr, and what to
// write. It is empty if s is not a known mistake.
func Mistake(s string) string {
	ip, notIP := netip.ParseAddr(s)
	switch {
	case s == "":
		return "it is empty"
	case strings.TrimSpace(s) != s:
		return "there is white space around it"
	case strings.Contains(s, "://"):
		return "it is a URL: write " + fromURL(s)
	case strings.Trim(s, "0123456789") == "":
		return "it is a port alone: write 127.0.0.1:" + s
	case notIP == nil:
		return "it has no port: write " + net.JoinHostPort(ip.String(), "PORT")
	}
	return ""
}

// fromURL returns the host:port in a URL.
func fromURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return "host:port"
	}
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "http", u.Scheme == "ws":
		port = "80"
	case u.Scheme == "https", u.Scheme == "wss":
		port = "443"
	default:
		port = "PORT"
	}
	return net.JoinHostPort(u.Hostname(), port)
}
