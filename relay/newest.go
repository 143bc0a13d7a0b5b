package relay

import (
	"context"
	"fmt"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"

	"github.com/tombolo-net/tombolo/core"
)

// newestHost opens streams on the connection that the peer made last, whereas
// libp2p prefers the one with the most streams: of a tab that died and is back, that
// is the dead one until it is found out.
type newestHost struct{ host.Host }

func (h newestHost) NewStream(ctx context.Context, p peer.ID, protos ...protocol.ID) (network.Stream, error) {
	if conns := h.Network().ConnsToPeer(p); len(conns) > 1 {
		if s, err := openOn(ctx, core.NewestConn(conns), protos); err == nil || ctx.Err() != nil {
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
