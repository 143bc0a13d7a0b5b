// Package sockettest reserves TCP ports for tests. A port that was free a moment ago may
// be taken by the time it is used, even by the other end of the same test.
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

// Port returns a port of 127.0.0.1 that the system gives to no other process until the
// test ends. A server may listen on it, also after a restart, because it sets
// SO_REUSEADDR, as Go and most servers do. Until a server listens, connections are
// refused.
func Port(t testing.TB) string {
	t.Helper()
	return strconv.Itoa(hold(t))
}
