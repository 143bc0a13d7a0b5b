package stack

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/p2p/transport/tcpreuse"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/pires/go-proxyproto"
)

// forwardedFor is the header in which proxies report the client's address.
const forwardedFor = "X-Forwarded-For"

// maxProxied bounds how many of the first bytes from a proxy are inspected.
const maxProxied = 64 << 10

// among reports whether an address is in one of the ranges.
func among(ranges []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(a.Unmap().WithZone("")) })
}

// spokenFor returns the client's address that a proxy reports in the first bytes: in a
// header of the PROXY protocol, which is removed, or in a request's X-Forwarded-For. It
// is invalid if the proxy reports none. An incomplete PROXY header is an error.
//
// https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt
func spokenFor(r *bufio.Reader, proxies []netip.Prefix) (of netip.Addr, err error) {
	first, err := r.Peek(prefixBytes)
	if err != nil {
		return of, err
	}
	switch {
	case string(first) == "\r\n\r" || string(first) == "PRO":
		h, err := proxyproto.Read(r)
		if err != nil {
			return of, fmt.Errorf("read the header of a proxy: %w", err)
		}
		if at, ok := h.SourceAddr.(*net.TCPAddr); ok && h.Command.IsProxy() {
			of = at.AddrPort().Addr().Unmap()
		}
	case tcpreuse.IsHTTP([prefixBytes]byte(first)) && string(first) != "PRI": // that of HTTP/2 is compressed
		head, err := peekRequest(r)
		if err != nil {
			return of, err
		}
		request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if err != nil {
			return of, nil // the HTTP server reports the error
		}
		of = forwarded(request.Header.Values(forwardedFor), proxies)
	}
	return of, nil
}

// peekRequest waits for the head of a request, or for its first maxProxied bytes.
func peekRequest(r *bufio.Reader) ([]byte, error) {
	for {
		head, err := r.Peek(r.Buffered())
		if err != nil || len(head) >= maxProxied || bytes.Contains(head, []byte("\r\n\r\n")) {
			return head, err
		}
		if _, err := r.Peek(len(head) + 1); err != nil {
			return nil, err
		}
	}
}

// forwarded returns the last address in the header that is not one of our proxies, or the
// first if all are. A client may have made up the addresses before it.
func forwarded(header []string, proxies []netip.Prefix) (of netip.Addr) {
	list := strings.Split(strings.Join(header, ","), ",")
	for _, s := range slices.Backward(list) {
		a, err := client(strings.TrimSpace(s))
		if err != nil {
			return netip.Addr{}
		}
		if of = a.Unmap().WithZone(""); !among(proxies, of) {
			break
		}
	}
	return of
}

// client parses an address in the header. Some proxies add the client's port.
func client(s string) (netip.Addr, error) {
	if at, err := netip.ParseAddrPort(s); err == nil {
		return at.Addr(), nil
	}
	return netip.ParseAddr(strings.Trim(s, "[]"))
}

// hear reads the first bytes; from a proxy, until the client's address is known.
func (c *heardConn) hear(proxies []netip.Prefix) error {
	r := bufio.NewReaderSize(c.tcpConn, prefixBytes) // 16, as small as they come
	at, ok := c.tcpConn.RemoteAddr().(*net.TCPAddr)
	if ok && among(proxies, at.AddrPort().Addr()) {
		r = bufio.NewReaderSize(c.tcpConn, maxProxied)
		of, err := spokenFor(r, proxies)
		if err != nil {
			return err
		}
		if of.IsValid() {
			c.speakFor(netip.AddrPortFrom(of, uint16(at.Port)))
		}
	}
	if _, err := r.Peek(prefixBytes); err != nil {
		return err
	}
	head, err := r.Peek(r.Buffered())
	c.head = bytes.Clone(head)
	return err
}

// speakFor makes at the connection's remote address.
func (c *heardConn) speakFor(at netip.AddrPort) {
	addr := net.TCPAddrFromAddrPort(at)
	if a, err := manet.FromNetAddr(addr); err == nil {
		c.from, c.fromMultiaddr = addr, a
		c.applicant.move(a)
	}
}

func (c *heardConn) RemoteAddr() net.Addr {
	if c.from != nil {
		return c.from
	}
	return c.tcpConn.RemoteAddr()
}

func (c *heardConn) RemoteMultiaddr() ma.Multiaddr {
	if c.fromMultiaddr != nil {
		return c.fromMultiaddr
	}
	return c.tcpConn.RemoteMultiaddr()
}
