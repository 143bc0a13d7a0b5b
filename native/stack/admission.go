package stack

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core/customer"
)

// idleGrace is how long a connection may make no progress before it can be closed to make
// room. Above twice the limit there is no grace.
const idleGrace = time.Second

// admission bounds the TCP connections that are not yet a peer: those that have sent
// nothing, those in the middle of a handshake, and those of HTTP clients. Above the limit
// it takes the address with the most of them, and closes the one that made no progress
// for the longest time. Many silent clients therefore close one another, and nobody else.
type admission struct {
	perAddr, total int
	refused        func() // called for each connection that is closed to make room

	mu      sync.Mutex
	waiting map[netip.Prefix]map[*applicant]struct{}
	count   int
}

// applicant is a TCP connection that is not yet a peer.
type applicant struct {
	of    *admission
	from  netip.Prefix
	close func()
	moved atomic.Int64 // when it last made progress, in nanoseconds of Unix time
	done  atomic.Bool  // it has become a peer, or is closed
}

func newAdmission(peers int, refused func()) *admission {
	return &admission{
		perAddr: applicants(peers) / 2, total: applicants(peers), refused: refused,
		waiting: make(map[netip.Prefix]map[*applicant]struct{}),
	}
}

// applicants returns how many connections that are not yet a peer a host accepts.
func applicants(peers int) int { return min(peers/8+256, MaxSockets()/2) }

// add counts a connection, and closes others if there are too many. close is called at
// most once, by a later add. It must not block, and must release all that the connection
// holds.
func (a *admission) add(from ma.Multiaddr, close func()) *applicant {
	n := &applicant{of: a, from: customer.Of(from), close: close}
	n.progress()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.put(n)
	return n
}

// put counts a connection. The mutex is held.
func (a *admission) put(n *applicant) {
	group := a.waiting[n.from]
	if group == nil {
		group = make(map[*applicant]struct{})
		a.waiting[n.from] = group
	}
	group[n] = struct{}{}
	a.count++
	if len(group) > a.perAddr {
		a.makeRoom(group, len(group) > 2*a.perAddr)
	}
	if a.count > a.total {
		most := group
		for _, g := range a.waiting {
			if len(g) > len(most) {
				most = g
			}
		}
		a.makeRoom(most, a.count > 2*a.total)
	}
}

// move counts a connection for another address, which a proxy has reported.
func (n *applicant) move(to ma.Multiaddr) {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	if n.done.Load() {
		return
	}
	n.of.uncount(n)
	n.from = customer.Of(to)
	n.of.put(n)
}

// makeRoom closes the connection of the group that made no progress for the longest time;
// if always is false, only if that is longer than idleGrace. The mutex is held.
func (a *admission) makeRoom(group map[*applicant]struct{}, always bool) {
	var last *applicant
	for n := range group {
		if last == nil || n.moved.Load() < last.moved.Load() {
			last = n
		}
	}
	if last == nil || !always && time.Since(time.Unix(0, last.moved.Load())) < idleGrace {
		return
	}
	a.remove(last)
	a.refused()
	last.close()
}

// remove uncounts a connection unless that was done. The mutex is held.
func (a *admission) remove(n *applicant) {
	if n.done.Swap(true) {
		return
	}
	a.uncount(n)
}

// uncount is the opposite of put. The mutex is held.
func (a *admission) uncount(n *applicant) {
	a.count--
	delete(a.waiting[n.from], n)
	if len(a.waiting[n.from]) == 0 {
		delete(a.waiting, n.from)
	}
}

func (n *applicant) progress() {
	if !n.done.Load() {
		n.moved.Store(time.Now().UnixNano())
	}
}

// leave is called when the connection has become a peer, or has ended.
func (n *applicant) leave() {
	if n.done.Load() {
		return
	}
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	n.of.remove(n)
}

// admitted is the scope of a connection. It calls applicant.leave when the connection has
// become a peer or has ended.
type admitted struct {
	network.ConnManagementScope
	applicant *applicant
}

var _ network.ConnManagementScope = (*admitted)(nil)

func (s *admitted) SetPeer(p peer.ID) error {
	err := s.ConnManagementScope.SetPeer(p)
	if err == nil {
		s.applicant.leave()
	}
	return err
}

func (s *admitted) Done() {
	s.applicant.leave()
	s.ConnManagementScope.Done()
}
