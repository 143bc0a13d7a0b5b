package liveness

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	manet "github.com/multiformats/go-multiaddr/net"
)

// addressesTick is how often the machine's addresses are checked.
const addressesTick = time.Second

// WatchAddresses calls lost when this machine loses an address that a connection of h
// uses, for example because a laptop joins another network. Otherwise only the
// keep-alive of a TCP connection would notice, 40 seconds later. QUIC connections move
// to the new address by themselves. It returns when ctx ends, and in a page at once,
// where no addresses are known.
func WatchAddresses(ctx context.Context, h host.Host, lost func(net.IP)) {
	tick := time.NewTicker(addressesTick)
	defer tick.Stop()
	had, err := machineAddresses()
	if err != nil || len(had) == 0 {
		return
	}
	for {
		select {
		case <-tick.C:
			have, err := machineAddresses()
			if err != nil { // for now
				continue
			}
			if gone := without(had, have); len(gone) > 0 {
				if on := connOn(h.Network().Conns(), gone); on != nil {
					lost(on)
				}
			}
			had = have
		case <-ctx.Done():
			return
		}
	}
}

type addresses map[netip.Addr]struct{}

// machineAddresses lists the addresses of the interfaces that are up and have a link.
func machineAddresses() (addresses, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	all := make(addresses)
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil { // it has just gone
			continue
		}
		for _, a := range addrs {
			if p, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(p.IP); ok {
					all[ip.Unmap()] = struct{}{}
				}
			}
		}
	}
	return all, nil
}

// without lists what is in had and not in have.
func without(had, have addresses) addresses {
	gone := make(addresses)
	for a := range had {
		if _, ok := have[a]; !ok {
			gone[a] = struct{}{}
		}
	}
	return gone
}

// connOn returns a local address of one of the connections that is in of, or nil.
func connOn(conns []network.Conn, of addresses) net.IP {
	for _, c := range conns {
		ip, err := manet.ToIP(c.LocalMultiaddr())
		if err != nil { // of a circuit
			continue
		}
		if at, ok := netip.AddrFromSlice(ip); ok {
			if _, ok := of[at.Unmap()]; ok {
				return ip
			}
		}
	}
	return nil
}
