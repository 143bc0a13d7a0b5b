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
	// aliveEvery and aliveTimeout are yamux's own: what a connection without
	// yamux is held to, so that nobody lives on here for more than their sum.
	aliveEvery   = 30 * time.Second
	aliveTimeout = 10 * time.Second

	// doubtTimeout is how long a sign of life may take where there is a reason for
	// doubt: after a sleep, and of the older connections of a peer that came anew.
	doubtTimeout = 5 * time.Second
)

// Ghosts closes the connections at whose far end nobody is any more.
//
// TCP and WebSocket carry yamux, whose keep-alive the node at the far end answers,
// and a QUIC connection ends with its process. Of WebTransport and WebRTC the
// browser answers the keep-alives, for a page that is frozen and a worker that is
// stuck as well, so that this asks for a sign of life of the node itself. And when a
// peer makes a new connection while it has others, those are asked at once: a tab
// that was killed and is back would lose what goes to the old one. So are all after a
// sleep: see Doubt.
type Ghosts struct {
	host   host.Host
	log    *slog.Logger
	closed *prometheus.CounterVec
	back   chan peer.ID  // came anew
	doubt  chan struct{} // has all peers asked
}

// NewGhosts looks for the ghosts of h, once Run is called.
func NewGhosts(h host.Host, log *slog.Logger) *Ghosts {
	return &Ghosts{
		host:  h,
		log:   log,
		back:  make(chan peer.ID, 256),
		doubt: make(chan struct{}, 1),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tombolo_ghosts_total",
			Help: "Connections closed because nobody answered at their far end: those of peers that had come anew, those that were asked after a sleep, and all others.",
		}, []string{"reason"}),
	}
}

// Metrics are the connections that were closed, by reason.
func (g *Ghosts) Metrics() prometheus.Collector { return g.closed }

// Doubt has every peer asked for a sign of life, for which it has five seconds. It
// returns at once.
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
		default: // its older connections have their keep-alive
		}
	}
}

// Run looks for ghosts until ctx ends.
func (g *Ghosts) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for _, run := range []func(context.Context){g.watch, g.woken, g.round} {
		running.Go(func() { run(ctx) })
	}
}

// watch asks for the older connections of peers that came anew.
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

// woken asks all when there is a doubt.
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

// round asks all that nothing else finds out, time and again. A round that takes
// longer than the time between two, with thousands that are silent, puts off the
// next.
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
		g.log.Info("closed a connection at whose far end nobody answers", "peer", c.RemotePeer(), "addr", c.RemoteMultiaddr())
	}
}

// selfKept says that the keep-alive of a connection is the node's: no browser answers
// it for a page that does not run.
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
