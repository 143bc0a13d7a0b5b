package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
)

// The wait between two dials of another relay doubles with each failure and is
// then jittered down by up to a half.
const (
	peerMinBackoff  = 500 * time.Millisecond
	peerMaxBackoff  = 30 * time.Second
	peerDialTimeout = 20 * time.Second // all its addresses
	peerTag         = "tombolo-relay"
)

var errPeerLeft = errors.New("the connection ended")

// peers keeps a relay connected to others, which makes them one mesh.
type peers struct {
	host    host.Host
	log     *slog.Logger
	changes event.Subscription
	stop    context.CancelFunc
	running sync.WaitGroup
}

// checkPeers says whether each of them can be dialled.
func checkPeers(others []peer.AddrInfo) error {
	for _, p := range others {
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
	ctx, stop := context.WithCancel(context.Background())
	p := &peers{host: h, log: log, changes: changes, stop: stop}
	left := make(map[peer.ID]chan struct{}, len(others))
	for _, other := range others {
		if _, twice := left[other.ID]; twice {
			continue
		}
		gone := make(chan struct{}, 1)
		left[other.ID] = gone
		p.running.Go(func() { p.keep(ctx, other, gone) })
	}
	p.running.Go(func() { p.watch(left) })
	return p, nil
}

// close ends it and waits for its goroutines. The connections stay.
func (p *peers) close() error {
	p.stop()
	err := p.changes.Close()
	p.running.Wait()
	return err
}

// watch tells the keepers whose relay has left.
func (p *peers) watch(left map[peer.ID]chan struct{}) {
	for ev := range p.changes.Out() {
		change := ev.(event.EvtPeerConnectednessChanged)
		gone, ok := left[change.Peer]
		if !ok || change.Connectedness == network.Connected {
			continue
		}
		select {
		case gone <- struct{}{}:
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
