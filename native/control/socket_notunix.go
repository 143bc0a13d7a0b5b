//go:build !unix

package control

import "net"

// ListenPrivately listens on a unix socket. It relies on the data directory, which only
// its owner may open.
func ListenPrivately(path string) (net.Listener, error) { return net.Listen("unix", path) }
