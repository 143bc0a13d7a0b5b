package core

import (
	"context"
	"slices"
	"sync"
	"time"

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

// ghosts closes the connections at whose far end nobody is any more.
//
// TCP and WebSocket carry yamux, whose keep-alive the node at the far end answers,
// and a QUIC connection ends with its process. Of WebTransport and WebRTC the
// browser answers the keep-alives, for a page that is frozen and a worker that is
// stuck as well, so that this asks for a sign of life of the node itself. And when a
// peer makes a new connection while it has others, those are asked at once: a tab
// that was killed and is back would lose what goes to the old one. So are all when
// the node is woken: see Wake.
type ghosts struct {
	node   *Node
	closed *prometheus.CounterVec
	back   chan peer.ID // came anew
}

func newGhosts(n *Node) *ghosts {
	return &ghosts{
		node: n,
		back: make(chan peer.ID, 256),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tombolo_ghosts_total",
			Help: "Connections closed because nobody answered at their far end: those of peers that had come anew, those that were asked after a sleep, and all others.",
		}, []string{"reason"}),
	}
}

func (g *ghosts) parts() []Part {
	return []Part{
		task("ghosts", g.watch, g.woken, g.round),
		g.node.onConnected("peers that are back", g.connected),
	}
}

func (g *ghosts) connected(c network.Conn) {
	if p := c.RemotePeer(); len(g.node.host.Network().ConnsToPeer(p)) > 1 {
		select {
		case g.back <- p:
		default: // its older connections have their keep-alive
		}
	}
}

// watch asks for the older connections of peers that came anew.
func (g *ghosts) watch(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	for {
		select {
		case p := <-g.back:
			conns := g.node.host.Network().ConnsToPeer(p)
			if len(conns) < 2 {
				continue // some have ended since
			}
			latest := slices.MaxFunc(conns, func(a, b network.Conn) int { return a.Stat().Opened.Compare(b.Stat().Opened) })
			old := keep(conns, func(c network.Conn) bool { return c != latest })
			asking.Go(func() { g.ask(ctx, "a peer that is back", old, doubtTimeout) })
		case <-ctx.Done():
			return
		}
	}
}

// woken asks all when the node is woken.
func (g *ghosts) woken(ctx context.Context) {
	for {
		select {
		case <-g.node.doubt:
			g.ask(ctx, "a sleep", g.node.host.Network().Conns(), doubtTimeout)
		case <-ctx.Done():
			return
		}
	}
}

// round asks all that nothing else finds out, time and again. A round that takes
// longer than the time between two, with thousands that are silent, puts off the
// next.
func (g *ghosts) round(ctx context.Context) {
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			g.ask(ctx, "others", keep(g.node.host.Network().Conns(), browserKept), aliveTimeout)
		case <-ctx.Done():
			return
		}
	}
}

func (g *ghosts) ask(ctx context.Context, reason string, conns []network.Conn, timeout time.Duration) {
	for _, c := range CloseSilent(ctx, conns, timeout) {
		g.closed.WithLabelValues(reason).Inc()
		g.node.log.Info("closed a connection at whose far end nobody answers", "peer", c.RemotePeer(), "addr", c.RemoteMultiaddr())
	}
}

// browserKept says whether a browser may keep the connection alive for a page that
// does not run.
func browserKept(c network.Conn) bool {
	if c.Stat().Direction != network.DirInbound {
		return false // browsers only dial
	}
	for _, code := range []int{ma.P_WEBTRANSPORT, ma.P_WEBRTC_DIRECT} {
		if _, err := c.LocalMultiaddr().ValueForProtocol(code); err == nil {
			return true
		}
	}
	return false
}

func keep(conns []network.Conn, f func(network.Conn) bool) (kept []network.Conn) {
	for _, c := range conns {
		if f(c) {
			kept = append(kept, c)
		}
	}
	return kept
}
