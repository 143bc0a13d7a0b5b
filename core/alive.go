package core

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"

	"github.com/tombolo-net/tombolo/core/liveness"
)

// ErrResting is returned by calls that need a connection while the node is suspended: see
// Node.Rest.
var ErrResting = errors.New("the node is suspended; call Wake before connecting")

// Rest closes all connections, those through relays first, so that no peer and no relay
// thinks the node is still online. Call it before the machine sleeps, or a page is
// frozen. Everything that is registered stays (subscriptions, listeners, handlers). With
// Options.Gate, no connection is made or accepted until Wake, and calls that need one
// fail with ErrResting.
//
// Rest first calls the functions given to BeforeRest, and returns when all connections
// are closed. A connection that is still being made is closed as soon as it is made,
// even after Wake. If Wake is called in the meantime, the node is not suspended.
func (n *Node) Rest() {
	if !n.leave() {
		return
	}
	n.rest.Begin()
	if n.reservations != nil {
		n.reservations.Rest()
	}
	n.rest.CloseAll()
}

// leaveLimit bounds the time that the functions given to BeforeRest may take together.
const leaveLimit = 2 * time.Second

// leaving holds the functions given to BeforeRest.
type leaving struct {
	mu    sync.Mutex
	calls map[*func(context.Context)]struct{}
	wakes int // how often Wake was called
}

// BeforeRest registers f to be called at the beginning of each Rest, while the node still
// has its connections, for example to hand over what others should continue. Rest waits
// for f to return. The context of f ends after two seconds, which all such functions
// share.
func (n *Node) BeforeRest(f func(context.Context)) (remove func()) {
	l := &n.leaving
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls == nil {
		l.calls = make(map[*func(context.Context)]struct{})
	}
	l.calls[&f] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.calls, &f)
	}
}

// leave calls the functions given to BeforeRest. It reports whether the node should still
// be suspended: not if Wake was called meanwhile.
func (n *Node) leave() bool {
	l := &n.leaving
	l.mu.Lock()
	calls, wakes := slices.Collect(maps.Keys(l.calls)), l.wakes
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), leaveLimit)
	defer cancel()
	for _, f := range calls {
		(*f)(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wakes == wakes
}

// Resting reports whether the node is suspended.
func (n *Node) Resting() bool { return n.rest.Is() }

// Wake ends a Rest. It also tells the node that the network may be back, or that the
// machine slept: the node retries its relays at once, searches for the mesh, and gives
// every peer five seconds to answer. It closes the connections of peers that do not,
// because a peer may have closed its end during the sleep. Wake returns at once. A node
// wakes by itself after a sleep, and when the machine loses an address that a connection
// uses.
func (n *Node) Wake() {
	n.leaving.mu.Lock()
	n.leaving.wakes++
	n.leaving.mu.Unlock()
	n.rest.End()
	if n.reservations != nil {
		n.reservations.Wake()
	}
	n.discovery.Wake()
	n.ghosts.Doubt()
}

// Ping measures the round trip to a peer with libp2p's ping protocol, connecting first
// if needed.
func (n *Node) Ping(ctx context.Context, p peer.ID) (time.Duration, error) {
	if err := n.connect(ctx, peer.AddrInfo{ID: p}); err != nil {
		return 0, fmt.Errorf("ping: %w", err)
	}
	took, err := liveness.Ping(ctx, PreferNewest(n.host), p)
	if err != nil {
		return 0, fmt.Errorf("ping %s: %w", p, err)
	}
	return took, nil
}

// latecomersPart closes the connections that a rest missed.
func (n *Node) latecomersPart() Part {
	p := n.onConnected("latecomers", n.rest.Connected)
	stop := p.Close
	p.Close = func() error {
		defer n.rest.Wait()
		return stop()
	}
	return p
}

// pingParts answer pings, and measure the round trips to peers at the given interval. If
// it is negative, they only answer.
func (n *Node) pingParts(interval time.Duration) []Part {
	serve := Part{Name: "ping", Start: func(context.Context) error {
		ping.NewPingService(n.host)
		return nil
	}}
	if interval < 0 {
		return []Part{serve}
	}
	pinger := liveness.NewPinger(PreferNewest(n.host), interval, n.log)
	return []Part{serve, task("round trips", pinger.Run), n.onConnected("new round trips", pinger.Connected)}
}

// wakeParts wake the node when the machine slept, and when it loses an address that a
// connection uses.
func (n *Node) wakeParts() []Part {
	wake := func(why string, args ...any) {
		if !n.Resting() {
			n.log.Info(why, args...)
			n.Wake()
		}
	}
	return []Part{
		task("clocks", func(ctx context.Context) {
			liveness.WatchClocks(ctx, func(since time.Time) { wake("the clocks say that the machine slept", "since", since) })
		}),
		task("addresses", func(ctx context.Context) {
			liveness.WatchAddresses(ctx, n.host, func(addr net.IP) { wake("this machine lost an address that a connection uses", "addr", addr) })
		}),
	}
}

// ghostsParts close connections whose far end no longer answers.
func (n *Node) ghostsParts() []Part {
	return []Part{task("ghosts", n.ghosts.Run), n.onConnected("peers that are back", n.ghosts.Connected)}
}
