// Package asnutil stands in for github.com/libp2p/go-libp2p-asn-util in tombolo.wasm: see the wasm target of the Makefile.
//
// libp2p's basic host links the service of a relay, which bounds reservations by the networks of an embedded list. It has 1.6 MB (0.3 MB with brotli),
// and a tab is no relay. Here every network is unknown, for which that package has a value.
package asnutil

import "net"

// AsnForIPv6 returns 0: the network is not known.
func AsnForIPv6(net.IP) uint32 { return 0 }

// AsnForIPv6Network returns 0: the network is not known.
func AsnForIPv6Network(uint64) uint32 { return 0 }
