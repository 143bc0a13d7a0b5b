package reservation

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// relay is one of those to reserve on. The mutex of the Keeper guards what is known
// of it. Its ID is empty until its page has answered.
type relay struct {
	peer.AddrInfo
	page string // its URL; empty: it was given by its addresses
	wake chan struct{}
	// ended holds a token after a connection to it ended, and when move may have come on.
	ended chan struct{}
	move  *move // the relay has told to move; nil otherwise
	// offered: another relay has named it.
	offered bool
	refused *RefusedError // why the relay is about to close the connection; nil: it has not said so

	unsound unsound // known to the goroutine that keeps the reservation, and to it alone
}

func newRelay(info peer.AddrInfo, page string) *relay {
	r := &relay{AddrInfo: peer.AddrInfo{ID: info.ID}, page: page, wake: make(chan struct{}, 1), ended: make(chan struct{}, 1)}
	r.learn(info.Addrs)
	return r
}

// look has the goroutine that keeps the reservation look at what has changed.
func (r *relay) look() {
	select {
	case r.ended <- struct{}{}:
	default:
	}
}

// learn remembers addresses, before those that are known. The mutex is held.
func (r *relay) learn(addrs []ma.Multiaddr) {
	r.Addrs = distinct(slices.Concat(addrs, r.Addrs), maxKnownAddrs)
}

// known is what is known of a relay now.
func (k *Keeper) known(r *relay) (info peer.AddrInfo, page string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return peer.AddrInfo{ID: r.ID, Addrs: slices.Clone(r.Addrs)}, r.page
}

// obtain connects to a relay and reserves. Where it cannot be reached at the
// addresses known, as one whose certificates are new, its page is asked for others.
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
