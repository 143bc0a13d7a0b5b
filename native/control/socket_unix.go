//go:build unix

package control

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
)

const socketMode = 0o600

// ListenPrivately makes a socket that only its owner may open. On Linux it is so
// from its first moment, for the file gets the mode of the socket that is bound;
// elsewhere the data directory keeps others out till then. (A umask would be the
// whole process's, and what else is made meanwhile would suffer from it.)
func ListenPrivately(path string) (net.Listener, error) {
	listen := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), socketMode) })
	}}
	l, err := listen.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
