package stack

import (
	"hash/maphash"
	"net"
	"net/netip"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/pnet"
	libp2pwebrtc "github.com/libp2p/go-libp2p/p2p/transport/webrtc"
	"github.com/pion/stun/v3"
	"golang.org/x/time/rate"
)

// newWebRTC returns libp2p's WebRTC-direct transport, whose UDP ports also answer STUN.
func newWebRTC(key crypto.PrivKey, psk pnet.PSK, gater connmgr.ConnectionGater, limits network.ResourceManager, listen libp2pwebrtc.ListenUDPFn) (*libp2pwebrtc.WebRTCTransport, error) {
	answers := newStunLimits()
	return libp2pwebrtc.New(key, psk, gater, limits, func(network string, at *net.UDPAddr) (net.PacketConn, error) {
		c, err := listen(network, at)
		if err != nil {
			return nil, err
		}
		return &stunServer{PacketConn: c, limits: answers}, nil
	})
}

// stunRate and stunBurst bound the answers to one IPv4 address, or one /64 of IPv6, in a
// second: a page asks once per connection and address family, and retries if no answer
// comes.
const (
	stunRate  = 10
	stunBurst = 50
	// stunRateOfAll and stunBurstOfAll bound all answers together.
	stunRateOfAll  = 500
	stunBurstOfAll = 1000
	// stunShares is how many limiters the addresses share: addresses may be forged, so none
	// are remembered.
	stunShares = 1024
)

// stunLimits bound the answers. They may be used concurrently.
type stunLimits struct {
	seed   maphash.Seed
	shares [stunShares]*rate.Limiter
	all    *rate.Limiter
}

func newStunLimits() *stunLimits {
	l := &stunLimits{seed: maphash.MakeSeed(), all: rate.NewLimiter(stunRateOfAll, stunBurstOfAll)}
	for i := range l.shares {
		l.shares[i] = rate.NewLimiter(stunRate, stunBurst)
	}
	return l
}

func (l *stunLimits) allow(ip netip.Addr) bool {
	if ip.Is6() {
		if p, err := ip.WithZone("").Prefix(64); err == nil {
			ip = p.Addr()
		}
	}
	return l.shares[maphash.Comparable(l.seed, ip)%stunShares].Allow() && l.all.Allow()
}

// stunServer answers STUN requests with the address that they come from (RFC 8489). All
// other packets belong to WebRTC-direct, whose own requests have a user name. An answer
// has at most 44 bytes for the 20 of a request, which makes it useless for flooding
// others.
type stunServer struct {
	net.PacketConn
	limits *stunLimits
}

func (s *stunServer) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.PacketConn.ReadFrom(b)
		if err != nil || !s.answer(b[:n], from) {
			return n, from, err
		}
	}
}

// answer reports whether the packet was a request. It answers the request unless there
// are too many.
func (s *stunServer) answer(b []byte, from net.Addr) bool {
	if !stun.IsMessage(b) {
		return false
	}
	question := &stun.Message{Raw: b}
	if question.Decode() != nil || question.Type != stun.BindingRequest || question.Contains(stun.AttrUsername) {
		return false
	}
	udp, ok := from.(*net.UDPAddr)
	if !ok {
		return false
	}
	if ip, ok := netip.AddrFromSlice(udp.IP); !ok || !s.limits.allow(ip.Unmap()) {
		return true
	}
	told, err := stun.Build(stun.NewTransactionIDSetter(question.TransactionID), stun.BindingSuccess, &stun.XORMappedAddress{IP: udp.IP, Port: udp.Port})
	if err == nil {
		_, _ = s.WriteTo(told.Raw, from) // a client without an answer retries
	}
	return true
}
