package core

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
)

const (
	// DefaultPingInterval is the time between two measurements of the round
	// trip to a connected peer.
	DefaultPingInterval = 15 * time.Second

	// pingTimeout bounds one measurement. A ping that fails closes nothing: a
	// busy connection may be slow, and the transports notice a dead one.
	pingTimeout = 10 * time.Second

	// pingsAtOnce bounds the measurements under way.
	pingsAtOnce = 16
)

// Ping measures the round trip to a peer with libp2p's ping protocol,
// connecting first where needed.
func (n *Node) Ping(ctx context.Context, p peer.ID) (time.Duration, error) {
	if err := n.connect(ctx, peer.AddrInfo{ID: p}); err != nil {
		return 0, fmt.Errorf("ping: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx) // ends the stream after one round
	defer cancel()
	select {
	case r := <-ping.Ping(ctx, PreferNewest(n.host), p):
		if r.Error != nil && ctx.Err() != nil {
			r.Error = ctx.Err() // what it failed with is how it noticed
		}
		if r.Error != nil {
			return 0, fmt.Errorf("ping %s: %w", p, r.Error)
		}
		return r.RTT, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("ping %s: %w", p, ctx.Err())
	}
}

// pinger answers pings and keeps the round trips in the peerstore fresh.
type pinger struct {
	node     *Node
	interval time.Duration // negative: never by itself
	fresh    chan peer.ID  // newly connected: measured at once
}

func newPinger(n *Node, interval time.Duration) *pinger {
	return &pinger{node: n, interval: interval, fresh: make(chan peer.ID, pingsAtOnce)}
}

func (p *pinger) parts() []Part {
	serve := Part{Name: "ping", Start: func(context.Context) error {
		ping.NewPingService(p.node.host)
		return nil
	}}
	if p.interval < 0 {
		return []Part{serve}
	}
	return []Part{
		serve,
		task("round trips", p.run),
		p.node.onConnected("new round trips", func(c network.Conn) {
			select {
			case p.fresh <- c.RemotePeer():
			default: // many at once: the next round measures them
			}
		}),
	}
}

func (p *pinger) run(ctx context.Context) {
	var measuring sync.WaitGroup
	defer measuring.Wait()
	tick := time.NewTicker(p.interval)
	defer tick.Stop()
	slots := make(chan struct{}, pingsAtOnce)
	for {
		var due []peer.ID
		select {
		case <-ctx.Done():
			return
		case id := <-p.fresh:
			due = []peer.ID{id}
		case <-tick.C:
			due = p.node.host.Network().Peers()
		}
		for _, id := range due {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			measuring.Go(func() {
				defer func() { <-slots }()
				p.measure(ctx, id)
			})
		}
	}
}

func (p *pinger) measure(ctx context.Context, id peer.ID) {
	ctx, cancel := context.WithTimeout(network.WithNoDial(ctx, "measuring"), pingTimeout)
	defer cancel()
	if _, err := p.node.Ping(ctx, id); err != nil {
		p.node.log.Debug("ping failed", "peer", id, "error", err)
	}
}
