//go:build unix

package stack

import (
	"math"
	"syscall"
)

// openFiles returns how many files and sockets this process may have open.
func openFiles() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1024 // the lowest usual limit
	}
	return int(min(uint64(l.Cur), math.MaxInt32))
}
