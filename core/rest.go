package core

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
)

// ErrResting is returned by what has to connect, of a node at rest: see
// Node.Rest.
var ErrResting = errors.New("the node is at rest and makes no connection before it is woken")

const (
	// goodbyeTimeout is how long the connections through relays may take to close
	// before those to the relays are closed under them.
	goodbyeTimeout = time.Second

	// asksAtOnce bounds the peers that are asked at the same time. A thousand that
	// are silent take a thousand goroutines and, over TCP, 3.5 MiB of heap.
	asksAtOnce = 1024

	// sleepTick is how often the clocks are compared.
	sleepTick = 5 * time.Second

	// sleepDrift is how far the wall clock may run ahead of the monotonic one in
	// a tick. On most systems the latter stands still while the machine sleeps.
	sleepDrift = 5 * time.Second

	// sleepLate is how late a tick may be where both clocks run on. Browsers let
	// the timers of a hidden tab run once a minute, which is no sleep.
	sleepLate = 75 * time.Second
)

// Gate is what keeps a host from making and taking connections while its node is
// at rest. It is the host's connection gater, and one of the node's Options.
type Gate struct{ shut atomic.Bool }

var _ connmgr.ConnectionGater = (*Gate)(nil)

func (g *Gate) InterceptPeerDial(peer.ID) bool               { return !g.shut.Load() }
func (g *Gate) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return !g.shut.Load() }
func (g *Gate) InterceptAccept(network.ConnMultiaddrs) bool  { return !g.shut.Load() }
func (g *Gate) InterceptSecured(network.Direction, peer.ID, network.ConnMultiaddrs) bool {
	return !g.shut.Load()
}

// InterceptUpgraded ends a connection that was being made when the gate was shut.
func (g *Gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) {
	return !g.shut.Load(), 0
}

// Rest ends all connections, those through relays before those to them, so that
// no peer and no relay takes the node for there when it is not: for a machine
// about to sleep, or a page about to be frozen. All that is registered stays
// (subscriptions, listeners, handlers). With Options.Gate no connection is made or
// taken until Wake, and what needs one fails with ErrResting. It returns when all
// connections are closed. One that is still being made is closed as soon as it is
// made, also when that is after Wake.
func (n *Node) Rest() {
	n.gate.shut.Store(true)
	now := time.Now()
	n.rested.Store(&now)
	if n.reservations != nil {
		n.reservations.Rest()
	}
	var circuits, direct []network.Conn
	for _, c := range n.host.Network().Conns() {
		if isCircuit(c.RemoteMultiaddr()) {
			circuits = append(circuits, c)
		} else {
			direct = append(direct, c)
		}
	}
	closed := closeAll(circuits)
	select { // they say goodbye through the relay
	case <-closed:
	case <-time.After(goodbyeTimeout):
	}
	<-closeAll(direct)
	<-closed
}

// closeAll begins to close connections, all at once. When all are, closed is.
func closeAll(conns []network.Conn) (closed <-chan struct{}) {
	var closing sync.WaitGroup
	for _, c := range conns {
		closing.Go(func() { _ = c.Close() })
	}
	done := make(chan struct{})
	go func() {
		closing.Wait()
		close(done)
	}()
	return done
}

// latecomersPart closes the connections that a rest missed because the host did not
// list them yet. The gate had let them in before it was shut.
func (n *Node) latecomersPart() Part {
	var closing sync.WaitGroup
	p := n.onConnected("latecomers", func(c network.Conn) {
		rested := n.rested.Load()
		if n.Resting() || rested != nil && !c.Stat().Opened.After(*rested) {
			closing.Go(func() { _ = c.Close() })
		}
	})
	stop := p.Close
	p.Close = func() error {
		defer closing.Wait()
		return stop()
	}
	return p
}

// Resting says whether the node is at rest.
func (n *Node) Resting() bool { return n.gate.shut.Load() }

// Wake ends a Rest, and tells the node that the network may be back or that the
// machine slept: relays that were waiting out a back-off are tried at once, the
// mesh is looked for, and every peer has five seconds to give a sign of life, or
// its connection is closed, for what noticed nothing of a sleep may be long gone
// at the other end. It returns at once. A node wakes by itself after a sleep, and when
// the machine loses an address that a connection uses.
func (n *Node) Wake() {
	n.gate.shut.Store(false)
	if n.reservations != nil {
		n.reservations.Wake()
	}
	n.discovery.Wake()
	select {
	case n.doubt <- struct{}{}:
	default: // a round is due already
	}
}

// clocksPart wakes the node when the machine slept.
func (n *Node) clocksPart() Part {
	return task("clocks", n.watchClocks)
}

func (n *Node) watchClocks(ctx context.Context) {
	tick := time.NewTicker(sleepTick)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-tick.C:
			now := time.Now()
			if slept(now.Round(0).Sub(last.Round(0)), now.Sub(last)) && !n.Resting() {
				n.log.Info("the clocks say that the machine slept", "since", last)
				n.Wake()
			}
			last = now
		case <-ctx.Done():
			return
		}
	}
}

// slept says whether the machine slept in a tick that took so long by the wall
// clock, and so long by the monotonic one.
func slept(wall, ran time.Duration) bool {
	return wall-ran > sleepDrift || ran > sleepTick+sleepLate
}

// CloseSilent asks the far ends of connections, up to 1024 at once, for a sign of
// life: it takes as long as the timeout for each 1024 that give none. Those that
// give none within the timeout are closed, and returned. Any answer is one: a peer
// need not know the ping protocol, and may refuse the stream. It ends early with
// ctx, which closes none.
func CloseSilent(ctx context.Context, conns []network.Conn, timeout time.Duration) []network.Conn {
	var mu sync.Mutex
	var silent []network.Conn
	var asking sync.WaitGroup
	slots := make(chan struct{}, asksAtOnce)
	for _, c := range conns {
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			if answers(ctx, c, timeout) || ctx.Err() != nil || c.IsClosed() {
				return
			}
			mu.Lock()
			silent = append(silent, c)
			mu.Unlock()
			_ = c.Close()
		})
	}
	asking.Wait()
	return silent
}

// answers says whether the far end of a connection gives a sign of life.
func answers(ctx context.Context, c network.Conn, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s, err := c.NewStream(network.WithAllowLimitedConn(ctx, "a sign of life"))
	if err != nil {
		return true // nothing was asked: it has just ended, or allows no further stream
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	_ = multistream.SelectProtoOrFail(ping.ID, s)
	// However that ended before the time was up, the far end had it so, or the
	// connection has ended by itself.
	answered := stop()
	_ = s.Close()
	return answered
}
