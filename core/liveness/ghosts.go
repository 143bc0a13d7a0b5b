package liveness

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// aliveEvery and aliveTimeout are yamux's own values. They apply to connections
	// without yamux, so that none outlives its peer by more than their sum.
	aliveEvery   = 30 * time.Second
	aliveTimeout = 10 * time.Second

	// doubtTimeout is how long an answer may take if there is reason for doubt: after a
	// sleep, and on the older connections of a peer that has connected again.
	doubtTimeout = 5 * time.Second
)

// Ghosts closes the connections whose peer is gone.
//
// TCP and WebSocket carry yamux, whose keep-alive the peer's node answers, and a QUIC
// connection ends with its process. With WebTransport and WebRTC it is the browser that
// answers the keep-alives, even for a frozen page or a stuck worker, so Ghosts asks the
// node itself for an answer. When a peer that has connections makes a new one, the older
// ones are checked at once: a tab that was killed and has returned would lose what is
// sent to the old connection. After a sleep all connections are checked: see Doubt.
type Ghosts struct {
	host   host.Host
	log    *slog.Logger
	closed *prometheus.CounterVec
	back   chan peer.ID  // peers that have connected again
	doubt  chan struct{} // starts a check of all peers
}

// NewGhosts makes a Ghosts for h. It does nothing before Run.
func NewGhosts(h host.Host, log *slog.Logger) *Ghosts {
	return &Ghosts{
		host:  h,
		log:   log,
		back:  make(chan peer.ID, 256),
		doubt: make(chan struct{}, 1),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tombolo_ghosts_total",
			Help: "Connections closed because the peer did not answer: those of peers that had come anew, those that were asked after a sleep, and all others.",
		}, []string{"reason"}),
	}
}

// Metrics returns the counter of connections that were closed, by reason.
func (g *Ghosts) Metrics() prometheus.Collector { return g.closed }

// Doubt checks every connection; a peer has five seconds to answer. Doubt returns at
// once.
func (g *Ghosts) Doubt() {
	select {
	case g.doubt <- struct{}{}:
	default: // a round is due already
	}
}

// Connected must be called for each new connection.
func (g *Ghosts) Connected(c network.Conn) {
	if p := c.RemotePeer(); len(g.host.Network().ConnsToPeer(p)) > 1 {
		select {
		case g.back <- p:
		default: // the keep-alive covers its older connections
		}
	}
}

// Run closes connections whose peer is gone, until ctx ends.
func (g *Ghosts) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for _, run := range []func(context.Context){g.watch, g.woken, g.round} {
		running.Go(func() { run(ctx) })
	}
}

// watch checks the older connections of peers that have connected again.
func (g *Ghosts) watch(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	for {
		select {
		case p := <-g.back:
			conns := g.host.Network().ConnsToPeer(p)
			if len(conns) < 2 {
				continue // some have ended since
			}
			latest := slices.MaxFunc(conns, func(a, b network.Conn) int { return a.Stat().Opened.Compare(b.Stat().Opened) })
			old := slices.DeleteFunc(conns, func(c network.Conn) bool { return c == latest })
			asking.Go(func() { g.ask(ctx, "a peer that is back", old, doubtTimeout) })
		case <-ctx.Done():
			return
		}
	}
}

// woken checks all connections after Doubt.
func (g *Ghosts) woken(ctx context.Context) {
	for {
		select {
		case <-g.doubt:
			g.ask(ctx, "a sleep", g.host.Network().Conns(), doubtTimeout)
		case <-ctx.Done():
			return
		}
	}
}

// round checks, every aliveEvery, the connections whose loss nothing else detects. If a
// round takes longer than that, because thousands are silent, the next one is delayed.
func (g *Ghosts) round(ctx context.Context) {
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			g.ask(ctx, "others", slices.DeleteFunc(g.host.Network().Conns(), selfKept), aliveTimeout)
		case <-ctx.Done():
			return
		}
	}
}

func (g *Ghosts) ask(ctx context.Context, reason string, conns []network.Conn, timeout time.Duration) {
	for _, c := range CloseSilent(ctx, conns, timeout) {
		g.closed.WithLabelValues(reason).Inc()
		g.log.Info("closed a connection whose peer does not answer", "peer", c.RemotePeer(), "addr", c.RemoteMultiaddr())
	}
}

// selfKept reports whether the peer's node answers the keep-alive of a connection, and
// not a browser for a page that does not run.
func selfKept(c network.Conn) bool {
	if c.Stat().Direction != network.DirInbound {
		return true // browsers only dial
	}
	for _, code := range []int{ma.P_WEBTRANSPORT, ma.P_WEBRTC_DIRECT} {
		if _, err := c.LocalMultiaddr().ValueForProtocol(code); err == nil {
			return false
		}
	}
	return true
}
