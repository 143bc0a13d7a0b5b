//go:build linux && (amd64 || arm64)

package socket

import (
	"syscall"
	"unsafe"
)

const direct = true

// receive and send never block, whatever the mode of the socket.

func receive(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), syscall.MSG_DONTWAIT, 0, 0)
	if errno == 0 {
		received(int(fd), p[:n])
	}
	return int(n), errno
}

func send(fd uintptr, p []byte) (int, syscall.Errno) {
	sending(p)
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}
