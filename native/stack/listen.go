package stack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/tombolo-net/tombolo/native/address"
)

// InUseError is returned by New if another program uses a listen address.
type InUseError struct {
	Addr ma.Multiaddr
	Port int
	Err  error // the operating system's error
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("port %d is in use by another program (%s)", e.Port, e.Addr)
}

func (e *InUseError) Unwrap() error { return e.Err }

// ListenOn returns the addresses of every transport on one TCP and one UDP port of ip. A
// port of 0 means any; a negative port leaves its transports out.
func ListenOn(ip netip.Addr, tcpPort, udpPort int) []ma.Multiaddr {
	family := "ip4"
	if ip.Is6() && !ip.Is4In6() {
		family = "ip6"
	}
	ip = ip.Unmap().WithZone("")
	var addrs []ma.Multiaddr
	add := func(port int, network string, rests ...string) {
		for _, rest := range rests {
			if port >= 0 {
				addrs = append(addrs, ma.StringCast(fmt.Sprintf("/%s/%s/%s/%d%s", family, ip, network, port, rest)))
			}
		}
	}
	add(tcpPort, "tcp", "", "/ws")
	add(udpPort, "udp", "/quic-v1", "/quic-v1/webtransport", "/webrtc-direct")
	return addrs
}

// DefaultListen returns the addresses of ListenOn for every interface, over IPv4 and, if
// the machine supports it, IPv6.
func DefaultListen(tcpPort, udpPort int) []ma.Multiaddr {
	addrs := ListenOn(netip.IPv4Unspecified(), tcpPort, udpPort)
	if hasIPv6() {
		addrs = append(addrs, ListenOn(netip.IPv6Unspecified(), tcpPort, udpPort)...)
	}
	return addrs
}

func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// ParseListen parses an address to listen on: a multiaddr, which is one transport, or
// host:port, which is every transport there. The host is an IP address, "localhost", or
// empty for every interface.
func ParseListen(s string) ([]ma.Multiaddr, error) {
	if strings.HasPrefix(s, "/") {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("%q is not a multiaddr: %w", s, err)
		}
		if _, err := a.ValueForProtocol(ma.P_P2P); err == nil {
			return nil, fmt.Errorf("%q: an address to listen on has no /p2p/<id>: leave that out", s)
		}
		return []ma.Multiaddr{a}, nil
	}
	host, port, err := address.HostPort(strings.TrimPrefix(s, "*"))
	if err != nil {
		return nil, fmt.Errorf("%q is neither host:port nor a multiaddr: %w", s, err)
	}
	switch host {
	case "":
		return DefaultListen(int(port), int(port)), nil
	case "localhost":
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return nil, fmt.Errorf("%q: the host is not an IP address of this machine", s)
	}
	if ip.Zone() != "" {
		return nil, fmt.Errorf("%q: peers cannot be told an address with a zone: write [::]:%d for every interface", s, port)
	}
	return ListenOn(ip, int(port), int(port)), nil
}

// pickTries bounds how often ports are picked again because another program was faster.
const pickTries = 8

// listener has the methods of a swarm that listen needs.
type listener interface {
	AddListenAddr(ma.Multiaddr) error
	ListenClose(...ma.Multiaddr)
	ListenAddresses() []ma.Multiaddr
}

// listen makes nw listen on all addresses or, with an error, on none.
func listen(nw listener, addrs []ma.Multiaddr) error {
	var err error
	for range pickTries {
		var fixed []ma.Multiaddr
		var picked bool
		if fixed, picked, err = fixPorts(addrs); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		if err = listenAll(nw.AddListenAddr, fixed); err == nil {
			return nil
		}
		nw.ListenClose(slices.DeleteFunc(nw.ListenAddresses(), isCircuit)...)
		if inUse := new(InUseError); !picked || !errors.As(err, &inUse) {
			break
		}
	}
	return fmt.Errorf("listen: %w", err)
}

func listenAll(add func(ma.Multiaddr) error, addrs []ma.Multiaddr) error {
	// WebRTC shares the UDP port of a QUIC listener that exists already.
	addrs = slices.Clone(addrs)
	slices.SortStableFunc(addrs, func(a, b ma.Multiaddr) int { return order(a) - order(b) })
	for _, a := range addrs {
		if err := add(a); err != nil {
			return listenError(a, err)
		}
	}
	return nil
}

// isCircuit reports whether a is the address of the circuit listener, which has no port.
func isCircuit(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

func order(a ma.Multiaddr) int {
	if _, err := a.ValueForProtocol(ma.P_WEBRTC_DIRECT); err == nil {
		return 1
	}
	return 0
}

func listenError(a ma.Multiaddr, err error) error {
	if !isInUse(err) {
		return fmt.Errorf("%s: %w", a, err)
	}
	e, _ := endpointOf(a)
	return &InUseError{Addr: a, Port: int(e.at.Port()), Err: err}
}

// endpoint is what only one program can use: a port of an address.
type endpoint struct {
	network string // tcp4, tcp6, udp4, udp6
	at      netip.AddrPort
}

// endpointOf returns the endpoint of a listen address that begins with an IP address.
func endpointOf(a ma.Multiaddr) (e endpoint, ok bool) {
	network, at, err := manet.DialArgs(a)
	if err != nil {
		return e, false
	}
	e.network = network
	e.at, err = netip.ParseAddrPort(at)
	return e, err == nil
}

// fixPorts replaces port 0 by one free TCP port and one free UDP port, with the same
// number if possible, and checks that the given TCP ports are free: libp2p listens with
// SO_REUSEPORT, which would let two programs of one user share a port without either
// noticing.
func fixPorts(addrs []ma.Multiaddr) (fixed []ma.Multiaddr, picked bool, err error) {
	var open []endpoint
	for _, a := range addrs {
		e, ok := endpointOf(a)
		if !ok {
			continue
		}
		if e.at.Port() == 0 {
			if !slices.Contains(open, e) {
				open = append(open, e)
			}
			continue
		}
		if err := probe(e); err != nil {
			return nil, false, listenError(a, err)
		}
	}
	if len(open) == 0 {
		return addrs, false, nil
	}
	port, err := pickPort(open)
	if err != nil {
		return nil, false, err
	}
	for _, a := range addrs {
		if e, ok := endpointOf(a); ok && e.at.Port() == 0 {
			a = withPort(a, port)
		}
		fixed = append(fixed, a)
	}
	return fixed, true, nil
}

// pickPort finds a port that is free on all endpoints.
func pickPort(open []endpoint) (port uint16, err error) {
	const tries = 64
	for range tries {
		if port, err = bind(open[0]); err != nil {
			return 0, fmt.Errorf("find a free port on %s: %w", open[0].at.Addr(), err)
		}
		free := true
		for _, e := range open[1:] {
			e.at = netip.AddrPortFrom(e.at.Addr(), port)
			if err = probe(e); err != nil {
				free = false
				break
			}
		}
		if free {
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port: none of %d tried is free for all of TCP and UDP: %w", tries, err)
}

func probe(e endpoint) error {
	_, err := bind(e)
	return err
}

// bind binds an endpoint for an instant and returns its port.
func bind(e endpoint) (port uint16, err error) {
	if strings.HasPrefix(e.network, "udp") {
		c, err := net.ListenPacket(e.network, e.at.String())
		if err != nil {
			return 0, err
		}
		return c.LocalAddr().(*net.UDPAddr).AddrPort().Port(), c.Close()
	}
	l, err := net.Listen(e.network, e.at.String())
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).AddrPort().Port(), l.Close()
}

// withPort sets the port of the first TCP or UDP component of a.
func withPort(a ma.Multiaddr, port uint16) ma.Multiaddr {
	out := slices.Clone(a)
	for i, c := range out {
		if code := c.Protocol().Code; code == ma.P_TCP || code == ma.P_UDP {
			part, err := ma.NewComponent(c.Protocol().Name, strconv.Itoa(int(port)))
			if err == nil {
				out[i] = *part
			}
			break
		}
	}
	return out
}
