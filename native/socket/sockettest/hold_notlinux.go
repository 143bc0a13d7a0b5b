//go:build !linux

package sockettest

import (
	"net"
	"testing"
)

// hold returns a port that was free a moment ago: only on Linux can two sockets share a
// port if at most one of them listens.
func hold(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
