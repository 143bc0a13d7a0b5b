package reservation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	pbv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
)

const (
	connectTimeout = 20 * time.Second // a dial of the relay, of all addresses that are tried at once

	// maxTries bounds how often one attempt connects: it has a slot that another
	// relay could use.
	maxTries = 6

	// unsoundFor is how long addresses are left alone that connected, and over which
	// no reservation could be made, while one could over another. The network may
	// have been at fault.
	unsoundFor = 10 * time.Minute
)

// DialTTL is how long the peerstore keeps addresses that were given for a dial. It
// is not peerstore.TempAddrTTL, because libp2p forgets the addresses with that very
// TTL when it notices that an older connection has ended, which may be in the middle
// of the dial.
const DialTTL = 2*time.Minute + 1

// unsound are the addresses of a relay that connect and carry no reservation.
type unsound struct {
	addrs []ma.Multiaddr
	until time.Time
}

// attempt connects and reserves. Where a connection is made and the request gets no
// answer over it, the connection is closed and the next address is tried, one of
// another transport before others: a browser, or what is on the way, may break the
// streams of one transport and not those of another. The error tells of each. A
// reservation comes with the connection protected.
func (k *Keeper) attempt(ctx context.Context, relay peer.AddrInfo, known *unsound) (r Reservation, renew time.Duration, err error) {
	k.host.ConnManager().Protect(relay.ID, protectTag)
	defer func() {
		if err != nil {
			k.host.ConnManager().Unprotect(relay.ID, protectTag)
		}
	}()
	if time.Now().After(known.until) {
		known.addrs = nil
	}
	left := slices.DeleteFunc(slices.Clone(relay.Addrs), func(a ma.Multiaddr) bool {
		return slices.ContainsFunc(known.addrs, func(at ma.Multiaddr) bool { return leadsTo(a, at) })
	})
	if len(left) == 0 {
		left, known.addrs = relay.Addrs, nil
	}
	failed := slices.Clone(known.addrs)
	var tried error
	for range maxTries {
		next := ofOtherTransports(left, failed)
		if err := k.connect(ctx, relay.ID, next, len(failed) > 0); err != nil {
			tried = then(tried, err)
			if left = slices.DeleteFunc(slices.Clone(left), func(a ma.Multiaddr) bool { return slices.ContainsFunc(next, a.Equal) }); len(left) == 0 || ctx.Err() != nil {
				break
			}
			continue
		}
		if k.closeFailed(relay.ID, failed) {
			continue
		}
		r, renew, via, err := k.reserve(ctx, relay)
		if err == nil {
			*known = unsound{addrs: failed, until: time.Now().Add(unsoundFor)}
			return r, renew, nil
		}
		if via == nil {
			via = k.connOf(relay.ID)
		}
		if via == nil { // it ended meanwhile
			tried = then(tried, err)
			break
		}
		at := via.RemoteMultiaddr()
		tried = then(tried, fmt.Errorf("over %s: %w", at, err))
		if left = slices.DeleteFunc(slices.Clone(left), func(a ma.Multiaddr) bool { return leadsTo(a, at) }); len(left) == 0 {
			break
		}
		if answered(err) || ctx.Err() != nil {
			break
		}
		failed = append(failed, at)
		k.opts.Logger.Info("a relay's address carries no reservation, and is left for another", "relay", relay.ID, "addr", at, "error", err)
		_ = via.Close()
	}
	known.addrs = nil // from the beginning after the back-off
	return Reservation{}, 0, tried
}

func then(before, err error) error {
	if before == nil {
		return err
	}
	return fmt.Errorf("%w; then %w", before, err)
}

// connect makes sure that there is a connection, with only true at none but the
// given addresses.
func (k *Keeper) connect(ctx context.Context, relay peer.ID, addrs []ma.Multiaddr, only bool) error {
	// The keeper backs off by itself, in shorter steps than the swarm.
	if s, ok := k.host.Network().(interface{ Backoff() *swarm.DialBackoff }); ok {
		s.Backoff().Clear(relay)
	}
	if only && k.connOf(relay) == nil {
		k.host.Peerstore().ClearAddrs(relay)
	}
	k.host.Peerstore().AddAddrs(relay, addrs, DialTTL)
	ctx, cancel := context.WithTimeout(network.WithForceDirectDial(ctx, "relay"), connectTimeout)
	defer cancel()
	if _, err := k.host.Network().DialPeer(ctx, relay); err != nil { // the host's Connect waits for identify
		return fmt.Errorf("connect to relay %s: %w", relay, err)
	}
	return nil
}

// closeFailed closes the connections at addresses that carry no reservation: the swarm
// also dials what identify has just said that the relay's addresses are. It returns true
// if no other is left.
func (k *Keeper) closeFailed(relay peer.ID, failed []ma.Multiaddr) bool {
	closed := false
	for _, c := range k.host.Network().ConnsToPeer(relay) {
		if slices.ContainsFunc(failed, c.RemoteMultiaddr().Equal) && !c.IsClosed() {
			_ = c.Close()
			closed = true
		}
	}
	return closed && k.connOf(relay) == nil
}

// connOf is a connection to the relay that is not through another relay.
func (k *Keeper) connOf(relay peer.ID) network.Conn {
	for _, c := range k.host.Network().ConnsToPeer(relay) {
		if !c.Stat().Limited && !c.IsClosed() {
			return c
		}
	}
	return nil
}

// answered says whether the relay has spoken: it would say the same over any other
// connection.
func answered(err error) bool {
	var refused client.ReservationError
	if !errors.As(err, &refused) {
		return true // granted has refused the answer
	}
	if _, ok := errors.AsType[multistream.ErrNotSupported[protocol.ID]](err); ok {
		return true // it is no relay
	}
	return refused.Status != pbv2.Status_CONNECTION_FAILED || refused.Unwrap() == nil
}

// ofOtherTransports lists the addrs of no transport that one of failed has, or where
// there are none, all addrs.
func ofOtherTransports(addrs, failed []ma.Multiaddr) []ma.Multiaddr {
	others := slices.DeleteFunc(slices.Clone(addrs), func(a ma.Multiaddr) bool {
		return slices.ContainsFunc(failed, func(b ma.Multiaddr) bool { return slices.Equal(transportOf(a), transportOf(b)) })
	})
	if len(others) == 0 {
		return addrs
	}
	return others
}

// transportOf is what follows the host in an address, by the names of its parts.
func transportOf(a ma.Multiaddr) (names []int) {
	for i, c := range a {
		if code := c.Protocol().Code; i > 0 && code != ma.P_CERTHASH && code != ma.P_SNI {
			names = append(names, code)
		}
	}
	return names
}

// leadsTo says whether a connection to at may have been dialled at a, which may have
// the name of a host where at has its number.
func leadsTo(a, at ma.Multiaddr) bool {
	if len(a) == 0 || len(at) == 0 || a.Equal(at) {
		return true
	}
	switch a[0].Protocol().Code {
	case ma.P_DNSADDR:
		return true
	case ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
		return slices.EqualFunc(a[1:], at[1:], func(x, y ma.Component) bool { return x.Equal(&y) })
	}
	return false
}
