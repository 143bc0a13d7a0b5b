// Package local provides the local ends of bridged streams in an operating-system
// process: TCP and unix sockets, folders, and HTTP handlers.
//
// [Target] and [Listen] parse addresses as a person writes them: host:port, a multiaddr,
// unix:PATH, and for a target file:DIR. To connect streams to a function of the program,
// use bridge.Func instead.
package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/tombolo-net/tombolo/core/bridge"
	written "github.com/tombolo-net/tombolo/native/address"
)

// Target returns the target for an address that streams of peers are forwarded to:
// host:port or a multiaddr of TCP, unix:/absolute/path or /unix/path, or file:DIR, which
// is a read-only site of a folder. Each stream dials the socket anew; Target itself dials
// nothing.
func Target(s string) (bridge.Target, error) {
	if dir, ok := strings.CutPrefix(s, "file:"); ok {
		return Folder(dir)
	}
	a, err := parse(s)
	if err != nil {
		return nil, fmt.Errorf("target %w", err)
	}
	if a.port0 {
		return nil, fmt.Errorf("target %q: port 0 is not a port to connect to", s)
	}
	return bridge.DialTarget(a.name, a.dial), nil
}

// Listen listens for the local connections of a forward, at host:port, a multiaddr of
// TCP, unix:/absolute/path or /unix/path. Port 0 picks a free port. A socket file that no
// process listens on is replaced. The new one can be opened by its owner only, and is
// removed when the acceptor is closed.
func Listen(ctx context.Context, s string) (bridge.Acceptor, error) {
	if strings.HasPrefix(s, "file:") {
		return nil, fmt.Errorf("listen address %q: a folder can be a target, but not a listen address", s)
	}
	a, err := parse(s)
	if err != nil {
		return nil, fmt.Errorf("listen address %w", err)
	}
	if a.network == "unix" {
		replacing.Lock()
		defer replacing.Unlock()
		if err := removeStale(ctx, a.address); err != nil {
			return nil, fmt.Errorf("listen on %s: %w", a.name, err)
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, a.network, a.address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", a.name, short(err))
	}
	if a.network == "unix" {
		if err := ownerOnly(a.address); err != nil {
			return nil, errors.Join(fmt.Errorf("listen on %s: %w", a.name, err), l.Close())
		}
	}
	acceptor := &acceptor{listener: l, name: a.name, closed: make(chan struct{})}
	if m, err := manet.FromNetAddr(l.Addr()); err == nil && a.network != "unix" {
		acceptor.name = m.String()
	}
	return acceptor, nil
}

// MaxSocketPath is the maximum length of a unix socket's path on this system, in bytes:
// sockaddr_un has one more, for a zero.
const MaxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// address is the address of a socket.
type address struct {
	name             string // a multiaddr
	network, address string // as net.Dial takes them
	port0            bool
}

func parse(s string) (address, error) {
	if s == "" {
		return address{}, errors.New(`"": it is empty; give host:port, unix:/path, or a multiaddr`)
	}
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return address{}, fmt.Errorf("%q: the path of a unix socket must be absolute, as in unix:/run/a.sock", s)
		}
		s = "/unix" + filepath.ToSlash(path)
	} else if !strings.HasPrefix(s, "/") {
		m, err := hostPort(s)
		if err != nil {
			return address{}, err
		}
		s = m
	}
	m, err := ma.NewMultiaddr(s)
	if err != nil {
		return address{}, fmt.Errorf("%q is not a multiaddr: %w", s, err)
	}
	network, addr, err := manet.DialArgs(m)
	if err != nil || !endsAtSocket(m) {
		return address{}, fmt.Errorf("%q is not an address of a stream socket: write host:port, unix:/path, /ip4/…/tcp/… or /unix/…, with nothing after it", s)
	}
	switch network {
	case "tcp", "tcp4", "tcp6":
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return address{}, fmt.Errorf("%q: %w", s, err)
		}
		return address{m.String(), network, addr, port == "0"}, nil
	case "unix":
		if len(addr) > MaxSocketPath {
			return address{}, fmt.Errorf("%q: its path has %d bytes, and that of a unix socket has at most %d: choose a shorter one", s, len(addr), MaxSocketPath)
		}
		return address{m.String(), network, addr, false}, nil
	}
	return address{}, fmt.Errorf("%q is %s, which carries no streams: TCP or unix", s, network)
}

// endsAtSocket reports whether nothing, such as /ws, follows the socket: protocols above
// it are not supported here.
func endsAtSocket(m ma.Multiaddr) bool {
	for i, c := range m {
		if code := c.Protocol().Code; code == ma.P_TCP || code == ma.P_UNIX {
			return i == len(m)-1
		}
	}
	return true // no socket at all: something else is wrong with it
}

// hostPort converts host:port to a multiaddr.
func hostPort(s string) (string, error) {
	host, port, err := written.HostPort(s)
	switch {
	case errors.Is(err, written.ErrForm):
		return "", fmt.Errorf("%q is neither host:port, unix:/path nor a multiaddr: %w", s, err)
	case err != nil:
		return "", fmt.Errorf("%q is not an address of a stream socket, and not a multiaddr: %w", s, err)
	case host == "":
		return "", fmt.Errorf("%q has no host: 127.0.0.1:%d is this machine, 0.0.0.0:%[2]d every interface of it", s, port)
	}
	ip, err := netip.ParseAddr(host)
	ip = ip.Unmap()
	switch {
	case err != nil:
		return fmt.Sprintf("/dns/%s/tcp/%d", host, port), nil
	case ip.Is4():
		return fmt.Sprintf("/ip4/%s/tcp/%d", ip, port), nil
	case ip.Zone() != "":
		return fmt.Sprintf("/ip6zone/%s/ip6/%s/tcp/%d", ip.Zone(), ip.WithZone(""), port), nil
	default:
		return fmt.Sprintf("/ip6/%s/tcp/%d", ip, port), nil
	}
}

// dial opens a connection that counts against files.
func (a address) dial(ctx context.Context) (bridge.Local, error) {
	if !files.try() {
		return nil, fmt.Errorf("%w: this process may open no more files", bridge.TooMany)
	}
	c, err := new(net.Dialer).DialContext(ctx, a.network, a.address)
	if err != nil {
		files.put()
		return nil, short(err)
	}
	return newConnection(c, a.name), nil
}

// short strips from an error what its caller adds.
func short(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// acceptor is a listening socket.
type acceptor struct {
	listener net.Listener
	name     string
	once     sync.Once
	closed   chan struct{}
	closeErr error
}

var _ bridge.Acceptor = (*acceptor)(nil)

func (a *acceptor) String() string { return a.name }

// Accept waits while this process has too many files open: clients then wait in the
// system's queue, except one. An acceptor without clients uses no slot.
func (a *acceptor) Accept() (bridge.Local, error) {
	c, err := a.listener.Accept()
	if err != nil {
		return nil, err
	}
	if !files.get(a.closed) {
		c.Close()
		return nil, net.ErrClosed
	}
	name := a.name
	if m, err := manet.FromNetAddr(c.RemoteAddr()); err == nil && c.RemoteAddr().Network() != "unix" {
		name = m.String()
	}
	return newConnection(c, name), nil
}

func (a *acceptor) Close() error {
	a.once.Do(func() {
		close(a.closed)
		a.closeErr = a.listener.Close()
	})
	return a.closeErr
}
