package reservation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Bounds of a relay's answer, which is not trusted.
const (
	reserveTimeout = 10 * time.Second // for one request and its answer

	// minTTL is the shortest reservation that is accepted: each costs a request to renew.
	minTTL = time.Second
	// maxTTL is the longest reservation that is believed, and what relays grant by
	// default. Expiry is by the relay's clock, so a longer one may also mean that a clock
	// is wrong. Renewing early costs a request; renewing late costs the reservation.
	maxTTL = time.Hour
	// maxAddrs bounds the addresses taken from one reservation, because the host sends
	// them to its peers among its own. A relay with every transport has five on each of
	// its IP addresses.
	maxAddrs = 32
)

// reserve sends one request. renew is how long to wait before the next one: at least half
// of minTTL. via is the connection that carried the request, or nil.
func (k *Keeper) reserve(ctx context.Context, relay peer.AddrInfo) (r Reservation, renew time.Duration, via network.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, reserveTimeout)
	defer cancel()
	bound := &boundHost{Host: k.host, token: k.opts.Token}
	got, err := client.Reserve(ctx, bound, peer.AddrInfo{ID: relay.ID})
	bound.free()
	if err == nil {
		r, renew, err = granted(relay, got, time.Now())
	}
	if err != nil {
		if refused := bound.refused(); refused != nil {
			refused.Relay, refused.Err = relay.ID, err
			return Reservation{}, 0, bound.via, refused
		}
		return Reservation{}, 0, bound.via, fmt.Errorf("reserve on %s: %w", relay.ID, err)
	}
	if len(got.Addrs) > maxAddrs {
		k.opts.Logger.Warn("a relay gave more addresses than are taken", "relay", relay.ID, "addrs", len(got.Addrs), "limit", maxAddrs)
	}
	return r, renew, bound.via, nil
}

// granted returns what is taken from a relay's answer, and when to renew it.
func granted(relay peer.AddrInfo, got *client.Reservation, now time.Time) (r Reservation, renew time.Duration, err error) {
	ttl := min(got.Expiration.Sub(now), maxTTL)
	if ttl < minTTL {
		return r, 0, fmt.Errorf("the relay's reservation ends in %s, which is too short: it must be at least %s (are both clocks right?)", ttl, minTTL)
	}
	addrs := circuits(relay.ID, got.Addrs)
	if len(addrs) == 0 { // many relays give public addresses only
		addrs = circuits(relay.ID, relay.Addrs)
	}
	r = Reservation{Relay: relay.ID, Addrs: addrs, Expires: now.Add(ttl)}
	return r, ttl*3/4 - rand.N(ttl/8), nil
}

// circuits returns the circuit addresses through a relay at its own addresses. It leaves
// out addresses that are not the relay's to give: those of another peer or of a circuit
// through another relay, and those that are not on the network.
func circuits(relay peer.ID, own []ma.Multiaddr) []ma.Multiaddr {
	suffix := ma.StringCast("/p2p/" + relay.String() + "/p2p-circuit")
	var all []ma.Multiaddr
	for _, a := range own {
		transport, id := peer.SplitAddr(a)
		if len(transport) == 0 || id != "" && id != relay || !dialable(transport) {
			continue
		}
		all = append(all, transport.Encapsulate(suffix))
	}
	return distinct(all, maxAddrs)
}

// distinct lists the first most of addrs, in order and without duplicates.
func distinct(addrs []ma.Multiaddr, most int) []ma.Multiaddr {
	var all []ma.Multiaddr
	seen := make(map[string]struct{}, len(addrs))
	for _, a := range addrs {
		if _, again := seen[string(a.Bytes())]; !again && len(all) < most {
			seen[string(a.Bytes())] = struct{}{}
			all = append(all, a)
		}
	}
	return all
}

// dialable reports whether an address starts with an IP address or a DNS name and passes
// through no peer.
func dialable(a ma.Multiaddr) bool {
	for _, c := range a {
		if code := c.Protocol().Code; code == ma.P_P2P || code == ma.P_CIRCUIT {
			return false
		}
	}
	switch a[0].Protocol().Code {
	case ma.P_IP4, ma.P_IP6, ma.P_IP6ZONE:
		return !manet.IsIPUnspecified(a)
	case ma.P_DNS, ma.P_DNS4, ma.P_DNS6, ma.P_DNSADDR:
		return true
	}
	return false
}

// boundHost opens eager streams of the first protocol asked for, and resets a stream when
// ctx ends. It is needed because client.Reserve heeds its ctx only until the stream is
// open, and then waits a minute for an answer.
type boundHost struct {
	host.Host
	token  string
	stop   func() bool
	via    network.Conn // the connection of the stream; nil until it is open
	stream *hopStream   // nil until it is open
}

func (h *boundHost) NewStream(ctx context.Context, p peer.ID, protos ...protocol.ID) (network.Stream, error) {
	s, err := h.Network().NewStream(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := s.SetProtocol(protos[0]); err != nil {
		_ = s.Reset()
		return nil, err
	}
	h.via = s.Conn()
	h.stop = context.AfterFunc(ctx, func() { _ = s.Reset() })
	h.stream = &hopStream{Stream: &eager{Stream: s}, token: h.token}
	return h.stream, nil
}

// refused returns the reason why the relay refused; nil if it gave none.
func (h *boundHost) refused() *RefusedError {
	if h.stream == nil {
		return nil
	}
	why := &RefusedError{Limit: h.stream.given(LimitField), Reason: h.stream.given(ReasonField)}
	if why.Reason == "" {
		return nil
	}
	return why
}

// free stops watching ctx; the stream is closed by then.
func (h *boundHost) free() {
	if h.stop != nil {
		h.stop()
	}
}
