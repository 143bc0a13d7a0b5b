package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// isolate has the program run in a network of its own, of which it is the root.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
}

// inOtherNetwork calls f in a network of its own: sockets that f opens are in it, and so
// are programs that it starts, as long as f does not leave its goroutine. The network
// and the programs end when the process does, or with leave.
func inOtherNetwork(f func() error) (leave func(), err error) {
	entered, left := make(chan error), make(chan struct{})
	go func() {
		// The goroutine keeps its thread until leave, for the system kills what a thread
		// has started when that thread ends (see dieWithUs). No other goroutine gets it.
		runtime.LockOSThread()
		err := os.NewSyscallError("unshare the network", unix.Unshare(unix.CLONE_NEWNET))
		if err == nil {
			err = f()
		}
		entered <- err
		<-left
	}()
	err = <-entered
	if err != nil {
		close(left)
		return nil, err
	}
	return func() { close(left) }, nil
}

// openTUN makes a TUN device in the network of the calling thread: what is sent there to
// the peer is read from the file, as IPv4 packets, and a packet that is written to the
// file arrives there. The device ends when the file is closed.
func openTUN(own, peer netip.Addr) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	device, err := unix.NewIfreq("lossy")
	if err == nil {
		device.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, device)
	}
	if err == nil {
		err = setUp(device, own, peer)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make a TUN device: %w", err)
	}
	return os.NewFile(uintptr(fd), "tun"), nil
}

// setUp gives a device its address and that of the peer, and sets it up.
func setUp(device *unix.Ifreq, own, peer netip.Addr) error {
	control, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(control)
	for _, set := range []struct {
		request uint
		addr    netip.Addr
	}{{unix.SIOCSIFADDR, own}, {unix.SIOCSIFDSTADDR, peer}} {
		if err := device.SetInet4Addr(set.addr.AsSlice()); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(control, set.request, device); err != nil {
			return err
		}
	}
	device.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(control, unix.SIOCSIFFLAGS, device)
}
