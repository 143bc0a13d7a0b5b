package webrtc

import (
	"net"
	"slices"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// maxSTUN is how many servers are asked: one would be enough.
const maxSTUN = 2

// STUN returns the stun: URLs of relays, at most two. Relays of this project answer STUN
// on the UDP port of their WebRTC-direct addresses. STUN finds these in relays and in the
// peerstore of h, and prefers a public one.
func STUN(h host.Host, relays []peer.AddrInfo) []string {
	var urls []string
	for _, relay := range relays {
		var found string
		for _, a := range slices.Concat(relay.Addrs, h.Peerstore().Addrs(relay.ID)) {
			url, ok := stunURL(a)
			if ok && (found == "" || manet.IsPublicAddr(a)) {
				found = url
			}
			if ok && manet.IsPublicAddr(a) {
				break
			}
		}
		if found != "" && !slices.Contains(urls, found) && len(urls) < maxSTUN {
			urls = append(urls, found)
		}
	}
	return urls
}

// stunURL returns the URL of the STUN server at a WebRTC-direct address that has a host
// and a port.
func stunURL(a ma.Multiaddr) (string, bool) {
	if len(a) < 3 || a[1].Protocol().Code != ma.P_UDP || a[2].Protocol().Code != ma.P_WEBRTC_DIRECT {
		return "", false
	}
	switch a[0].Protocol().Code {
	case ma.P_IP4, ma.P_IP6, ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
		return "stun:" + net.JoinHostPort(a[0].Value(), a[1].Value()), true
	}
	return "", false
}
