// Package address reads host:port as people write it, and says what is wrong with
// what they write instead.
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

// ErrForm is wrapped by the errors of HostPort about what is not host:port at all.
var ErrForm = errors.New("it is not host:port")

// HostPort splits host:port. The host is an IP address, with a zone at most, or a
// name, of which letters beyond ASCII are encoded, or it is empty; the port is a
// number, which may be 0. An error does not name s, which its caller does.
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

// labels are of a name of DNS; underscores are in use.
var labels = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$`)

// numeric is a name that ends in a number, as no name does: it was meant to be an
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

// Mistake says what was written in place of host:port or a multiaddr, and what to
// write instead. It is empty where the mistake is not a known one.
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

// fromURL is the host:port in a URL.
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
