//go:build unix

package control

import (
	"net"
	"sync"
	"syscall"
)

var umask sync.Mutex

// listenPrivately makes a socket that only its owner may open, from its first
// moment.
func listenPrivately(path string) (net.Listener, error) {
	umask.Lock()
	defer umask.Unlock()
	defer syscall.Umask(syscall.Umask(0o177))
	return net.Listen("unix", path)
}
