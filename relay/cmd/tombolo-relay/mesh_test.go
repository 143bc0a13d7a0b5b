package main

import (
	"io"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/command/commandtest"
	"github.com/tombolo-net/tombolo/native/socket/sockettest"
)

// eventually connects by ID alone, with retries: relays that have just connected or lost
// each other need a moment to learn each other's peers.
func eventually(t *testing.T, caller *core.Node, called string) {
	t.Helper()
	ctx := testContext(t)
	var last error
	require.Eventually(t, func() bool {
		_, last = caller.Connect(ctx, called)
		return last == nil
	}, time.Minute, 50*time.Millisecond)
	assert.NoError(t, last)
}

func TestPeersOfTwoRelaysReachEachOtherByIDAlone(t *testing.T) {
	t.Parallel()
	tombolo, remove, err := commandtest.BuildFolder(filepath.Join("..", "..", "..", "native", "cmd", "tombolo"))
	require.NoError(t, err)
	t.Cleanup(remove)

	// Over TCP, because the end of a killed process is noticed at once.
	dir, at := t.TempDir(), "/ip4/127.0.0.1/tcp/"+sockettest.Port(t)+"/ws"
	one := start(t, "--data-dir", dir, "--listen", at)
	address := one.listening[0]
	two := startLocal(t, "--peer", address)

	// One peer is the program; the other does not listen.
	up := commandtest.Start(t, nil, tombolo, "up", "--data-dir", t.TempDir(), "--no-map-ports", "--listen", "127.0.0.1:0", "--relay", two.page)
	up.Line("reserved on " + parse(t, two.listening[0]).ID.String())
	called := up.Line("id ")
	caller := newNode(t, native.Options{Relays: []peer.AddrInfo{parse(t, address)}})
	eventually(t, caller, called)
	up.Line("peer connected " + caller.ID().String())
	_, err = caller.Echo(testContext(t), parse(t, "/p2p/"+called).ID, []byte("hello"))
	require.NoError(t, err)

	// A relay that crashed is connected again after its restart.
	require.NoError(t, caller.Close())
	one.Signal(syscall.SIGKILL)
	one.Wait()
	start(t, "--data-dir", dir, "--listen", at)
	eventually(t, newNode(t, native.Options{Relays: []peer.AddrInfo{parse(t, address)}}), called)
}

func TestWhenOneOfTwoRelaysIsLostItsPeersAreOnTheOther(t *testing.T) {
	for _, with := range []string{"/tcp/", "/quic-v1/p2p"} {
		t.Run(with, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			lost := startLocal(t)
			left := startLocal(t, "--peer", lost.at(t, "/tcp/"))
			both := []peer.AddrInfo{parse(t, lost.at(t, with)), parse(t, left.at(t, with))}
			stays := both[1].ID
			reserved := func() *core.Node {
				n := newNode(t, native.Options{Relays: both})
				require.Eventually(t, func() bool { return len(n.Reservations()) == 2 }, 30*time.Second, 5*time.Millisecond)
				return n
			}
			caller, called, through, later := reserved(), reserved(), reserved(), reserved()
			_, err := caller.Connect(ctx, left.at(t, with)+"/p2p-circuit/p2p/"+called.ID().String())
			require.NoError(t, err)
			_, err = caller.Connect(ctx, lost.at(t, with)+"/p2p-circuit/p2p/"+through.ID().String())
			require.NoError(t, err)
			echoes := openEcho(t, caller, called)
			echoes()
			news := caller.Events()
			defer news.Close()

			lost.Signal(syscall.SIGKILL)
			lost.Wait()
			began := time.Now()
			echoes()
			// reaches connects by ID alone, at the first attempt.
			reaches := func(n *core.Node) {
				t.Helper()
				_, err := caller.Connect(ctx, n.ID().String())
				require.NoError(t, err)
				_, err = caller.Echo(ctx, n.ID(), []byte("hello"))
				require.NoError(t, err)
				t.Logf("a peer is reached %s after the end of a relay", time.Since(began).Round(time.Millisecond))
			}
			reaches(later)
			for _, n := range []*core.Node{caller, called, through, later} {
				assert.Contains(t, relays(n), stays)
			}
			if with != "/tcp/" { // others notice the end of a killed process only after half a minute
				return
			}
			for { // until the end is noticed
				ev, err := news.Next(ctx)
				require.NoError(t, err)
				require.False(t, ev.Type == core.ReservationLost && ev.Peer == stays)
				if ev.Type == core.PeerDisconnected && ev.Peer == through.ID() {
					break
				}
			}
			reaches(through)
			echoes()
			assert.Equal(t, []peer.ID{stays}, relays(caller))
		})
	}
}

// openEcho opens a stream between two nodes. Each call of echoes sends a byte there and back.
func openEcho(t *testing.T, from, to *core.Node) (echoes func()) {
	t.Helper()
	_, err := to.Handle("/test/copy", func(s network.Stream) {
		defer s.Close()
		_, _ = io.Copy(s, s)
	})
	require.NoError(t, err)
	s, err := from.Open(testContext(t), to.ID(), "/test/copy")
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Reset() })
	return func() {
		t.Helper()
		_, err := s.Write([]byte("x"))
		require.NoError(t, err)
		_, err = io.ReadFull(s, make([]byte, 1))
		require.NoError(t, err)
	}
}

// relays returns the IDs of the relays on which a node holds a reservation.
func relays(n *core.Node) (ids []peer.ID) {
	for _, r := range n.Reservations() {
		ids = append(ids, r.Relay)
	}
	return ids
}
