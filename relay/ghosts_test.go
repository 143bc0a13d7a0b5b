package relay_test

import (
	"crypto/rand"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/stack"
	"github.com/tombolo-net/tombolo/relay"
)

func TestAPeerThatIsBackIsReachedAtOnceThoughItsGhostIsStillThere(t *testing.T) {
	t.Parallel()
	at, err := stack.ParseListen("/ip4/127.0.0.1/tcp/0")
	require.NoError(t, err)
	registry := prometheus.NewRegistry()
	r := newRelay(t, relay.Options{Listen: at, Registry: registry})
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	// The first connection has more streams, so libp2p prefers it.
	way := newWay(t, r.Node().Host().Addrs()[0])
	dead := newNode(t, native.Options{Identity: key, Relays: []peer.AddrInfo{{ID: r.Node().ID(), Addrs: []ma.Multiaddr{way.addr}}}})
	for range 3 {
		sub, err := dead.Subscribe("chat")
		require.NoError(t, err)
		t.Cleanup(func() { sub.Close() })
	}
	require.Eventually(t, func() bool { return len(dead.Reservations()) == 1 }, 30*time.Second, time.Millisecond)
	require.NoError(t, dead.Send(testContext(t), r.Node().ID(), "chat", nil))
	ghost := r.Node().Host().Network().ConnsToPeer(dead.ID())[0]
	way.silent.Store(true)

	back := newNode(t, native.Options{Identity: key, Relays: []peer.AddrInfo{infoOf(r)}})
	require.Eventually(t, func() bool { return len(back.Reservations()) == 1 }, 30*time.Second, time.Millisecond)
	caller := newNode(t, native.Options{})
	_, err = caller.Connect(testContext(t), back.Addrs()[0].String())
	require.NoError(t, err)
	_, err = caller.Echo(testContext(t), back.ID(), []byte("you?"))
	require.NoError(t, err)
	assert.False(t, ghost.IsClosed(), "the relay has not noticed yet")

	require.Eventually(t, ghost.IsClosed, 15*time.Second, 10*time.Millisecond, "before its keep-alive ends it")
	assert.Len(t, r.Node().Host().Network().ConnsToPeer(back.ID()), 1)
	require.Eventually(t, func() bool {
		return ghostsCounted(t, registry) == 1
	}, 15*time.Second, 10*time.Millisecond)
	_, err = caller.Echo(testContext(t), back.ID(), []byte("still?"))
	require.NoError(t, err, "the reservation and the circuits of the living connection stay")
}

func TestOlderConnectionsThatAnswerAreKept(t *testing.T) {
	t.Parallel()
	r := newRelay(t, relay.Options{})
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	relays := []peer.AddrInfo{infoOf(r)}
	one := newNode(t, native.Options{Identity: key, Relays: relays})
	require.Eventually(t, func() bool { return len(one.Reservations()) == 1 }, 30*time.Second, time.Millisecond)
	two := newNode(t, native.Options{Identity: key, Relays: relays})
	require.Eventually(t, func() bool { return len(two.Reservations()) == 1 }, 30*time.Second, time.Millisecond)
	assert.Never(t, func() bool { return len(r.Node().Host().Network().ConnsToPeer(one.ID())) < 2 }, 6*time.Second, 10*time.Millisecond)
}

func ghostsCounted(t *testing.T, registry *prometheus.Registry) (n float64) {
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "tombolo_ghosts_total" {
			for _, m := range f.GetMetric() {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// way is a proxy to a TCP address. It can fall silent: connections stay open, but nothing
// passes.
type way struct {
	addr   ma.Multiaddr
	silent atomic.Bool
}

func newWay(t *testing.T, to ma.Multiaddr) *way {
	port, err := to.ValueForProtocol(ma.P_TCP)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	w := &way{addr: ma.StringCast("/ip4/127.0.0.1/tcp/" + addr[strings.LastIndex(addr, ":")+1:])}
	var mu sync.Mutex
	var conns []net.Conn
	var running sync.WaitGroup
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", "127.0.0.1:"+port)
			if err != nil {
				in.Close()
				continue
			}
			mu.Lock()
			conns = append(conns, in, out)
			mu.Unlock()
			running.Go(func() { io.Copy(&quiet{out, w}, in) })
			running.Go(func() { io.Copy(&quiet{in, w}, out) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return w
}

type quiet struct {
	to  io.Writer
	way *way
}

func (q *quiet) Write(b []byte) (int, error) {
	if q.way.silent.Load() {
		return len(b), nil
	}
	return q.to.Write(b)
}
