package reservation

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// relay is a relay to reserve on. The Keeper's mutex guards its fields. The ID is empty
// until the relay's page has answered.
type relay struct {
	peer.AddrInfo
	page string // its URL; empty if it was added by its addresses
	wake chan struct{}
	// ended holds a token when a connection to the relay has ended or move may have
	// progressed.
	ended chan struct{}
	move  *move // nil unless the relay has asked to move
	// offered is set if another relay named it.
	offered bool
	refused *RefusedError // the reason the relay gave for closing the connection; nil if it gave none

	unsound unsound // used only by the goroutine that keeps the reservation
}

func newRelay(info peer.AddrInfo, page string) *relay {
	r := &relay{AddrInfo: peer.AddrInfo{ID: info.ID}, page: page, wake: make(chan struct{}, 1), ended: make(chan struct{}, 1)}
	r.learn(info.Addrs)
	return r
}

// look makes the goroutine that keeps the reservation look for changes.
func (r *relay) look() {
	select {
	case r.ended <- struct{}{}:
	default:
	}
}

// learn puts addresses before those already known. The mutex is held.
func (r *relay) learn(addrs []ma.Multiaddr) {
	r.Addrs = distinct(slices.Concat(addrs, r.Addrs), maxKnownAddrs)
}

// known returns what the keeper knows of a relay now.
func (k *Keeper) known(r *relay) (info peer.AddrInfo, page string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return peer.AddrInfo{ID: r.ID, Addrs: slices.Clone(r.Addrs)}, r.page
}

// obtain connects to a relay and reserves. If the relay cannot be reached at its known
// addresses, for example because its certificates are new, obtain fetches others from its
// page.
func (k *Keeper) obtain(ctx context.Context, of *relay) (relay peer.AddrInfo, r Reservation, renew time.Duration, err error) {
	relay, page := k.known(of)
	if relay.ID != "" {
		r, renew, err = k.attempt(ctx, relay, &of.unsound)
		if err == nil || page == "" || ctx.Err() != nil || k.connOf(relay.ID) != nil {
			return relay, r, renew, err
		}
	}
	if asked := k.ask(ctx, of, page); asked != nil {
		return relay, r, 0, errors.Join(err, asked)
	}
	relay, _ = k.known(of)
	r, renew, err = k.attempt(ctx, relay, &of.unsound)
	return relay, r, renew, err
}
