package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pion/stun/v3"

	"github.com/tombolo-net/tombolo/native/control"
)

const (
	// stunTries and stunWait are how often a relay is asked, and how long each answer may
	// take, because a datagram may be lost.
	stunTries = 3
	stunWait  = 500 * time.Millisecond
)

// nat asks the relays, from one UDP port, at which address they see this machine. If two
// of them see the same, any peer would (RFC 4787 calls that endpoint-independent
// mapping), so hole punching can know both addresses in advance.
func nat(ctx context.Context, s control.Status) []finding {
	if len(s.STUN) == 0 {
		return nil // the check of the relays reports what is missing
	}
	conn, err := net.ListenUDP("udp", nil)
	if err != nil {
		return []finding{{"nat", failed, fmt.Sprintf("no UDP port can be opened: %v", err), "a firewall of this machine may forbid it"}}
	}
	defer conn.Close()
	own := netip.MustParseAddrPort(conn.LocalAddr().String()).Port()
	var seen []netip.AddrPort
	var asked []string
	for _, server := range s.STUN {
		server = strings.TrimPrefix(server, "stun:")
		addr, err := mapped(ctx, conn, server)
		if err == nil {
			seen = append(seen, addr)
			server += " sees " + addr.String()
		}
		asked = append(asked, server)
	}
	return []finding{natFinding(own, seen, strings.Join(asked, ", "))}
}

func natFinding(own uint16, seen []netip.AddrPort, asked string) finding {
	const relayed = "peers that cannot be reached directly are reached through the relay"
	switch {
	case len(seen) == 0:
		return finding{"nat", warning, "no relay answers over UDP: " + asked,
			"this network may block UDP; " + relayed}
	case isOurs(seen[0].String()):
		return finding{"nat", fine, "there is none: " + asked, ""}
	case slices.ContainsFunc(seen, func(a netip.AddrPort) bool { return a.Addr().Is4() == seen[0].Addr().Is4() && a != seen[0] }):
		return finding{"nat", warning, "symmetric, each peer sees another address: " + asked,
			"punching holes rarely works, except with peers that are not behind a NAT; " + relayed + ", or forward a UDP port of the router to this machine"}
	case len(seen) > 1 && seen[1] == seen[0]:
		return finding{"nat", fine, "every peer sees the same address, so punching holes can work: " + asked, ""}
	case seen[0].Port() == own:
		return finding{"nat", fine, "it keeps the port, so punching holes can work: " + asked, ""}
	}
	return finding{"nat", warning, "whether each peer sees another address is not known: " + asked,
		"give a second relay with --relay, whose answer would tell"}
}

// mapped asks a STUN server for the address at which it sees conn (RFC 8489).
func mapped(ctx context.Context, conn *net.UDPConn, server string) (netip.AddrPort, error) {
	to, err := net.ResolveUDPAddr("udp", server)
	if err != nil {
		return netip.AddrPort{}, err
	}
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for range stunTries {
		if _, err := conn.WriteTo(request.Raw, to); err != nil {
			return netip.AddrPort{}, err
		}
		addr, err := answered(conn, request.TransactionID)
		if err == nil || ctx.Err() != nil {
			return addr, errors.Join(err, ctx.Err())
		}
	}
	return netip.AddrPort{}, fmt.Errorf("%s does not answer", server)
}

// answered waits for the answer of a transaction.
func answered(conn *net.UDPConn, id [stun.TransactionIDSize]byte) (netip.AddrPort, error) {
	if err := conn.SetReadDeadline(time.Now().Add(stunWait)); err != nil {
		return netip.AddrPort{}, err
	}
	b := make([]byte, 1500)
	for {
		n, err := conn.Read(b)
		if err != nil {
			return netip.AddrPort{}, err
		}
		m := stun.Message{Raw: b[:n]}
		var addr stun.XORMappedAddress
		if m.Decode() != nil || m.TransactionID != id || addr.GetFrom(&m) != nil {
			continue
		}
		ip, ok := netip.AddrFromSlice(addr.IP)
		if ok {
			return netip.AddrPortFrom(ip.Unmap(), uint16(addr.Port)), nil
		}
	}
}
