//go:build !unix

package control

import "net"

// listenPrivately relies on the data directory, which is its owner's alone.
func listenPrivately(path string) (net.Listener, error) { return net.Listen("unix", path) }
