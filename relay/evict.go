package relay

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/reservation"
)

// evictWithin is how long a peer that may no longer stay has to read the reason.
const evictWithin = 2 * time.Second

// apply closes the connections of all peers that may not stay.
func (a *access) apply(now time.Time) {
	a.mu.Lock()
	h := a.host
	a.mu.Unlock()
	if h == nil {
		return
	}
	for _, c := range h.Network().Conns() {
		p := c.RemotePeer()
		if a.isBanned(p, c.RemoteMultiaddr()) {
			a.evict(h, p, &refusal{limit: "ban", words: "the relay's operator has banned you"})
			continue
		}
		late := now.Sub(c.Stat().Opened) > introduceWithin || a.wasAdmitted(p)
		if why := a.whyNot(p); why != "" && late {
			a.evict(h, p, &refusal{limit: "access", flag: "--closed", words: why})
		}
	}
}

// evict closes the connections of a peer. If the peer holds a reservation, it is first
// told why, and has evictWithin to read that.
func (a *access) evict(h host.Host, p peer.ID, why *refusal) {
	if !a.holds(p) { // it does not listen for notices, or its request was refused with the reason
		_ = h.Network().ClosePeer(p)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, leaves := a.leaving[p]; leaves || a.ctx.Err() != nil {
		return
	}
	a.leaving[p] = struct{}{}
	a.done.Go(func() {
		a.said.note(*why, "peer", p, "ended", true)
		ctx, stop := context.WithTimeout(a.ctx, evictWithin)
		defer stop()
		tellWhy(ctx, h, p, why)
		_ = h.Network().ClosePeer(p)
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.leaving, p)
	})
}

// tellWhy tells a peer why its connections are about to be closed, if it listens.
func tellWhy(ctx context.Context, h host.Host, p peer.ID, why *refusal) {
	s, err := core.PreferNewest(h).NewStream(ctx, p, reservation.MoveProtocol)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	if _, err = reservation.Tell(s, reservation.Notice{Reason: why.words, Limit: why.limit}); err != nil {
		_ = s.Reset()
		return
	}
	_ = s.Close()
}
