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
// uses, for example because a laptop joins another network. Otherwise only the keep-alive
// of a TCP connection would notice, 40 seconds later. QUIC connections move to the new
// address by themselves. WatchAddresses returns when ctx ends; in a page, where no
// addresses are known, it returns at once.
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
			if err != nil { // it may work at the next tick
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
		if err != nil { // the interface has just been removed
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

// without returns the addresses that are in had but not in have.
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
		if err != nil { // the address of a circuit
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
