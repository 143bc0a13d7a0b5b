package relay

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/peer"
	pbv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"

	"github.com/tombolo-net/tombolo/core/reservation"
	"github.com/tombolo-net/tombolo/native/stack"
)

// circuitCost is how many bytes a circuit holds if its far end does not read: two
// buffers, and what the near end may send ahead.
const circuitCost = 2*circuitBuffer + 256<<10

// reservedTag protects peers that hold a reservation from the connection manager.
const reservedTag = "tombolo-reserved"

// places counts the reservations and circuits that the relay has given, by peer and by
// address. A peer that holds a reservation keeps it, however many others come.
type places struct {
	conns connmgr.ConnManager

	mu         sync.Mutex
	peers      int // most reservations
	perAddress int // most reservations of one address
	perPeer    int // most circuits that begin or end at one peer
	most       int // circuits in all, by memory

	reserved map[peer.ID]place
	taken    map[netip.Prefix]int // reservations by address
	circuits map[peer.ID]int      // circuits that begin at a peer
	ends     map[peer.ID]int      // circuits that begin or end at a peer
	sites    map[netip.Prefix]int // circuits that begin at an address
	open     int                  // circuits
	swept    time.Time
	draining bool // new peers get no reservation
}

type place struct {
	site    netip.Prefix
	expires time.Time
}

func newPlaces(l Limits, conns connmgr.ConnManager) *places {
	p := &places{
		conns:    conns,
		most:     max(int(stack.MemoryBudget()/circuitCost), 64),
		reserved: make(map[peer.ID]place), taken: make(map[netip.Prefix]int),
		circuits: make(map[peer.ID]int), ends: make(map[peer.ID]int), sites: make(map[netip.Prefix]int),
	}
	p.set(l)
	return p
}

// set changes the limits, and returns the peers whose reservations exceed them. They keep
// their reservations and circuits.
func (p *places) set(l Limits) (over []peer.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peers, p.perAddress, p.perPeer = l.Peers, l.PeersPerAddress, l.CircuitsPerPeer
	left, at := p.peers, make(map[netip.Prefix]int)
	for id, place := range p.reserved {
		if at[place.site] >= p.perAddress || left <= 0 {
			over = append(over, id)
			continue
		}
		left--
		at[place.site]++
	}
	return over
}

// room returns why a peer would get no reservation; nil if it would.
func (p *places) room(of peer.ID, site netip.Prefix, now time.Time) *refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, has := p.reserved[of]; has {
		return nil
	}
	return p.full(site, now)
}

// reserve gives a peer a reservation, or returns why it cannot. A peer that already has
// one renews it.
func (p *places) reserve(of peer.ID, site netip.Prefix, now time.Time) *refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.swept) > time.Minute {
		p.sweep(now)
	}
	if old, has := p.reserved[of]; has {
		p.unreserve(of, old)
	} else if why := p.full(site, now); why != nil {
		return why
	}
	p.reserved[of] = place{site, now.Add(reservationTTL)}
	p.taken[site]++
	p.conns.Protect(of, reservedTag)
	return nil
}

// full returns why a new peer gets no reservation; nil if there is room. The mutex is
// held.
func (p *places) full(site netip.Prefix, now time.Time) *refusal {
	if p.draining {
		return &refusal{
			limit: reservation.LimitDraining, status: pbv2.Status_RESERVATION_REFUSED,
			words: "it is draining: it is about to end, and its peers move to other relays",
		}
	}
	if len(p.reserved) >= p.peers {
		p.sweep(now)
	}
	if len(p.reserved) >= p.peers {
		return &refusal{
			limit: "peers", value: int64(p.peers), flag: "--peers", status: pbv2.Status_RESERVATION_REFUSED,
			words: fmt.Sprintf("all %d reservations are taken; the relay's operator sets their number with --peers", p.peers),
		}
	}
	if p.taken[site] >= p.perAddress {
		return &refusal{
			limit: "peers-per-address", value: int64(p.perAddress), flag: "--peers-per-address", status: pbv2.Status_RESERVATION_REFUSED,
			words: fmt.Sprintf("peers at your address hold %d reservations, which is all that one address may have; the relay's operator sets that with --peers-per-address", p.taken[site]),
		}
	}
	return nil
}

// sweep removes expired reservations. The mutex is held.
func (p *places) sweep(now time.Time) {
	p.swept = now
	for id, at := range p.reserved {
		if at.expires.Before(now) {
			p.unreserve(id, at)
			p.conns.Unprotect(id, reservedTag)
		}
	}
}

// unreserve removes a reservation. The mutex is held.
func (p *places) unreserve(id peer.ID, at place) {
	delete(p.reserved, id)
	if p.taken[at.site]--; p.taken[at.site] <= 0 {
		delete(p.taken, at.site)
	}
}

// release removes the reservation of a peer that has left.
func (p *places) release(id peer.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, has := p.reserved[id]; has {
		p.unreserve(id, at)
	}
	p.conns.Unprotect(id, reservedTag)
}

// holds reports whether a peer has a reservation.
func (p *places) holds(id peer.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, has := p.reserved[id]
	return has
}

// connect counts a new circuit between two peers, or returns why there is no room for it.
func (p *places) connect(from, to peer.ID, site netip.Prefix) *refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	ofPeer, ofSite := max(min(p.perPeer, p.most/8), 1), max(p.most/2, 1)
	switch {
	case p.circuits[from] >= ofPeer || p.ends[from] >= p.perPeer:
		return &refusal{
			limit: "circuits-per-peer", value: int64(ofPeer), flag: "--circuits-per-peer", status: pbv2.Status_RESOURCE_LIMIT_EXCEEDED,
			words: fmt.Sprintf("you have %d circuits, which is all that one peer may have (--circuits-per-peer, or an eighth of the relay's memory)", p.ends[from]),
		}
	case p.ends[to] >= p.perPeer:
		return &refusal{
			limit: "circuits-per-peer", value: int64(p.perPeer), flag: "--circuits-per-peer", status: pbv2.Status_RESOURCE_LIMIT_EXCEEDED,
			words: fmt.Sprintf("the peer that you call has %d circuits, which is all that one peer may have (--circuits-per-peer)", p.perPeer),
		}
	case p.sites[site] >= ofSite:
		return &refusal{
			limit: "circuits-per-address", value: int64(ofSite), flag: "GOMEMLIMIT", status: pbv2.Status_RESOURCE_LIMIT_EXCEEDED,
			words: fmt.Sprintf("%d circuits begin at your address, which is half of what the relay's memory holds", ofSite),
		}
	case p.open >= p.most:
		return &refusal{
			limit: "circuits", value: int64(p.most), flag: "GOMEMLIMIT", status: pbv2.Status_RESOURCE_LIMIT_EXCEEDED,
			words: fmt.Sprintf("%d circuits are open, which is all that the relay's memory holds", p.most),
		}
	}
	p.circuits[from]++
	p.ends[from]++
	p.ends[to]++
	p.sites[site]++
	p.open++
	return nil
}

// disconnect uncounts a circuit that has ended.
func (p *places) disconnect(from, to peer.ID, site netip.Prefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	if p.circuits[from]--; p.circuits[from] <= 0 {
		delete(p.circuits, from)
	}
	for _, end := range []peer.ID{from, to} {
		if p.ends[end]--; p.ends[end] <= 0 {
			delete(p.ends, end)
		}
	}
	if p.sites[site]--; p.sites[site] <= 0 {
		delete(p.sites, site)
	}
}

// drain stops giving reservations to new peers, and returns the peers that have one.
func (p *places) drain() []peer.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draining = true
	return slices.Collect(maps.Keys(p.reserved))
}

// isDraining reports whether drain was called.
func (p *places) isDraining() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.draining
}

// inCircuit reports whether a circuit begins or ends at one of these peers.
func (p *places) inCircuit(peers []peer.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(peers, func(id peer.ID) bool { return p.ends[id] > 0 })
}

// circuitsOf returns how many circuits begin at a peer.
func (p *places) circuitsOf(id peer.ID) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.circuits[id]
}

// limits returns the limits of the relay as a whole, and how much of them is used.
func (p *places) limits() []LimitStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep(time.Now())
	return []LimitStatus{
		{Limit: "peers", Flag: "--peers", Value: int64(p.peers), Used: int64(len(p.reserved))},
		{Limit: "circuits", Flag: "GOMEMLIMIT", Value: int64(p.most), Used: int64(p.open)},
	}
}
