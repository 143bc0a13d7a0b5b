package relay

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// addrsFor orders a relay's addresses for a client that asked for them at o: WebTransport
// first, then the other addresses a browser can dial, then the rest. Among equals,
// addresses at the host that was asked come first; the others, loopback included, keep
// their order. If none is at that host (because it is a name, a forwarded port or a
// proxy), its WebSocket address is added: the request itself came that way.
func addrsFor(addrs []ma.Multiaddr, id peer.ID, o origin) []ma.Multiaddr {
	addrs = slices.Clone(addrs)
	if !slices.ContainsFunc(addrs, func(a ma.Multiaddr) bool { return isAt(a, o.host) }) {
		if a := websocketAt(o, id); a != nil {
			addrs = append(addrs, a)
		}
	}
	rank := func(a ma.Multiaddr) int {
		n := 2 * transportRank(a)
		if !isAt(a, o.host) {
			n++
		}
		return n
	}
	slices.SortStableFunc(addrs, func(a, b ma.Multiaddr) int { return rank(a) - rank(b) })
	return addrs
}

func transportRank(a ma.Multiaddr) int {
	for rank, code := range []int{ma.P_WEBTRANSPORT, ma.P_WSS, ma.P_WS, ma.P_WEBRTC_DIRECT, ma.P_QUIC_V1} {
		if _, err := a.ValueForProtocol(code); err == nil {
			return rank
		}
	}
	return 5
}

// isAt reports whether a is at host, a name or an IP address. "localhost" is at any
// loopback address.
func isAt(a ma.Multiaddr, host string) bool {
	if isLocalhost(host) && manet.IsIPLoopback(a) {
		return true
	}
	if len(a) == 0 {
		return false
	}
	switch first := a[0]; first.Protocol().Code {
	case ma.P_IP4, ma.P_IP6:
		want, err := netip.ParseAddr(host)
		have, haveErr := netip.ParseAddr(first.Value())
		return err == nil && haveErr == nil && want.Unmap() == have.Unmap()
	case ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
		return strings.EqualFold(strings.TrimSuffix(host, "."), first.Value())
	}
	return false
}

func isLocalhost(host string) bool {
	return strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost")
}

// websocketAt returns the WebSocket address at o, with the peer's ID unless id is empty;
// nil if o is not a valid host.
func websocketAt(o origin, id peer.ID) ma.Multiaddr {
	kind := "dns"
	if ip, err := netip.ParseAddr(o.host); err == nil {
		kind = "ip4"
		if ip.Is6() {
			kind = "ip6"
		}
	}
	secure := ""
	if o.tls {
		secure = "tls/"
	}
	if o.host == "" || strings.ContainsAny(o.host, "/%") {
		return nil
	}
	whole := "/" + kind + "/" + o.host + "/tcp/" + o.port + "/" + secure + "ws"
	if id != "" {
		whole += "/p2p/" + id.String()
	}
	a, err := ma.NewMultiaddr(whole)
	if err != nil {
		return nil
	}
	return a
}
