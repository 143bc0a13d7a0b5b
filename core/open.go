package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/multiformats/go-multistream"
)

// answerTimeout bounds the time in which the preferred connection to a peer must agree on
// a protocol before another one is tried. It is longer than a round trip with a lost
// packet, and shorter than the time it takes to notice that nobody answers: see
// liveness.Ghosts.
const answerTimeout = 2 * time.Second

// Open opens a stream of the given protocol to a peer, connecting first if needed (see
// ConnectPeer). It also uses circuits with limits. ctx bounds connecting and
// negotiation, not the stream. PreferNewest decides which connection is used; if that
// ends before the protocol is agreed on, Open tries another one, once.
func (n *Node) Open(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error) {
	s, lost, err := n.open(ctx, p, proto)
	if err != nil && lost && ctx.Err() == nil {
		s, _, err = n.open(ctx, p, proto)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s to %s: %w", proto, p, err)
	}
	return s, nil
}

// open opens a stream; lost reports that it failed because the connection ended.
func (n *Node) open(ctx context.Context, p peer.ID, proto protocol.ID) (s network.Stream, lost bool, err error) {
	if err := n.connect(ctx, peer.AddrInfo{ID: p}); err != nil {
		return nil, false, err
	}
	conns := n.host.Network().ConnsToPeer(p)
	s, err = PreferNewest(n.host).NewStream(network.WithAllowLimitedConn(ctx, "tombolo"), p, proto)
	if err == nil && n.direct != nil && isCircuit(s.Conn().RemoteMultiaddr()) {
		n.direct.Spoke(p)
	}
	return s, !slices.ContainsFunc(conns, func(c network.Conn) bool { return !c.IsClosed() }), err
}

// PreferNewest returns a host like h whose NewStream opens streams on the newest
// connection to the peer, and prefers direct connections to those through a relay. Libp2p
// prefers the connection with the most streams: if a peer has died and come back, that is
// the dead one until it is detected.
//
// While there are several connections, one may be dead, so NewStream waits until the peer
// has agreed on the protocol, which costs one round trip. If the connection ends
// meanwhile, or nobody answers for two seconds, NewStream tries the next one, once. With
// a single connection there is nothing to choose: h decides whether to wait, and a dead
// connection shows in the first Read. Nothing is sent on a stream before the protocol is
// agreed on, so a handler never gets the same data twice.
func PreferNewest(h host.Host) host.Host { return newestHost{h} }

type newestHost struct{ host.Host }

func (h newestHost) NewStream(ctx context.Context, p peer.ID, protos ...protocol.ID) (network.Stream, error) {
	conns := byPreference(h.Network().ConnsToPeer(p))
	if len(conns) < 2 {
		return h.Host.NewStream(ctx, p, protos...)
	}
	s, err := h.openOn(ctx, conns[0], answerTimeout, protos)
	if err == nil || ctx.Err() != nil || !conns[0].IsClosed() && !errors.Is(err, errNoAnswer) {
		return s, err
	}
	for _, c := range byPreference(h.Network().ConnsToPeer(p)) { // the peer may just have made another
		if c != conns[0] {
			return h.openOn(ctx, c, basichost.DefaultNegotiationTimeout, protos)
		}
	}
	return h.Host.NewStream(ctx, p, protos...)
}

var errNoAnswer = errors.New("nobody answers on the connection")

// openOn opens a stream on a connection and waits until the protocol is agreed
// on, for as long as limit and ctx allow.
func (h newestHost) openOn(ctx context.Context, c network.Conn, limit time.Duration, protos []protocol.ID) (network.Stream, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errNoAnswer)
	defer cancel()
	s, err := c.NewStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.ResetWithError(network.StreamProtocolNegotiationFailed) })
	proto, err := multistream.SelectOneOf(protos, s)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = s.SetProtocol(proto)
	}
	if err != nil {
		_ = s.ResetWithError(network.StreamProtocolNegotiationFailed)
		return nil, fmt.Errorf("agree on the protocol: %w", err)
	}
	_ = h.Peerstore().AddProtocols(c.RemotePeer(), proto) // if this fails, the protocol is merely not remembered
	return s, nil
}

// byPreference orders the open connections to a peer: direct ones before those through a
// relay, then the newest first, because a peer that is back made the newest.
func byPreference(conns []network.Conn) []network.Conn {
	conns = slices.DeleteFunc(conns, network.Conn.IsClosed)
	slices.SortStableFunc(conns, func(a, b network.Conn) int {
		if ra, rb := isCircuit(a.RemoteMultiaddr()), isCircuit(b.RemoteMultiaddr()); ra != rb {
			if ra {
				return 1
			}
			return -1
		}
		return b.Stat().Opened.Compare(a.Stat().Opened)
	})
	return conns
}
