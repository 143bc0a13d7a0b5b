// Package customer tells which addresses count as one customer for limits by address.
package customer

import (
	"net/netip"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Of returns the customer at an address that begins with an IP address: the address
// itself if it is IPv4, or its network of 56 bits if it is IPv6, which is what a provider
// gives one customer. For all other addresses, it returns the zero Prefix.
func Of(a ma.Multiaddr) netip.Prefix {
	ip, err := manet.ToIP(a)
	if err != nil {
		return netip.Prefix{}
	}
	addr, _ := netip.AddrFromSlice(ip)
	addr = addr.Unmap()
	bits := 56
	if addr.Is4() {
		bits = 32
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
