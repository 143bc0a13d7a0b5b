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

// ListenPrivately listens on a unix socket that only its owner may open. On Linux this
// holds from the start, because the file gets the mode of the bound socket; on other
// systems the data directory keeps others out until the mode is set. (A umask would apply
// to the whole process, and to other files made meanwhile.)
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
