package direct

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/webrtc"
)

// closeIdle closes the circuits that this end dialled, that have carried nothing but
// upkeep for the grace period, and beside which there has been a direct connection for as
// long. The streams of upkeep are opened again on the direct connection.
func (p *Policy) closeIdle(now time.Time) {
	for c := range p.idle {
		if c.IsClosed() {
			delete(p.idle, c)
		}
	}
	for _, c := range p.host.Network().Conns() {
		if !isCircuit(c) || c.Stat().Direction != network.DirOutbound || c.IsClosed() {
			continue
		}
		if p.inUse(c) {
			delete(p.idle, c)
			continue
		}
		since, known := p.idle[c]
		if !known {
			p.idle[c] = now
		} else if now.Sub(since) >= p.opts.Grace {
			_ = c.Close()
			p.mu.Lock()
			p.counts.CircuitsClosed++
			p.mu.Unlock()
		}
	}
}

// inUse reports whether a circuit is needed: there is no other connection, or it carries
// a stream, including one that is just being opened.
func (p *Policy) inUse(circuit network.Conn) bool {
	for _, s := range circuit.GetStreams() {
		if s.Protocol() == "" || !p.opts.Upkeep(s.Protocol()) {
			return true
		}
	}
	return len(p.circuitsOnly(circuit.RemotePeer())) > 0
}

// disconnected is called for every connection that ends. It does not block.
func (p *Policy) disconnected(c network.Conn) {
	if !c.RemoteMultiaddr().Equal(webrtc.Addr) || !webrtc.Lost(c) {
		return
	}
	p.mu.Lock()
	p.counts.Lost++
	p.mu.Unlock()
	if p.opts.Connect == nil || c.Stat().Direction != network.DirOutbound {
		return
	}
	select {
	case p.lost <- c.RemotePeer():
	default: // the next call that opens a stream to the peer connects
	}
}

// connectAgain connects to a peer, unless there is another connection to it.
func (p *Policy) connectAgain(ctx context.Context, id peer.ID) {
	if len(p.host.Network().ConnsToPeer(id)) > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	if err := p.opts.Connect(ctx, id); err != nil {
		p.log.Info("a peer whose direct connection was lost is not reached through a relay either", "peer", id, "error", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.CircuitsMade++
}
