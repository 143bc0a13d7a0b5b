package core_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/discovery"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/reservation"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

// limit bounds every wait for something that must happen.
const limit = 30 * time.Second

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func newNode(t *testing.T, opts core.Options, ho hosttest.Options) *core.Node {
	t.Helper()
	n, err := core.New(bounded(t), hosttest.Unmanaged(t, ho), opts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	return n
}

// connected makes two nodes and connects the first to the second.
func connected(t *testing.T) (a, b *core.Node) {
	t.Helper()
	a, b = newNode(t, core.Options{}, hosttest.Options{}), newNode(t, core.Options{}, hosttest.Options{})
	id, err := a.Connect(bounded(t), b.Addrs()[0].String())
	require.NoError(t, err)
	require.Equal(t, b.ID(), id)
	return a, b
}

// next waits for the next event of a type.
func next(t *testing.T, events *core.Events, want core.EventType) core.Event {
	t.Helper()
	for ev := range events.All(bounded(t)) {
		if ev.Type == want {
			return ev
		}
	}
	require.Failf(t, "no event", "%s did not come in %s", want, limit)
	return core.Event{}
}

func TestPartsStartInOrderAndCloseInReverse(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	note := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, s)
	}
	part := func(name string) core.Part {
		return core.Part{
			Name:  name,
			Start: func(context.Context) error { note("start " + name); return nil },
			Close: func() error { note("close " + name); return nil },
		}
	}
	n := newNode(t, core.Options{Parts: []core.Part{part("one"), part("two")}}, hosttest.Options{})
	require.Equal(t, []string{"start one", "start two"}, seen)
	require.NoError(t, n.Close())
	require.Equal(t, []string{"start one", "start two", "close two", "close one"}, seen)
}

func TestFailedPartStopsTheStartedOnesAndIsNamed(t *testing.T) {
	h := &closeCounter{Host: hosttest.Unmanaged(t, hosttest.Options{})}
	broken := errors.New("no disk")
	closed := 0
	_, err := core.New(bounded(t), h, core.Options{Parts: []core.Part{
		{Name: "lock", Close: func() error { closed++; return nil }},
		{Name: "store", Start: func(context.Context) error { return broken }, Close: func() error { t.Error("closed though not started"); return nil }},
		{Name: "later", Start: func(context.Context) error { t.Error("started after a failure"); return nil }},
	}})
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "store: no disk")
	assert.Equal(t, 1, closed)
	assert.Equal(t, 1, h.closed, "the host is closed too")
}

type closeCounter struct {
	host.Host
	closed int
}

func (h *closeCounter) Close() error { h.closed++; return h.Host.Close() }

func TestStartEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := core.New(ctx, hosttest.Unmanaged(t, hosttest.Options{}), core.Options{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestCloseIsIdempotentAndEndsEverything(t *testing.T) {
	n := newNode(t, core.Options{}, hosttest.Options{})
	events := n.Events()
	var closing sync.WaitGroup
	for range 4 {
		closing.Go(func() { assert.NoError(t, n.Close()) })
	}
	closing.Wait()
	_, err := events.Next(bounded(t))
	require.ErrorIs(t, err, core.ErrClosed)
	_, err = n.Connect(bounded(t), hosttest.New(t, hosttest.Options{}).ID().String())
	require.ErrorIs(t, err, core.ErrClosed)
	_, err = n.Handle("/x/late", func(network.Stream) {})
	require.ErrorIs(t, err, core.ErrClosed)
	_, err = n.Events().Next(bounded(t))
	require.ErrorIs(t, err, core.ErrClosed)
	<-n.Closed()
}

func TestConnectNamesWhatIsWrong(t *testing.T) {
	n := newNode(t, core.Options{}, hosttest.Options{})
	stranger, absent := hosttest.New(t, hosttest.Options{}), hosttest.New(t, hosttest.Options{})
	for input, want := range map[string]string{
		"":                     "empty",
		"hello":                `"hello" is neither a peer ID nor a multiaddr`,
		"/ip4/1.2.3.4":         "does not end in /p2p/<id>",
		"/nonsense":            `"/nonsense" is not a multiaddr`,
		n.ID().String():        "this node itself",
		stranger.ID().String(): discovery.ErrNotFound.Error(),
		"/ip4/127.0.0.1/tcp/1/p2p/" + absent.ID().String(): absent.ID().String(),
	} {
		_, err := n.Connect(bounded(t), input)
		require.ErrorContains(t, err, want, "%q", input)
	}
}

func TestPeersTellWhoAndHow(t *testing.T) {
	a, b := connected(t)
	require.Eventually(t, func() bool {
		peers := a.Peers()
		return len(peers) == 1 && peers[0].Agent != "" && peers[0].RTT > 0 // identify and the first ping have run
	}, limit, 10*time.Millisecond)
	p := a.Peers()[0]
	assert.Equal(t, b.ID(), p.ID)
	assert.Equal(t, "hosttest", p.Agent)
	require.NoError(t, a.Host().Peerstore().Put(b.ID(), "AgentVersion", "evil\x1b[31m"+strings.Repeat("!", 1<<20)))
	p, _ = a.Peer(b.ID())
	assert.Equal(t, "evil[31m"+strings.Repeat("!", 119), p.Agent, "harmless in a terminal, and bounded")
	assert.Equal(t, "tcp", p.Transport)
	assert.Equal(t, network.DirOutbound, p.Direction)
	assert.False(t, p.Relayed)
	assert.Empty(t, p.Relay)
	assert.NotEmpty(t, p.Addrs)
	assert.NotNil(t, p.Addr)
	assert.Equal(t, 1, p.Conns)
	assert.WithinDuration(t, time.Now(), p.Since, limit)
	require.Len(t, b.Peers(), 1)
	assert.Equal(t, network.DirInbound, b.Peers()[0].Direction)
}

func TestConnectAndDisconnectAreEvents(t *testing.T) {
	a, b := newNode(t, core.Options{}, hosttest.Options{}), newNode(t, core.Options{}, hosttest.Options{})
	atA, atB := a.Events(), b.Events()
	require.NoError(t, a.ConnectPeer(bounded(t), hosttest.Info(b.Host())))
	assert.Equal(t, b.ID(), next(t, atA, core.PeerConnected).Peer)
	assert.Equal(t, a.ID(), next(t, atB, core.PeerConnected).Peer)
	require.NoError(t, a.ConnectPeer(bounded(t), hosttest.Info(b.Host())), "connecting again")
	require.NoError(t, a.Disconnect(b.ID()))
	assert.Equal(t, b.ID(), next(t, atA, core.PeerDisconnected).Peer)
	assert.Equal(t, a.ID(), next(t, atB, core.PeerDisconnected).Peer)
	require.NoError(t, a.Disconnect(b.ID()), "disconnecting again")
	atA.Close()
	atA.Close()
	_, err := atA.Next(bounded(t))
	require.ErrorIs(t, err, core.ErrClosed)
}

func TestSlowSubscriberIsToldWhatItMissed(t *testing.T) {
	a, b := connected(t)
	events := a.Events()
	all := a.Events()
	const answers = 300 // more than a subscriber may be behind
	for i := range answers {
		_, err := b.Echo(bounded(t), a.ID(), []byte(fmt.Sprint(i)))
		require.NoError(t, err)
		next(t, all, core.EchoAnswered)
	}
	ev, err := events.Next(bounded(t))
	require.NoError(t, err)
	require.Equal(t, core.EventsMissed, ev.Type)
	require.Equal(t, answers-256, ev.Missed)
	for range 256 {
		ev, err := events.Next(bounded(t))
		require.NoError(t, err)
		require.Equal(t, core.EchoAnswered, ev.Type)
	}
}

func TestPingMeasures(t *testing.T) {
	a, b := connected(t)
	rtt, err := a.Ping(bounded(t), b.ID())
	require.NoError(t, err)
	require.Positive(t, rtt)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = a.Ping(ctx, b.ID())
	require.ErrorIs(t, err, context.Canceled)
}

func TestPingThatMayNotDialAsksNobodyForThePeer(t *testing.T) {
	a, b := connected(t)
	require.NoError(t, a.Disconnect(b.ID()))
	_, err := a.Ping(network.WithNoDial(bounded(t), "test"), b.ID())
	require.ErrorIs(t, err, network.ErrNoConn)
	require.Zero(t, a.Stats().Discovery.Lookups)
}

func TestEchoReturnsWhatWasSent(t *testing.T) {
	a, b := connected(t)
	answered := b.Events()
	for _, size := range []int{0, 1, 64, 3 << 20} {
		sent := make([]byte, size)
		rand.Read(sent)
		got, err := a.Echo(bounded(t), b.ID(), sent)
		require.NoError(t, err)
		require.True(t, bytes.Equal(sent, got))
		ev := next(t, answered, core.EchoAnswered)
		assert.EqualValues(t, size, ev.Bytes)
		assert.Equal(t, a.ID(), ev.Peer)
	}
}

func TestEchoThatIsNotTheSameIsAnError(t *testing.T) {
	a := newNode(t, core.Options{}, hosttest.Options{})
	liar := hosttest.New(t, hosttest.Options{})
	liar.SetStreamHandler(core.EchoProtocol, func(s network.Stream) {
		_, _ = io.Copy(io.Discard, s)
		_, _ = s.Write([]byte("something else"))
		_ = s.Close()
	})
	require.NoError(t, a.ConnectPeer(bounded(t), hosttest.Info(liar)))
	_, err := a.Echo(bounded(t), liar.ID(), []byte("something"))
	require.ErrorContains(t, err, "that are not the 9 sent")
}

func TestEchoEndsWithItsContext(t *testing.T) {
	a := newNode(t, core.Options{}, hosttest.Options{})
	mute := hosttest.New(t, hosttest.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	mute.SetStreamHandler(core.EchoProtocol, func(s network.Stream) {
		cancel() // the stream is open now
		_, err := io.Copy(io.Discard, s)
		ended <- err
	})
	require.NoError(t, a.ConnectPeer(bounded(t), hosttest.Info(mute)))
	_, err := a.Echo(ctx, mute.ID(), make([]byte, 1<<20))
	require.ErrorIs(t, err, context.Canceled)
	select {
	case err := <-ended:
		require.ErrorIs(t, err, network.ErrReset)
	case <-time.After(limit):
		require.Fail(t, "the peer's stream was not reset")
	}
}

func TestHandleTakesAProtocolOnce(t *testing.T) {
	a, b := connected(t)
	remove, err := b.Handle("/x/one", func(s network.Stream) {
		_, _ = s.Write([]byte("hello"))
		_ = s.Close()
	})
	require.NoError(t, err)
	_, err = b.Handle("/x/one", func(network.Stream) {})
	require.ErrorIs(t, err, core.ErrProtocolTaken)
	_, err = b.Handle(core.EchoProtocol, func(network.Stream) {})
	require.ErrorIs(t, err, core.ErrProtocolTaken)
	_, err = b.Handle("", func(network.Stream) {})
	require.Error(t, err)

	s, err := a.Open(bounded(t), b.ID(), "/x/one")
	require.NoError(t, err)
	got, err := io.ReadAll(s)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))
	require.NoError(t, s.Close())

	remove()
	remove()
	_, err = b.Handle("/x/one", func(s network.Stream) { _ = s.Reset() })
	require.NoError(t, err, "free again")
	_, err = a.Open(bounded(t), b.ID(), "/x/none")
	require.ErrorContains(t, err, "/x/none")
}

// A node that cannot listen is reachable by its peer ID alone, through a relay that both
// peers know. Neither needs to know the other's addresses.
func TestPeersMeetThroughARelayByIDAlone(t *testing.T) {
	relayHost := hosttest.New(t, hosttest.Options{})
	hosttest.Relay(t, relayHost, relay.Resources{MaxReservations: 10, MaxCircuits: 10, MaxReservationsPerIP: 10, MaxReservationsPerASN: 10, BufferSize: 2048, ReservationTTL: time.Hour})
	hidden := relayed(t, relayHost)
	made := hidden.Events()
	if len(hidden.Reservations()) == 0 {
		next(t, made, core.ReservationMade)
	}
	other := relayed(t, relayHost)
	require.NoError(t, other.ConnectPeer(bounded(t), hosttest.Info(relayHost)))
	got, err := other.Echo(bounded(t), hidden.ID(), []byte("through the relay"))
	require.NoError(t, err)
	require.Equal(t, "through the relay", string(got))

	var seen core.Peer
	for _, p := range other.Peers() {
		if p.ID == hidden.ID() {
			seen = p
		}
	}
	assert.True(t, seen.Relayed)
	assert.Equal(t, relayHost.ID(), seen.Relay)
	assert.Equal(t, "circuit", seen.Transport)

	circuit := false
	for _, a := range hidden.Addrs() {
		if bytes.Contains([]byte(a.String()), []byte("/p2p-circuit/p2p/"+hidden.ID().String())) {
			circuit = true
		}
	}
	assert.True(t, circuit, "no circuit address in %v", hidden.Addrs())
}

// relayed makes a node that only dials and keeps reservations on the relays.
func relayed(t *testing.T, relays ...host.Host) *core.Node {
	t.Helper()
	infos := make([]peer.AddrInfo, len(relays))
	for i, h := range relays {
		infos[i] = hosttest.Info(h)
	}
	keeper, err := reservation.New(infos, reservation.Options{})
	require.NoError(t, err)
	return newNode(t, core.Options{Reservations: keeper}, hosttest.Options{Listen: "none", AddrsFactory: keeper.AddrsFactory})
}

func TestNewsOfAPeerSaysHowItIsConnected(t *testing.T) {
	a, b := newNode(t, core.Options{}, hosttest.Options{}), newNode(t, core.Options{}, hosttest.Options{})
	events := a.Events()
	defer events.Close()
	_, err := a.Connect(bounded(t), b.Addrs()[0].String())
	require.NoError(t, err)
	for ev := range events.All(bounded(t)) {
		if ev.Type != core.PeerConnected {
			continue
		}
		require.NoError(t, a.Disconnect(b.ID()))
		assert.Equal(t, b.ID(), ev.Peer)
		assert.Equal(t, []any{b.ID(), b.Host().Addrs()[0], "tcp", network.DirOutbound, false}, []any{ev.Conn.ID, ev.Conn.Addr, ev.Conn.Transport, ev.Conn.Direction, ev.Conn.Relayed})
		return
	}
	require.Fail(t, "no news")
}

func TestPeerThatBecomesDirectAndFallsBackIsNewsAndBroadcastsGoOn(t *testing.T) {
	r := hosttest.New(t, hosttest.Options{})
	hosttest.Relay(t, r, relay.Resources{MaxReservations: 10, MaxCircuits: 10, MaxReservationsPerIP: 10, MaxReservationsPerASN: 10, BufferSize: 2048, ReservationTTL: time.Hour})
	far, near := relayed(t, r), newNode(t, core.Options{}, hosttest.Options{})
	if made := far.Events(); len(far.Reservations()) == 0 {
		next(t, made, core.ReservationMade)
	}
	chat := subscribe(t, far, "chat")
	events := near.Events()
	_, err := near.Connect(bounded(t), fmt.Sprintf("%s/p2p/%s/p2p-circuit/p2p/%s", r.Addrs()[0], r.ID(), far.ID()))
	require.NoError(t, err)
	require.Equal(t, r.ID(), next(t, events, core.PeerConnected).Peer)
	require.True(t, next(t, events, core.PeerConnected).Conn.Relayed)
	broadcast := func(word string) {
		require.Eventually(t, func() bool { return gossips(near, far) && gossips(far, near) }, limit, 10*time.Millisecond)
		require.NoError(t, near.Broadcast(bounded(t), "chat", []byte(word), mesh.WaitForPeer()))
		require.Equal(t, word, string(read(t, chat).Data))
	}
	broadcast("over the relay")

	meet := func() {
		// far does not listen, so it is far that dials.
		require.NoError(t, far.Host().Connect(network.WithForceDirectDial(bounded(t), "test"), hosttest.Info(near.Host())))
		ev := next(t, events, core.PeerDirect)
		assert.Equal(t, []any{far.ID(), "tcp", false}, []any{ev.Peer, ev.Conn.Transport, ev.Conn.Relayed})
	}
	end := func(relayed bool) {
		for _, c := range near.Host().Network().ConnsToPeer(far.ID()) {
			if strings.Contains(c.RemoteMultiaddr().String(), "p2p-circuit") == relayed {
				require.NoError(t, c.Close())
			}
		}
	}
	meet()
	end(false)
	require.True(t, next(t, events, core.PeerRelayed).Conn.Relayed)
	broadcast("over the relay again")
	meet()
	end(true)
	broadcast("without it")
}

// gossips reports whether a has a GossipSub stream to b.
func gossips(a, b *core.Node) bool {
	for _, c := range a.Host().Network().ConnsToPeer(b.ID()) {
		for _, s := range c.GetStreams() {
			if !c.IsClosed() && s.Stat().Direction == network.DirOutbound && strings.HasPrefix(string(s.Protocol()), "/meshsub/") {
				return true
			}
		}
	}
	return false
}
