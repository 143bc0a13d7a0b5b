package relay

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tombolo-net/tombolo/core"
)

const (
	// aliveEvery and aliveTimeout are yamux's own: what a connection without
	// yamux is held to, so that nobody lives on here for more than their sum.
	aliveEvery   = 30 * time.Second
	aliveTimeout = 10 * time.Second

	// oldTimeout is how long the older connections of a peer that came anew have
	// to give a sign of life. There is a reason for doubt.
	oldTimeout = 5 * time.Second
)

// ghosts closes the connections at whose far end nobody is any more.
//
// TCP and WebSocket carry yamux, whose keep-alive the node at the far end answers,
// and a QUIC connection ends with its process. Of WebTransport and WebRTC the
// browser answers the keep-alives, for a page that is frozen or stuck as well, so
// that the relay asks for a sign of life of the node itself. And when a peer makes a
// new connection while it has others, those are asked at once: a tab that was
// killed and is back would lose what goes to the old one.
type ghosts struct {
	host   host.Host
	log    *slog.Logger
	notify *network.NotifyBundle
	closed *prometheus.CounterVec
	forget func()       // takes closed out of the registry
	doubt  chan peer.ID // came anew
	stop   context.CancelFunc
	done   sync.WaitGroup
}

func watchGhosts(h host.Host, registry *prometheus.Registry, log *slog.Logger) (*ghosts, error) {
	g := &ghosts{host: h, log: log, doubt: make(chan peer.ID, 256)}
	g.closed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tombolo_relay_ghosts_total",
		Help: "Connections closed because nobody answered at their far end: those of peers that had come anew, and all others.",
	}, []string{"of"})
	g.forget = func() {}
	if registry != nil {
		if err := registry.Register(g.closed); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		g.forget = func() { registry.Unregister(g.closed) }
	}
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	g.notify = &network.NotifyBundle{ConnectedF: func(n network.Network, c network.Conn) {
		if p := c.RemotePeer(); len(n.ConnsToPeer(p)) > 1 {
			select {
			case g.doubt <- p:
			default: // its older connections have their keep-alive
			}
		}
	}}
	h.Network().Notify(g.notify)
	g.done.Go(func() { g.watch(ctx) })
	g.done.Go(func() { g.round(ctx) })
	return g, nil
}

// close ends it and waits for its goroutines.
func (g *ghosts) close() {
	g.host.Network().StopNotify(g.notify)
	g.stop()
	g.done.Wait()
	g.forget()
}

// watch asks for the older connections of peers that came anew.
func (g *ghosts) watch(ctx context.Context) {
	for {
		select {
		case p := <-g.doubt:
			conns := g.host.Network().ConnsToPeer(p)
			latest := newest(conns)
			old := keep(conns, func(c network.Conn) bool { return c != latest })
			g.done.Go(func() { g.ask(ctx, "a peer that is back", old, oldTimeout) })
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
			g.ask(ctx, "others", keep(g.host.Network().Conns(), browserKept), aliveTimeout)
		case <-ctx.Done():
			return
		}
	}
}

func (g *ghosts) ask(ctx context.Context, of string, conns []network.Conn, timeout time.Duration) {
	for _, c := range core.CloseSilent(ctx, conns, timeout) {
		g.closed.WithLabelValues(of).Inc()
		g.log.Info("closed a connection at whose far end nobody answers", "peer", c.RemotePeer(), "addr", c.RemoteMultiaddr())
	}
}

// browserKept says whether a browser may keep the connection alive for a page that
// does not run.
func browserKept(c network.Conn) bool {
	for _, code := range []int{ma.P_WEBTRANSPORT, ma.P_WEBRTC_DIRECT} {
		if _, err := c.LocalMultiaddr().ValueForProtocol(code); err == nil {
			return true
		}
	}
	return false
}

// newest is the connection that was made last.
func newest(conns []network.Conn) (latest network.Conn) {
	for _, c := range conns {
		if latest == nil || c.Stat().Opened.After(latest.Stat().Opened) {
			latest = c
		}
	}
	return latest
}

func keep(conns []network.Conn, f func(network.Conn) bool) (kept []network.Conn) {
	for _, c := range conns {
		if f(c) {
			kept = append(kept, c)
		}
	}
	return kept
}

// newestHost opens streams on the connection that the peer made last, whereas
// libp2p prefers the one with the most streams: of a tab that died and is back, that
// is the dead one until it is found out.
type newestHost struct{ host.Host }

func (h newestHost) NewStream(ctx context.Context, p peer.ID, protos ...protocol.ID) (network.Stream, error) {
	if conns := h.Network().ConnsToPeer(p); len(conns) > 1 {
		if s, err := openOn(ctx, newest(conns), protos); err == nil || ctx.Err() != nil {
			return s, err
		} // else it has just ended
	}
	return h.Host.NewStream(ctx, p, protos...)
}

func openOn(ctx context.Context, c network.Conn, protos []protocol.ID) (network.Stream, error) {
	s, err := c.NewStream(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	proto, err := multistream.SelectOneOf(protos, s)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = s.SetProtocol(proto)
	}
	if err != nil {
		_ = s.Reset()
		return nil, fmt.Errorf("open %v to %s: %w", protos, c.RemotePeer(), err)
	}
	return s, nil
}
