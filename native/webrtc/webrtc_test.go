package webrtc_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ttransport "github.com/libp2p/go-libp2p/p2p/transport/testsuite"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	core "github.com/tombolo-net/tombolo/core/webrtc"
	"github.com/tombolo-net/tombolo/core/webrtc/webrtctest"
	"github.com/tombolo-net/tombolo/native/stack"
	"github.com/tombolo-net/tombolo/native/webrtc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// waitLimit bounds every wait for something that must happen.
const waitLimit = time.Minute

// side is a host with the transport.
type side struct {
	host.Host
	transport *core.Transport
}

func newHost(t *testing.T, opts ...libp2p.Option) host.Host {
	t.Helper()
	h, err := libp2p.New(append([]libp2p.Option{
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.DisableMetrics(),
	}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// introduced makes two hosts that are connected through a relay. The first has dialled the
// second.
func introduced(t *testing.T, o core.Options) (a, b side) {
	t.Helper()
	return introducedOn(t, webrtc.New(webrtc.Options{Loopback: true}), o)
}

// introducedOn is like introduced. first is the platform of the first host.
func introducedOn(t *testing.T, first core.Platform, o core.Options) (a, b side) {
	t.Helper()
	platforms := []core.Platform{first, webrtc.New(webrtc.Options{Loopback: true})}
	r := newHost(t, libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	limits := relay.DefaultResources()
	limits.Limit = nil
	service, err := relay.New(r, relay.WithResources(limits))
	require.NoError(t, err)
	t.Cleanup(func() { _ = service.Close() })
	sides := make([]side, 2)
	for i := range sides {
		sides[i].Host = newHost(t, libp2p.NoListenAddrs, libp2p.EnableRelay(), libp2p.AddrsFactory(core.Hide))
		sides[i].transport, err = core.AddTransport(sides[i], platforms[i], o)
		require.NoError(t, err)
	}
	a, b = sides[0], sides[1]
	relayInfo := *host.InfoFromHost(r)
	require.NoError(t, b.Connect(t.Context(), relayInfo))
	_, err = client.Reserve(t.Context(), b, relayInfo)
	require.NoError(t, err)
	circuit := ma.StringCast("/p2p/" + r.ID().String() + "/p2p-circuit")
	require.NoError(t, a.Connect(t.Context(), peer.AddrInfo{ID: b.ID(), Addrs: []ma.Multiaddr{relayInfo.Addrs[0].Encapsulate(circuit)}}))
	return a, b
}

// goDirect connects a to b over the WebRTC transport, as the policy does.
func goDirect(t *testing.T, a, b side) network.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	a.Peerstore().AddAddr(b.ID(), core.Addr, peerstore.TempAddrTTL)
	c, err := a.Network().DialPeer(network.WithForceDirectDial(ctx, "test"), b.ID())
	require.NoError(t, err)
	return c
}

func TestTwoPeersOnACircuitGoOnWithoutTheRelay(t *testing.T) {
	a, b := introduced(t, core.Options{})
	c := goDirect(t, a, b)
	assert.Equal(t, "webrtc", c.ConnState().Transport)
	assert.Equal(t, b.ID(), c.RemotePeer())
	assert.True(t, b.ID().MatchesPublicKey(c.RemotePublicKey()))
	assert.Equal(t, network.DirOutbound, c.Stat().Direction)
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(b.Network().ConnsToPeer(a.ID()), func(c network.Conn) bool {
			return c.RemoteMultiaddr().Equal(core.Addr) && c.Stat().Direction == network.DirInbound
		})
	}, waitLimit, 10*time.Millisecond)
	assert.NotContains(t, a.Addrs(), core.Addr)

	b.SetStreamHandler("/echo", func(s network.Stream) {
		_, _ = io.Copy(s, s)
		_ = s.Close()
	})
	s, err := a.NewStream(t.Context(), b.ID(), "/echo")
	require.NoError(t, err)
	require.Equal(t, core.Addr, s.Conn().RemoteMultiaddr(), "new streams take the direct connection")
	sent := make([]byte, 3<<20) // more than may be unread at the peer
	rand.Read(sent)
	go func() {
		_, _ = s.Write(sent)
		_ = s.CloseWrite()
	}()
	got, err := io.ReadAll(s)
	require.NoError(t, err)
	require.True(t, bytes.Equal(sent, got))
	require.NoError(t, s.Close())

	// The next stream goes over the circuit, which is still open.
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return len(a.Network().ConnsToPeer(b.ID())) == 1 }, waitLimit, 10*time.Millisecond)
	s, err = a.NewStream(network.WithAllowLimitedConn(t.Context(), "test"), b.ID(), "/echo")
	require.NoError(t, err)
	require.NotEqual(t, core.Addr, s.Conn().RemoteMultiaddr())
	require.NoError(t, s.Close())
}

func TestARelayTellsWhereThisEndIsReached(t *testing.T) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	r, err := stack.New(stack.Options{Key: key, STUN: true, Listen: []ma.Multiaddr{
		ma.StringCast("/ip4/127.0.0.1/udp/0/quic-v1"), ma.StringCast("/ip4/127.0.0.1/udp/0/webrtc-direct"),
	}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	candidates := make(chan string, 100)
	platform := webrtc.New(webrtc.Options{STUN: func() []string {
		return core.STUN(r, []peer.AddrInfo{*host.InfoFromHost(r)})
	}})
	pc, err := platform.New(core.Events{
		Candidate: func(c string) { candidates <- c },
		Ended:     func(error) {},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = pc.Close() })
	_, err = pc.OpenChannel(t.Context(), "", "")
	require.NoError(t, err)
	_, err = pc.Offer(t.Context())
	require.NoError(t, err)
	for !strings.Contains(receive(t, candidates), " 127.0.0.1 ") {
	}
}

func TestWithoutACircuitThereIsNobodyToAsk(t *testing.T) {
	a, b := introduced(t, core.Options{})
	require.NoError(t, a.Network().ClosePeer(b.ID()))
	_, err := a.transport.Dial(t.Context(), core.Addr, b.ID())
	require.ErrorIs(t, err, core.ErrNoCircuit)
}

func TestPeerWithoutTheTransportIsAnError(t *testing.T) {
	a, b := introduced(t, core.Options{})
	b.RemoveStreamHandler(core.Protocol)
	_, err := a.transport.Dial(t.Context(), core.Addr, b.ID())
	require.ErrorContains(t, err, "agree on /webrtc-signaling/0.0.1")
}

// TestConforms runs go-libp2p's own suite. The tests that repeat a thing thousands of times
// run only if LONG is set.
func TestConforms(t *testing.T) {
	a, b := introduced(t, core.Options{})
	for _, s := range []side{a, b} { // the suite listens itself
		s.Network().(*swarm.Swarm).ListenClose(core.Addr)
	}
	tests := []ttransport.TransportSubTestFn{
		ttransport.SubtestProtocols,
		ttransport.SubtestBasic,
		ttransport.SubtestCancel,
		ttransport.SubtestStress1Conn1Stream100Msg,
		ttransport.SubtestStreamReset,
	}
	if os.Getenv("LONG") != "" {
		tests = append(tests, ttransport.SubtestPingPong, ttransport.SubtestStress1Conn100Stream100Msg, ttransport.SubtestStress1Conn100Stream100Msg10MB)
	}
	ttransport.SubtestTransportWithFs(t, b.transport, a.transport, core.Addr.String(), b.ID(), tests)
}

// pair returns the two ends of a connection that belongs to no swarm.
func pair(t *testing.T) (dialler, answerer network.MuxedConn) {
	t.Helper()
	return pairOn(t, webrtc.New(webrtc.Options{Loopback: true}))
}

// pairOn is like pair. p is the platform of the end that dials.
func pairOn(t *testing.T, p core.Platform) (dialler, answerer network.MuxedConn) {
	t.Helper()
	a, b := introducedOn(t, p, core.Options{})
	b.Network().(*swarm.Swarm).ListenClose(core.Addr)
	l, err := b.transport.Listen(core.Addr)
	require.NoError(t, err)
	accepted := make(chan network.MuxedConn, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			accepted <- c
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	c, err := a.transport.Dial(ctx, core.Addr, b.ID())
	require.NoError(t, err)
	return c, receive(t, accepted)
}

func receive[T any](t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(waitLimit):
		require.Fail(t, "it did not happen")
	}
	return v
}

func TestStreams(t *testing.T) {
	a, b := pair(t)
	webrtctest.Streams(t, a, b)
}

func TestSignallingThatLiesIsAnErrorAndLeavesTheCircuit(t *testing.T) {
	a, b := introduced(t, core.Options{Timeout: 2 * time.Second})
	for name, said := range map[string][]byte{
		"nothing":          nil,
		"garbage":          bytes.Repeat([]byte{0xff}, 100),
		"a huge length":    {0xff, 0xff, 0x03},
		"no SDP":           {4, 8, 0, 18, 0},
		"SDP that is none": {6, 8, 0, 18, 2, 'x', 'y'},
		"an answer":        {6, 8, 1, 18, 2, 'x', 'y'},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := a.NewStream(network.WithAllowLimitedConn(t.Context(), "test"), b.ID(), core.Protocol)
			require.NoError(t, err)
			_, err = s.Write(said)
			require.NoError(t, err)
			if said == nil {
				require.NoError(t, s.CloseWrite())
			}
			_ = s.SetReadDeadline(time.Now().Add(waitLimit))
			_, err = io.ReadAll(s)
			require.ErrorIs(t, err, network.ErrReset)
		})
	}
	require.NotNil(t, goDirect(t, a, b))
}

// In a page another program takes streams over from this package. Here the test does.
func TestAStreamIsTakenOutOfThePackageAsItIs(t *testing.T) {
	a, b := introduced(t, core.Options{})
	c := goDirect(t, a, b)
	said := make(chan string, 1)
	b.SetStreamHandler("/greet", func(s network.Stream) {
		_, _ = s.Write([]byte("hello"))
		line := make([]byte, 2)
		_, _ = io.ReadFull(s, line)
		said <- string(line)
		_, _ = io.Copy(io.Discard, s)
		_ = s.Reset()
	})
	ctx, cancel := context.WithTimeout(core.WithRaw(t.Context()), waitLimit)
	defer cancel()
	s, err := a.NewStream(ctx, b.ID(), "/greet")
	require.NoError(t, err)
	require.Equal(t, c.ID(), s.Conn().ID())
	first := make([]byte, 1)
	_, err = io.ReadFull(s, first)
	require.NoError(t, err)

	_, _, ok := core.Detach(s, func(core.Channel) bool { return false }, nil)
	require.False(t, ok, "its channel cannot be handed out")
	ended := make(chan error, 1)
	d, over, ok := core.Detach(s, func(core.Channel) bool { return true }, func(err error) { ended <- err })
	require.True(t, ok)
	assert.Equal(t, "ello", string(d.Unread))
	assert.True(t, d.Credit)
	assert.False(t, d.Ended)
	assert.Less(t, d.MaySend, uint64(1<<20), "the negotiation has used some")
	assert.Less(t, d.MayReceive, uint64(1<<20))
	_, _, again := core.Detach(s, func(core.Channel) bool { return true }, nil)
	assert.False(t, again)
	_, err = s.Write([]byte("no"))
	require.ErrorContains(t, err, "handed to the program")
	require.NoError(t, d.Channel.Send([]byte{4, 0x12, 2, 'h', 'i'}))
	assert.Equal(t, "hi", <-said)

	require.NoError(t, c.Close())
	require.Error(t, <-ended)
	over()
	over()
}

func TestAStreamOfAnotherTransportIsNotTakenOut(t *testing.T) {
	a, b := introduced(t, core.Options{})
	b.SetStreamHandler("/greet", func(s network.Stream) { _, _ = io.Copy(s, s) })
	s, err := a.NewStream(network.WithAllowLimitedConn(t.Context(), "test"), b.ID(), "/greet")
	require.NoError(t, err)
	_, _, ok := core.Detach(s, func(core.Channel) bool { return true }, nil)
	assert.False(t, ok)
	_, err = s.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, s.Reset())
}
