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
	connectTimeout = 20 * time.Second // for one dial of the relay, at all addresses tried at once

	// maxTries bounds how often one attempt connects, because it holds a slot that
	// another relay could use.
	maxTries = 6

	// unsoundFor is how long addresses are skipped that connected but carried no
	// reservation, while another address did. The network may have been at fault.
	unsoundFor = 10 * time.Minute
)

// DialTTL is how long the peerstore keeps addresses added for a dial. It is not
// peerstore.TempAddrTTL, because libp2p removes the addresses with exactly that TTL when
// it notices that an older connection has ended, which may be in the middle of the dial.
const DialTTL = 2*time.Minute + 1

// unsound holds the addresses of a relay that connect but carry no reservation.
type unsound struct {
	addrs []ma.Multiaddr
	until time.Time
}

// attempt connects and reserves. If a connection is made and the request gets no answer
// over it, attempt closes the connection and tries the next address, preferring one of
// another transport: a browser, or something on the path, may break the streams of one
// transport only. The error names every address tried. On success the connection is
// protected.
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
	known.addrs = nil // start over after the back-off
	return Reservation{}, 0, tried
}

func then(before, err error) error {
	if before == nil {
		return err
	}
	return fmt.Errorf("%w; then %w", before, err)
}

// connect makes sure that there is a connection. If only is true, it dials no address but
// the given ones.
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
// also dials the addresses that identify has just learned from the relay. It returns true
// if it has closed one and no other connection is left.
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

// connOf returns a connection to the relay that does not pass through another relay, or
// nil.
func (k *Keeper) connOf(relay peer.ID) network.Conn {
	for _, c := range k.host.Network().ConnsToPeer(relay) {
		if !c.Stat().Limited && !c.IsClosed() {
			return c
		}
	}
	return nil
}

// answered reports whether the error is the relay's own answer, which would be the same
// over any other connection.
func answered(err error) bool {
	var refused client.ReservationError
	if !errors.As(err, &refused) {
		return true // granted has refused the answer
	}
	if _, ok := errors.AsType[multistream.ErrNotSupported[protocol.ID]](err); ok {
		return true // it is not a relay
	}
	return refused.Status != pbv2.Status_CONNECTION_FAILED || refused.Unwrap() == nil
}

// ofOtherTransports lists the addrs whose transport none of failed has. If there are
// none, it returns all addrs.
func ofOtherTransports(addrs, failed []ma.Multiaddr) []ma.Multiaddr {
	others := slices.DeleteFunc(slices.Clone(addrs), func(a ma.Multiaddr) bool {
		return slices.ContainsFunc(failed, func(b ma.Multiaddr) bool { return slices.Equal(transportOf(a), transportOf(b)) })
	})
	if len(others) == 0 {
		return addrs
	}
	return others
}

// transportOf returns the protocol codes that follow the host in an address, without
// certificate hashes and SNI.
func transportOf(a ma.Multiaddr) (names []int) {
	for i, c := range a {
		if code := c.Protocol().Code; i > 0 && code != ma.P_CERTHASH && code != ma.P_SNI {
			names = append(names, code)
		}
	}
	return names
}

// leadsTo reports whether a connection to at may have been dialled at a. Address a may
// have a host name, whereas at has the IP address.
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
