package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core"
)

// The wait between two dials of another relay doubles with each failure, and is then
// randomly shortened by up to half.
const (
	peerMinBackoff  = 500 * time.Millisecond
	peerMaxBackoff  = 30 * time.Second
	peerDialTimeout = 20 * time.Second // for all its addresses
	peerTag         = "tombolo-relay"
)

// knownProtocol is the protocol by which a relay asks another that it keeps connected to
// whether that one does the same: the other sends "known" or "stranger", and closes the
// stream. A relay trusts only those that it names itself, by ID, which the connection
// proves. A relay that names another but is not named by it is most likely misconfigured.
const (
	knownProtocol  protocol.ID = "/tombolo/relay-peer/1.0.0"
	knownTimeout               = 10 * time.Second
	answerKnown                = "known\n"
	answerStranger             = "stranger\n"
)

var errPeerLeft = errors.New("the connection ended")

// peers keeps a relay connected to others, which makes them one mesh.
type peers struct {
	host    host.Host
	log     *slog.Logger
	changes event.Subscription
	ctx     context.Context // ends with close
	stop    context.CancelFunc
	running sync.WaitGroup

	mu   sync.Mutex
	kept map[peer.ID]*kept
}

// kept is another relay that is kept connected.
type kept struct {
	peer.AddrInfo
	gone chan struct{} // holds a token after it has left
	stop context.CancelFunc
}

// checkPeers returns an error if one of the relays has no valid ID or no address.
func checkPeers(others []peer.AddrInfo) error {
	for _, p := range others {
		if err := p.ID.Validate(); err != nil {
			return fmt.Errorf("a relay to keep connected to, at %s, has no ID: %w", p.Addrs, err)
		}
		if len(p.Addrs) == 0 {
			return fmt.Errorf("the relay %s to keep connected to has no address", p.ID)
		}
	}
	return nil
}

// without leaves out the relay itself, so that all relays can be given one list.
func without(self peer.ID, others []peer.AddrInfo) []peer.AddrInfo {
	return slices.DeleteFunc(slices.Clone(others), func(p peer.AddrInfo) bool { return p.ID == self })
}

// keepPeers begins to keep h connected to others.
func keepPeers(h host.Host, others []peer.AddrInfo, log *slog.Logger) (*peers, error) {
	changes, err := h.EventBus().Subscribe(new(event.EvtPeerConnectednessChanged), eventbus.Name("relay peers"), eventbus.BufSize(256))
	if err != nil {
		return nil, fmt.Errorf("keep connected to other relays: %w", err)
	}
	p := &peers{host: h, log: log, changes: changes, kept: make(map[peer.ID]*kept)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.running.Go(p.watch)
	h.SetStreamHandler(knownProtocol, p.answer)
	p.set(others)
	return p, nil
}

// set changes which relays are kept connected. It closes no connections.
func (p *peers) set(others []peer.AddrInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := make(map[peer.ID]peer.AddrInfo, len(others))
	for _, other := range others {
		wanted[other.ID] = other
	}
	for id, k := range p.kept {
		if other, still := wanted[id]; !still || !slices.EqualFunc(other.Addrs, k.Addrs, ma.Multiaddr.Equal) {
			k.stop()
			delete(p.kept, id)
		}
	}
	for id, other := range wanted {
		if p.kept[id] != nil || p.ctx.Err() != nil {
			continue
		}
		ctx, stop := context.WithCancel(p.ctx)
		k := &kept{AddrInfo: other, gone: make(chan struct{}, 1), stop: stop}
		p.kept[id] = k
		p.running.Go(func() {
			defer stop()
			p.keep(ctx, k.AddrInfo, k.gone)
		})
	}
}

// close stops keeping connections, and waits for its goroutines. Open connections stay.
func (p *peers) close() error {
	p.mu.Lock()
	p.stop()
	p.mu.Unlock()
	p.host.RemoveStreamHandler(knownProtocol)
	err := p.changes.Close()
	p.running.Wait()
	return err
}

// watch wakes the keeper of a relay whose connection ended.
func (p *peers) watch() {
	for ev := range p.changes.Out() {
		change := ev.(event.EvtPeerConnectednessChanged)
		p.mu.Lock()
		k := p.kept[change.Peer]
		p.mu.Unlock()
		if k == nil || change.Connectedness == network.Connected {
			continue
		}
		select {
		case k.gone <- struct{}{}:
		default:
		}
	}
}

// keep dials one relay whenever it is not connected, until ctx ends.
func (p *peers) keep(ctx context.Context, other peer.AddrInfo, gone <-chan struct{}) {
	p.host.ConnManager().Protect(other.ID, peerTag)
	defer p.host.ConnManager().Unprotect(other.ID, peerTag)
	backoff := peerMinBackoff
	for {
		err := p.dial(ctx, other)
		if err == nil {
			p.log.Info("another relay is connected", "relay", other.ID)
			p.compare(ctx, other.ID)
			backoff = peerMinBackoff
			select {
			case <-gone:
				err = errPeerLeft
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return
		}
		wait := backoff - rand.N(backoff/2)
		backoff = min(2*backoff, peerMaxBackoff)
		p.log.Info("another relay is not connected", "relay", other.ID, "error", err, "retry", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

func (p *peers) dial(ctx context.Context, other peer.AddrInfo) error {
	if s, ok := p.host.Network().(interface{ Backoff() *swarm.DialBackoff }); ok {
		s.Backoff().Clear(other.ID) // we back off by ourselves, in shorter steps
	}
	ctx, cancel := context.WithTimeout(network.WithForceDirectDial(ctx, "a relay"), peerDialTimeout)
	defer cancel()
	return p.host.Connect(ctx, other)
}

// answer tells another relay whether this one keeps connected to it.
func (p *peers) answer(s network.Stream) {
	p.mu.Lock()
	said := answerStranger
	if p.kept[s.Conn().RemotePeer()] != nil {
		said = answerKnown
	}
	p.mu.Unlock()
	_ = s.SetWriteDeadline(time.Now().Add(knownTimeout))
	if _, err := io.WriteString(s, said); err != nil {
		_ = s.Reset()
		return
	}
	_ = s.Close()
}

// compare warns if another relay does not name this one.
func (p *peers) compare(ctx context.Context, other peer.ID) {
	ctx, cancel := context.WithTimeout(ctx, knownTimeout)
	defer cancel()
	s, err := core.PreferNewest(p.host).NewStream(ctx, other, knownProtocol)
	if err != nil {
		p.log.Debug("another relay does not say whether it names this one", "relay", other, "error", err)
		return
	}
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	said, err := io.ReadAll(io.LimitReader(s, int64(len(answerStranger))))
	_ = s.Close()
	switch {
	case err != nil || string(said) != answerKnown && string(said) != answerStranger:
		p.log.Debug("another relay does not say whether it names this one", "relay", other, "error", err)
	case string(said) == answerStranger:
		p.log.Warn("another relay takes this one for a stranger, with the limits of a peer: its operator must name it with --peer", "relay", other, "this", p.host.ID())
	}
}
