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

// isolate makes the program run as root in its own user and network namespaces.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
}

// inOtherNetwork calls f in a new network namespace. Sockets that f opens and programs that
// it starts are in that network, as long as f does not leave its goroutine. The network and
// the programs end when the process does or leave is called.
func inOtherNetwork(f func() error) (leave func(), err error) {
	entered, left := make(chan error), make(chan struct{})
	go func() {
		// The goroutine keeps its thread until leave is called, because the system kills
		// the programs that a thread has started when the thread ends (see dieWithUs). No
		// other goroutine gets the thread.
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

// openTUN makes a TUN device in the network of the calling thread. Packets that are sent
// there to the peer can be read from the file, as IPv4 packets; a packet that is written to
// the file arrives there. Closing the file removes the device.
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

// setUp sets the device's address and that of the peer, and brings the device up.
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
