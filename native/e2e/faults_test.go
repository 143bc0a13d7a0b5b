package e2e

import (
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/local"
	"github.com/tombolo-net/tombolo/native/socket/sockettest"
)

// pushing begins a push that never ends.
func pushing(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c := dial(t, addr, askPush)
	_, err := c.Write(content(2, much/2))
	require.NoError(t, err)
	return c
}

// resumes waits until a tunnel works again by itself, and then transfers much through it,
// both ways.
func resumes(t *testing.T, addr string) {
	t.Helper()
	eventually(t, func() bool { return works(t, addr) }, "the tunnel works again")
	pulls(t, addr)
	pushes(t, addr)
}

func TestATargetThatIsKilledIsNoShortSuccess(t *testing.T) {
	t.Parallel()
	at := sockettest.Nobody(t)
	target := startService(t, at)
	here, there := direct(t, onlyTCP)
	there.listen("/x/service", at)
	addr := here.forward("/x/service", there)
	c := stalled(t, addr)
	kill(target)
	breaks(t, c)
	assert.Equal(t, bridge.TargetFailed, here.ended("/x/service").Reason, "the peer says so")
	assert.Equal(t, bridge.TargetFailed, there.ended("/x/service").Reason)

	startService(t, at)
	resumes(t, addr)
}

func TestAPeerThatIsKilledIsNoShortSuccess(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	s := newService(t)
	dir := t.TempDir()
	there := upIn(t, dir, onlyTCP, "--relay", r.addr)
	here := up(t, onlyTCP, "--relay", r.addr)
	there.Line("reserved on ")
	there.listen("/x/service", s.addr)
	addr := here.forward("/x/service", there)
	pull, push := stalled(t, addr), pushing(t, addr)
	kill(there.Process)
	breaks(t, pull)
	breaks(t, push)
	s.missesTheRest(t)
	assert.Equal(t, bridge.PeerLost, here.ended("/x/service").Reason)

	there = upIn(t, dir, onlyTCP, "--relay", r.addr) // at another port
	there.Line("reserved on ")
	resumes(t, addr)
}

func TestADaemonThatIsKilledIsNoShortSuccess(t *testing.T) {
	t.Parallel()
	s := newService(t)
	there := up(t, onlyTCP)
	dir := t.TempDir()
	here := upIn(t, dir, onlyTCP)
	here.do("connect", there.addr("/"))
	there.listen("/x/service", s.addr)
	here.do("forward", "/x/service", "127.0.0.1:0", there.addr("/"))
	here.do("forward", "--ephemeral", "/x/gone", "127.0.0.1:0", there.id)
	before := here.list().Forwards
	require.Len(t, before, 2)
	addr := hostPort(t, before[0].Listen)
	pull, push := stalled(t, addr), pushing(t, addr)
	kill(here.Process)
	breaks(t, pull)
	breaks(t, push)
	s.missesTheRest(t)
	assert.Equal(t, bridge.PeerLost, there.ended("/x/service").Reason)

	here = upIn(t, dir, onlyTCP)
	after := here.list().Forwards
	require.Len(t, after, 1, "what is not ephemeral is there again")
	assert.Equal(t, before[0].Listen, after[0].Listen, "at the same port")
	resumes(t, addr)
}

func TestADaemonThatIsKilledKeepsItsTunnels(t *testing.T) {
	t.Parallel()
	s := newService(t)
	dir := t.TempDir()
	there := upIn(t, dir, onlyTCP)
	stranger := newStock(t).ID().String()
	there.listen("/x/service", s.addr, "--announce", "a service", "--deny", stranger, "--max-streams", "7")
	there.listen("/x/site", "file:"+dir, "--rate", "1M")
	there.listen("/x/short", s.addr, "--ephemeral")
	there.do("forward", "/x/other", "unix:"+filepath.Join(dir, "s"), stranger)
	want := there.list()
	for range 3 {
		kill(there.Process)
		there = upIn(t, dir, onlyTCP)
		got := there.list()
		require.Len(t, got.Listeners, 2)
		require.Len(t, got.Forwards, 1)
		assert.Equal(t, want.Listeners[0].ListenConfig, got.Listeners[0].ListenConfig)
		assert.Equal(t, want.Listeners[2].ListenConfig, got.Listeners[1].ListenConfig)
		assert.Equal(t, want.Forwards[0].Listen, got.Forwards[0].Listen)
		assert.Empty(t, got.Forwards[0].Waiting, "the socket file of the killed process is replaced")
		here := up(t, onlyTCP)
		here.do("connect", there.addr("/"))
		require.True(t, works(t, here.forward("/x/service", there)))
	}
}

func TestARelayThatIsKilledIsNoShortSuccess(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	s := newService(t)
	// A peer that listens nowhere can be reached only through its relay.
	info, err := peer.AddrInfoFromString(r.addr)
	require.NoError(t, err)
	there, err := native.New(testContext(t), native.Options{Listen: []ma.Multiaddr{}, Relays: []peer.AddrInfo{*info}, NoMDNS: true})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, there.Close()) })
	eventually(t, func() bool { return len(there.Reservations()) == 1 }, "a reservation")
	target, err := local.Target(s.addr)
	require.NoError(t, err)
	_, err = there.Listen(testContext(t), "/x/service", target)
	require.NoError(t, err)
	here := up(t, onlyTCP, "--relay", r.addr)
	here.Line("reserved on ")
	addr := here.forward("/x/service", there.ID())
	pulls(t, addr)

	pull, push := stalled(t, addr), pushing(t, addr)
	assert.Equal(t, "circuit", here.streams()[0].Transport)
	assert.Equal(t, info.ID, here.streams()[0].Relay)
	kill(r.Process)
	breaks(t, pull)
	breaks(t, push)
	require.NoError(t, s.end(t), "the pull that was whole")
	s.missesTheRest(t)
	assert.Equal(t, bridge.PeerLost, here.ended("/x/service").Reason)
	eventually(t, func() bool { return len(there.Bridge().Streams()) == 0 }, "the streams end there")
	for _, e := range there.Bridge().Ended()[1:] {
		assert.Equal(t, bridge.PeerLost, e.Reason)
	}

	require.False(t, works(t, addr), "no connection to the peer is left")
	assert.Equal(t, bridge.PeerAway, here.list().Forwards[0].Reason)
	relayIn(t, r.dir, r.listen)
	resumes(t, addr)
	assert.Empty(t, here.list().Forwards[0].Error, "it forgets what was")
}

func TestNewStreamsTakeTheDirectConnection(t *testing.T) {
	t.Parallel()
	s := newService(t)
	here, there := relayed(t, startRelay(t))
	there.listen("/x/service", s.addr)
	addr := here.forward("/x/service", there)
	old := dial(t, addr, askEcho)
	require.True(t, says(old, "relayed"))
	here.do("connect", there.addr(onlyTCP[:len(onlyTCP)-1]))
	require.True(t, says(old, "still here"))
	direct := dial(t, addr, askEcho)
	require.True(t, says(direct, "direct"))
	live := here.streams()
	require.Len(t, live, 2)
	assert.Equal(t, []string{"circuit", "tcp"}, []string{live[0].Transport, live[1].Transport})
	assert.Empty(t, live[1].Relay)

	require.True(t, says(old, "to the last byte"))
	require.NoError(t, old.CloseWrite())
	rest, err := io.ReadAll(old)
	require.NoError(t, err)
	assert.Empty(t, rest)
	pulls(t, addr)
}

func TestClosingATunnelLeavesItsStreamsAndClosingAStreamEndsBothEnds(t *testing.T) {
	s := newService(t)
	here, there := direct(t, onlyTCP)
	there.listen("/x/service", s.addr)
	addr := here.forward("/x/service", there)
	a, b := dial(t, addr, askEcho), dial(t, addr, askEcho)
	require.True(t, says(a, "one"))
	require.True(t, says(b, "two"))
	here.do("close", "-p", "/x/service")
	there.do("close", "--all")
	require.True(t, says(a, "three"))

	live := here.streams()
	require.Len(t, live, 2)
	here.do("streams", "close", strconv.FormatUint(live[0].ID, 10))
	ended, goesOn := a, b
	if live[0].Origin != origin(a) {
		ended, goesOn = b, a
	}
	_, err := ended.Read(make([]byte, 1))
	assert.ErrorIs(t, err, syscall.ECONNRESET)
	assert.ErrorIs(t, s.end(t), syscall.ECONNRESET)
	assert.Equal(t, bridge.ClosedByHand, here.ended("/x/service").Reason)
	assert.Equal(t, bridge.PeerReset, there.ended("/x/service").Reason)
	assert.True(t, says(goesOn, "four"), "the other one goes on")

	code, _, complaint := here.try("streams", "close", strconv.FormatUint(live[0].ID, 10))
	assert.Equal(t, 1, code)
	assert.Contains(t, complaint, "no live stream has that id")
	there.do("streams", "close", "--all")
	_, err = goesOn.Read(make([]byte, 1))
	assert.ErrorIs(t, err, syscall.ECONNRESET)
	assert.ErrorIs(t, s.end(t), syscall.ECONNRESET)
}

// origin returns the address under which a registry lists the client of c.
func origin(c net.Conn) string {
	host, port, _ := net.SplitHostPort(c.LocalAddr().String())
	return "/ip4/" + host + "/tcp/" + port
}

func TestARateHoldsThroughARelay(t *testing.T) {
	t.Parallel()
	const rate = 6 * mib
	s := newService(t)
	here, there := relayed(t, startRelay(t))
	there.listen("/x/service", s.addr, "--rate", "6M")
	addr := here.forward("/x/service", there)
	for _, way := range []func(*testing.T, string){pulls, pushes} {
		began := time.Now()
		way(t, addr)
		assert.Greater(t, time.Since(began), time.Second*(much-mib)/rate)
	}
	assert.Equal(t, "circuit", here.streamsEnded()[0].Transport)
}

func TestAPeerThatIsKilledIsMissedOverQUICToo(t *testing.T) {
	long(t, "takes QUIC's idle timeout")
	s := newService(t)
	here, there := direct(t, "/ip4/127.0.0.1/udp/0/quic-v1")
	there.listen("/x/service", s.addr)
	c := stalled(t, here.forward("/x/service", there))
	kill(there.Process)
	require.NoError(t, c.SetDeadline(time.Now().Add(2*patience)))
	breaks(t, c)
	assert.Equal(t, bridge.PeerLost, here.ended("/x/service").Reason)
}

func TestAPeerThatWasKilledIsReachedOverQUICWhenItIsBack(t *testing.T) {
	const onlyQUIC = "/ip4/127.0.0.1/udp/0/quic-v1"
	s := newService(t)
	dir := t.TempDir()
	here, there := up(t, onlyQUIC), upIn(t, dir, onlyQUIC)
	there.listen("/x/service", s.addr)
	there.do("connect", here.addr("/"))
	addr := here.forward("/x/service", there)
	stalled(t, addr) // so that the dead connection has more streams than the new one
	stalled(t, addr)
	kill(there.Process)
	there = upIn(t, dir, onlyQUIC)
	there.do("connect", here.addr("/"))
	assert.True(t, works(t, addr), "the first stream, though the dead connection may still be there")
}

func TestAForwardBetweenTwoDaemonsThatLeadsToItselfIsSeen(t *testing.T) {
	here, there := direct(t, onlyTCP)
	at := sockettest.Nobody(t)
	there.listen("/x/loop", at)
	here.do("forward", "/x/loop", at, there.id)
	c, err := net.Dial("tcp4", at)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	_, err = io.ReadAll(c)
	assert.ErrorIs(t, err, syscall.ECONNRESET)
	eventually(t, func() bool { return len(here.streams())+len(there.streams()) == 0 }, "the loop ends")
	assert.Equal(t, bridge.Loop, here.list().Forwards[0].Reason)
	assert.True(t, slices.ContainsFunc(there.streamsEnded(), func(s bridge.StreamInfo) bool { return s.Reason == bridge.Loop }))
	assert.Less(t, here.list().Forwards[0].Total, uint64(200))
}
