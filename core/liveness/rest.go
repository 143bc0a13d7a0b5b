package liveness

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// goodbyeTimeout is how long the connections through relays may take to close before the
// connections to the relays are closed.
const goodbyeTimeout = time.Second

// Gate keeps a host from making and accepting connections while its node is suspended. It
// is the host's connection gater.
type Gate struct{ shut atomic.Bool }

var _ connmgr.ConnectionGater = (*Gate)(nil)

func (g *Gate) InterceptPeerDial(peer.ID) bool               { return !g.shut.Load() }
func (g *Gate) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return !g.shut.Load() }
func (g *Gate) InterceptAccept(network.ConnMultiaddrs) bool  { return !g.shut.Load() }
func (g *Gate) InterceptSecured(network.Direction, peer.ID, network.ConnMultiaddrs) bool {
	return !g.shut.Load()
}

// InterceptUpgraded refuses a connection that was being made when the gate was shut.
func (g *Gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) {
	return !g.shut.Load(), 0
}

// Rest suspends a host: during a rest it has no connections. All methods may be called
// concurrently.
type Rest struct {
	host    host.Host
	gate    *Gate
	began   atomic.Pointer[time.Time] // when the last rest began; nil before the first
	closing sync.WaitGroup            // connections that Connected closes
}

// NewRest makes the Rest of a host whose connection gater is gate.
func NewRest(h host.Host, gate *Gate) *Rest { return &Rest{host: h, gate: gate} }

// Begin shuts the gate: from now on no connection is made or accepted.
func (r *Rest) Begin() {
	r.gate.shut.Store(true)
	now := time.Now()
	r.began.Store(&now)
}

// CloseAll closes all connections, first those through relays and then the others, and
// returns when they are closed.
func (r *Rest) CloseAll() {
	var circuits, direct []network.Conn
	for _, c := range r.host.Network().Conns() {
		if _, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT); err == nil {
			circuits = append(circuits, c)
		} else {
			direct = append(direct, c)
		}
	}
	closed := CloseAll(circuits)
	select { // they send their last messages through the relays
	case <-closed:
	case <-time.After(goodbyeTimeout):
	}
	<-CloseAll(direct)
	<-closed
}

// End opens the gate.
func (r *Rest) End() { r.gate.shut.Store(false) }

// Is reports whether a rest has begun and not ended.
func (r *Rest) Is() bool { return r.gate.shut.Load() }

// Connected must be called for each new connection. It closes connections that CloseAll
// missed because the host did not list them yet: the gate had let them in before it was
// shut.
func (r *Rest) Connected(c network.Conn) {
	began := r.began.Load()
	if r.Is() || began != nil && !c.Stat().Opened.After(*began) {
		r.closing.Go(func() { _ = c.Close() })
	}
}

// Wait waits until the connections that Connected closes are closed. It must not be
// called at the same time as Connected.
func (r *Rest) Wait() { r.closing.Wait() }

// CloseAll starts closing connections, all at once. The channel that it returns is closed
// when all of them are.
func CloseAll(conns []network.Conn) (closed <-chan struct{}) {
	var closing sync.WaitGroup
	for _, c := range conns {
		closing.Go(func() { _ = c.Close() })
	}
	done := make(chan struct{})
	go func() {
		closing.Wait()
		close(done)
	}()
	return done
}
