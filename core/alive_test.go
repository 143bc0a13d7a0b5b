package core_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/liveness"
	"github.com/tombolo-net/tombolo/core/reservation"
)

// newReserving makes a relay and a node with a reservation on it. The node knows the
// relay by the address that at returns for the relay's own.
func newReserving(t *testing.T, at func(string) string) (n *core.Node, events *core.Events, relayID peer.ID) {
	t.Helper()
	r := hosttest.New(t, hosttest.Options{})
	hosttest.Relay(t, r, relay.Resources{ReservationTTL: time.Hour, MaxReservations: 8, MaxCircuits: 8, MaxReservationsPerIP: 8, MaxReservationsPerASN: 8, BufferSize: 2048})
	ping.NewPingService(r)
	addr := ma.StringCast(at(r.Addrs()[0].String()))
	keeper, err := reservation.New([]peer.AddrInfo{{ID: r.ID(), Addrs: []ma.Multiaddr{addr}}}, reservation.Options{MinBackoff: 10 * time.Millisecond})
	require.NoError(t, err)
	gate := new(liveness.Gate)
	n = newNode(t, core.Options{Reservations: keeper, Gate: gate}, hosttest.Options{Listen: "none", AddrsFactory: keeper.AddrsFactory, Gater: gate})
	events = n.Events()
	t.Cleanup(events.Close)
	if len(n.Reservations()) == 0 {
		next(t, events, core.ReservationMade)
	}
	return n, events, r.ID()
}

func TestANodeAtRestHasNoConnectionUntilItIsWoken(t *testing.T) {
	n, events, relayID := newReserving(t, func(addr string) string { return addr })
	other := newNode(t, core.Options{}, hosttest.Options{})
	theirs := other.Events()
	defer theirs.Close()
	_, err := n.Connect(bounded(t), other.Addrs()[0].String())
	require.NoError(t, err)
	next(t, theirs, core.PeerConnected) // otherwise the other end may never see the connection

	n.Rest()
	assert.Empty(t, n.Host().Network().Conns())
	assert.Equal(t, n.ID(), next(t, theirs, core.PeerDisconnected).Peer, "the other end sees the connection end")
	require.Error(t, next(t, events, core.ReservationLost).Err)
	_, err = n.Connect(bounded(t), other.Addrs()[0].String())
	require.ErrorIs(t, err, core.ErrResting)
	_, err = n.Open(bounded(t), other.ID(), "/x/none")
	require.ErrorIs(t, err, core.ErrResting)
	// If it were awake, its keeper would retry every few milliseconds.
	assert.Never(t, func() bool { return len(n.Host().Network().Conns()) > 0 }, 300*time.Millisecond, time.Millisecond)

	n.Wake()
	for ev := range events.All(bounded(t)) {
		require.NotEqual(t, core.ReservationFailed, ev.Type, "nothing was attempted")
		if ev.Type == core.ReservationMade {
			assert.Equal(t, relayID, ev.Peer)
			break
		}
	}
	_, err = n.Connect(bounded(t), other.Addrs()[0].String())
	require.NoError(t, err)
}

func TestWhatIsRegisteredOutlivesARest(t *testing.T) {
	gate := new(liveness.Gate)
	n := newNode(t, core.Options{Gate: gate}, hosttest.Options{Gater: gate})
	other := newNode(t, core.Options{}, hosttest.Options{})
	sub, err := n.Subscribe("chat")
	require.NoError(t, err)
	defer sub.Close()
	n.Rest()
	_, _ = other.Connect(bounded(t), n.Addrs()[0].String())
	assert.Empty(t, n.Host().Network().Conns(), "no connection is accepted either")
	require.Eventually(t, func() bool { return len(other.Host().Network().Conns()) == 0 }, limit, time.Millisecond)
	n.Wake()
	_, err = other.Connect(bounded(t), n.Addrs()[0].String())
	require.NoError(t, err)
	require.NoError(t, other.Send(bounded(t), n.ID(), "chat", []byte("still there")))
	msg, err := sub.Next(bounded(t))
	require.NoError(t, err)
	assert.Equal(t, "still there", string(msg.Data))
}

// held is a gate that blocks each connection that it lets in until release is closed.
type held struct {
	*liveness.Gate
	letIn, release chan struct{}
}

func (h *held) InterceptUpgraded(c network.Conn) (bool, control.DisconnectReason) {
	ok, reason := h.Gate.InterceptUpgraded(c)
	if ok {
		h.letIn <- struct{}{}
		<-h.release
	}
	return ok, reason
}

func TestAConnectionThatIsBeingMadeDoesNotOutliveARest(t *testing.T) {
	for name, wake := range map[string]bool{"it is made during the rest": false, "it is made after it": true} {
		for dir, dials := range map[string]bool{"dialled": true, "accepted": false} {
			t.Run(dir+", "+name, func(t *testing.T) {
				gate := &held{new(liveness.Gate), make(chan struct{}, 8), make(chan struct{})}
				n := newNode(t, core.Options{Gate: gate.Gate}, hosttest.Options{Gater: gate})
				far := hosttest.New(t, hosttest.Options{})
				var dialled sync.WaitGroup
				if dials {
					dialled.Go(func() { _ = n.ConnectPeer(bounded(t), hosttest.Info(far)) })
				} else {
					dialled.Go(func() { _ = far.Connect(bounded(t), hosttest.Info(n.Host())) })
				}
				<-gate.letIn
				n.Rest()
				require.Empty(t, n.Host().Network().Conns())
				if wake {
					n.Wake()
				}
				close(gate.release)
				dialled.Wait()
				require.Eventually(t, func() bool { return len(far.Network().Conns()) == 0 && len(n.Host().Network().Conns()) == 0 }, limit, time.Millisecond)
				if !wake {
					n.Wake()
				}
				require.NoError(t, n.ConnectPeer(bounded(t), hosttest.Info(far)))
				assert.Never(t, func() bool { return len(n.Host().Network().Conns()) == 0 }, 100*time.Millisecond, time.Millisecond)
			})
		}
	}
}

func TestAWokenNodeLeavesAConnectionThatGivesNoSignOfLife(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	n, events, relayID := newReserving(t, p.to)
	first := n.Host().Network().ConnsToPeer(relayID)[0]
	p.stall()
	began := time.Now()
	n.Wake()
	require.Error(t, next(t, events, core.ReservationLost).Err)
	assert.Less(t, time.Since(began), 30*time.Second, "sooner than a keep-alive")
	assert.Equal(t, relayID, next(t, events, core.ReservationMade).Peer)
	assert.True(t, first.IsClosed())
}

func TestAWokenNodeKeepsThePeersThatAnswer(t *testing.T) {
	n, _, relayID := newReserving(t, func(addr string) string { return addr })
	plain := hosttest.New(t, hosttest.Options{}) // has no ping protocol, and says so
	_, err := n.Connect(bounded(t), hosttest.Info(plain).Addrs[0].String()+"/p2p/"+plain.ID().String())
	require.NoError(t, err)
	conns := n.Host().Network().Conns()
	require.Len(t, conns, 2)
	assert.Empty(t, liveness.CloseSilent(bounded(t), conns, 5*time.Second))
	for _, c := range conns {
		assert.False(t, c.IsClosed())
	}
	assert.Equal(t, network.Connected, n.Host().Network().Connectedness(relayID))
	assert.Len(t, n.Reservations(), 1)
}

func TestAPeerThatRefusesTheStreamHasGivenASignOfLife(t *testing.T) {
	n := newNode(t, core.Options{}, hosttest.Options{})
	full := new(resources)
	far := hosttest.New(t, hosttest.Options{Resources: full})
	_, err := n.Connect(bounded(t), far.Addrs()[0].String()+"/p2p/"+far.ID().String())
	require.NoError(t, err)
	full.refuse.Store(true)
	assert.Empty(t, liveness.CloseSilent(bounded(t), n.Host().Network().Conns(), 5*time.Second))
	assert.Equal(t, network.Connected, n.Host().Network().Connectedness(far.ID()))
	assert.Positive(t, full.refused.Load())
}

func TestAtRestTheCircuitsAreClosedBeforeTheirRelay(t *testing.T) {
	r := hosttest.New(t, hosttest.Options{})
	hosttest.Relay(t, r, relay.Resources{ReservationTTL: time.Hour, MaxReservations: 8, MaxCircuits: 8, MaxReservationsPerIP: 8, MaxReservationsPerASN: 8, BufferSize: 2048})
	mine := new(resources)
	n := newNode(t, core.Options{}, hosttest.Options{Listen: "none", Resources: mine})
	const circuits = 8
	for range circuits {
		far := hosttest.New(t, hosttest.Options{Listen: "none"})
		require.NoError(t, far.Connect(bounded(t), hosttest.Info(r)))
		_, err := client.Reserve(bounded(t), far, hosttest.Info(r))
		require.NoError(t, err)
		_, err = n.Connect(bounded(t), hosttest.Info(r).Addrs[0].String()+"/p2p/"+r.ID().String()+"/p2p-circuit/p2p/"+far.ID().String())
		require.NoError(t, err)
	}
	n.Rest()
	mine.mu.Lock()
	defer mine.mu.Unlock()
	require.Len(t, mine.closed, circuits+1)
	for _, addr := range mine.closed[:circuits] {
		assert.Contains(t, addr, "p2p-circuit")
	}
	assert.NotContains(t, mine.closed[circuits], "p2p-circuit")
}

// resources refuses inbound streams while refuse is set. It records in closed the
// addresses of the dialled connections, in the order in which they were closed.
type resources struct {
	network.NullResourceManager
	refuse  atomic.Bool
	refused atomic.Int32
	mu      sync.Mutex
	closed  []string
}

func (r *resources) OpenStream(p peer.ID, dir network.Direction) (network.StreamManagementScope, error) {
	if dir == network.DirInbound && r.refuse.Load() {
		r.refused.Add(1)
		return nil, network.ErrResourceLimitExceeded
	}
	return r.NullResourceManager.OpenStream(p, dir)
}

func (r *resources) OpenConnection(dir network.Direction, _ bool, at ma.Multiaddr) (network.ConnManagementScope, error) {
	if dir != network.DirOutbound {
		return &network.NullScope{}, nil
	}
	return &scope{closed: sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.closed = append(r.closed, at.String())
	})}, nil
}

type scope struct {
	network.NullScope
	closed func()
}

func (s *scope) Done() { s.closed() }

// proxy forwards connections to a host. After stall, its connections stay open but pass
// no more data; later connections work. While held is locked, no data passes at all.
type proxy struct {
	t       *testing.T
	held    sync.RWMutex // locked for writing while no data may pass
	mu      sync.Mutex
	stalled *atomic.Bool // shared by the connections made since the last stall
	conns   []net.Conn
}

func newProxy(t *testing.T) *proxy { return &proxy{t: t, stalled: new(atomic.Bool)} }

// to starts a listener that forwards to addr, and returns the address of the listener.
func (p *proxy) to(addr string) string {
	target := "127.0.0.1:" + addr[strings.LastIndex(addr, "/")+1:]
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(p.t, err)
	var accepting, passing sync.WaitGroup
	p.t.Cleanup(func() {
		_ = l.Close()
		accepting.Wait()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		passing.Wait()
	})
	accepting.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			stalled := p.stalled
			p.mu.Unlock()
			passing.Go(func() { p.pass(in, out, stalled) })
			passing.Go(func() { p.pass(out, in, stalled) })
		}
	})
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(p.t, err)
	return "/ip4/127.0.0.1/tcp/" + port
}

func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled.Store(true)
	p.stalled = new(atomic.Bool)
}

func (p *proxy) pass(from io.Reader, to io.Writer, stalled *atomic.Bool) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if stalled.Load() {
			continue
		}
		p.held.RLock()
		_, err = to.Write(buf[:n])
		p.held.RUnlock()
		if err != nil {
			return
		}
	}
}

func TestBeforeARestTheNodeStillHasItsConnections(t *testing.T) {
	n, far := newNode(t, core.Options{}, hosttest.Options{}), newNode(t, core.Options{}, hosttest.Options{})
	_, err := n.Connect(bounded(t), far.Addrs()[0].String())
	require.NoError(t, err)
	var peers int
	remove := n.BeforeRest(func(ctx context.Context) {
		_, limited := ctx.Deadline()
		assert.True(t, limited)
		peers = len(n.Peers())
	})
	n.Rest()
	assert.Equal(t, 1, peers)
	assert.True(t, n.Resting())
	n.Wake()
	remove()
	n.BeforeRest(func(context.Context) { n.Wake() })
	n.Rest()
	assert.False(t, n.Resting(), "it was woken meanwhile")
	assert.Equal(t, 1, peers)
}
