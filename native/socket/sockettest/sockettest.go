// Package sockettest gives tests TCP ports that stay theirs. A port that was free
// a moment ago may be another's by the time it is used, even the other end of
// the same test.
package sockettest

import (
	"net"
	"strconv"
	"testing"
)

// Nobody returns a host:port of this machine that refuses connections until the test ends.
func Nobody(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", Port(t))
}

// Port is a port of 127.0.0.1 that the system gives to nobody else until the test ends. A
// server may listen there, also again after a restart: it sets SO_REUSEADDR, as Go and
// every server does. Until then, connections are refused.
func Port(t testing.TB) string {
	t.Helper()
	return strconv.Itoa(hold(t))
}
