//go:build !unix

package control

import "net"

// ListenPrivately relies on the data directory, which is its owner's alone.
func ListenPrivately(path string) (net.Listener, error) { return net.Listen("unix", path) }
