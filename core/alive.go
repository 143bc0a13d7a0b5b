package core

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"

	"github.com/tombolo-net/tombolo/core/liveness"
)

// ErrResting is returned by what has to connect, of a node at rest: see
// Node.Rest.
var ErrResting = errors.New("the node is at rest and makes no connection before it is woken")

// Rest ends all connections, those through relays before those to them, so that
// no peer and no relay takes the node for there when it is not: for a machine
// about to sleep, or a page about to be frozen. All that is registered stays
// (subscriptions, listeners, handlers). With Options.Gate no connection is made or
// taken until Wake, and what needs one fails with ErrResting. It returns when all
// connections are closed. One that is still being made is closed as soon as it is
// made, also when that is after Wake.
func (n *Node) Rest() {
	n.rest.Begin()
	if n.reservations != nil {
		n.reservations.Rest()
	}
	n.rest.CloseAll()
}

// Resting says whether the node is at rest.
func (n *Node) Resting() bool { return n.rest.Is() }

// Wake ends a Rest, and tells the node that the network may be back or that the
// machine slept: relays that were waiting out a back-off are tried at once, the
// mesh is looked for, and every peer has five seconds to give a sign of life, or
// its connection is closed, for what noticed nothing of a sleep may be long gone
// at the other end. It returns at once. A node wakes by itself after a sleep, and when
// the machine loses an address that a connection uses.
func (n *Node) Wake() {
	n.rest.End()
	if n.reservations != nil {
		n.reservations.Wake()
	}
	n.discovery.Wake()
	n.ghosts.Doubt()
}

// Ping measures the round trip to a peer with libp2p's ping protocol,
// connecting first where needed.
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

// pingParts answer pings, and measure the round trips to peers at that interval; if it
// is negative, they only answer.
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

// ghostsParts close the connections at whose far end nobody is any more.
func (n *Node) ghostsParts() []Part {
	return []Part{task("ghosts", n.ghosts.Run), n.onConnected("peers that are back", n.ghosts.Connected)}
}
