package stack

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

const (
	// handshakesAtOnce is how many QUIC handshakes may be in progress that could finish at
	// the same time: as many as the shortest of libp2p's queues of connections that nobody
	// has accepted. libp2p closes those beyond, which both sides have paid for.
	handshakesAtOnce = 16
	// handshakeTurn is how long a handshake counts on a machine that keeps up: after that it
	// waits for its client, and not for a processor.
	handshakeTurn = 50 * time.Millisecond
	// handshakeLate is how late a timer is on a machine that does not keep up. There, a
	// handshake counts for up to handshakeMost.
	handshakeLate = 5 * time.Millisecond
	handshakeMost = 200 * time.Millisecond
)

// handshakes paces QUIC handshakes: if too many are in progress, new ones wait in the
// queue of quic-go's server, which holds 1024; if that is full, their clients retry.
type handshakes chan struct{}

func newHandshakes() handshakes { return make(handshakes, handshakesAtOnce) }

// begin waits for a turn, at most handshakeMost. end ends the turn, and may be called
// more than once. A turn also ends by itself.
func (h handshakes) begin() (end func()) {
	timer := time.NewTimer(handshakeMost)
	defer timer.Stop()
	select {
	case h <- struct{}{}:
	case <-timer.C:
		return func() {}
	}
	t := &handshakeTimer{began: time.Now(), end: sync.OnceFunc(func() { <-h })}
	t.again()
	return t.stop
}

type handshakeTimer struct {
	began time.Time
	end   func()

	mu    sync.Mutex
	timer *time.Timer
}

func (t *handshakeTimer) again() {
	due := time.Now().Add(handshakeTurn)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(handshakeTurn, func() {
		if time.Since(due) > handshakeLate && time.Since(t.began) < handshakeMost {
			t.again()
			return
		}
		t.end()
	})
}

func (t *handshakeTimer) stop() {
	t.mu.Lock()
	t.timer.Stop()
	t.mu.Unlock()
	t.end()
}

// quicPorts makes the QUIC ports as libp2p does, but paces the handshakes.
func quicPorts(registerer prometheus.Registerer) any {
	pace := newHandshakes()
	return func(key quic.StatelessResetKey, tokens quic.TokenGeneratorKey, limits network.ResourceManager, lifecycle fx.Lifecycle) (*quicreuse.ConnManager, error) {
		opts := []quicreuse.Option{
			quicreuse.ConnContext(func(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
				addr, err := quicreuse.ToQuicMultiaddr(client.RemoteAddr, quic.Version1)
				if err != nil {
					addr = nil // the limits decide
				}
				end := pace.begin()
				scope, err := limits.OpenConnection(network.DirInbound, false, addr)
				if err != nil {
					end()
					return ctx, err
				}
				paced := &pacedScope{scope, end}
				ctx = network.WithConnManagementScope(ctx, paced)
				context.AfterFunc(ctx, paced.Done)
				return ctx, nil
			}),
			quicreuse.VerifySourceAddress(func(addr net.Addr) bool { return limits.VerifySourceAddress(addr) }),
		}
		if registerer != nil {
			opts = append(opts, quicreuse.EnableMetrics(registerer))
		}
		ports, err := quicreuse.NewConnManager(key, tokens, opts...)
		if err != nil {
			return nil, err
		}
		lifecycle.Append(fx.StopHook(ports.Close))
		return ports, nil
	}
}

// pacedScope is the scope of a connection that ends its turn when its handshake has
// ended.
type pacedScope struct {
	network.ConnManagementScope
	end func()
}

func (s *pacedScope) SetPeer(p peer.ID) error {
	s.end()
	return s.ConnManagementScope.SetPeer(p)
}

func (s *pacedScope) Done() {
	s.end()
	s.ConnManagementScope.Done()
}
