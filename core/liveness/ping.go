package liveness

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
)

const (
	// DefaultPingInterval is the time between two measurements of the round-trip time to
	// a connected peer.
	DefaultPingInterval = 15 * time.Second

	// pingTimeout bounds one measurement. A ping that fails does not close the
	// connection: a busy connection may be slow, and the transports notice a dead one.
	pingTimeout = 10 * time.Second

	// pingsAtOnce bounds the measurements in progress.
	pingsAtOnce = 16
)

// Ping measures the round-trip time to a peer once, with libp2p's ping protocol. The
// peerstore of h averages the results.
func Ping(ctx context.Context, h host.Host, p peer.ID) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx) // cancelled to end the stream after one round
	defer cancel()
	select {
	case r := <-ping.Ping(ctx, h, p):
		if r.Error != nil && ctx.Err() != nil {
			r.Error = ctx.Err() // its own error is only how it noticed that
		}
		return r.RTT, r.Error
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Pinger keeps measuring the round-trip times to the connected peers of a host.
type Pinger struct {
	host     host.Host
	log      *slog.Logger
	interval time.Duration
	fresh    chan peer.ID // newly connected peers, measured at once
}

// NewPinger makes a Pinger that measures at the given interval. It does nothing before
// Run.
func NewPinger(h host.Host, interval time.Duration, log *slog.Logger) *Pinger {
	return &Pinger{host: h, log: log, interval: interval, fresh: make(chan peer.ID, pingsAtOnce)}
}

// Connected must be called for each new connection.
func (p *Pinger) Connected(c network.Conn) {
	select {
	case p.fresh <- c.RemotePeer():
	default: // many at once: the next round measures them
	}
}

// Run measures until ctx ends.
func (p *Pinger) Run(ctx context.Context) {
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
			due = p.host.Network().Peers()
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

func (p *Pinger) measure(ctx context.Context, id peer.ID) {
	ctx, cancel := context.WithTimeout(network.WithNoDial(ctx, "measuring"), pingTimeout)
	defer cancel()
	if _, err := Ping(ctx, p.host, id); err != nil {
		p.log.Debug("ping failed", "peer", id, "error", err)
	}
}
