package main

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/command/commandtest"
	"github.com/tombolo-net/tombolo/native/socket/sockettest"
)

// eventually connects by id alone. Relays that have just met, or lost each other,
// take a moment to know of one another.
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

	// Over TCP, where the end of a killed process is seen at once.
	dir, at := t.TempDir(), "/ip4/127.0.0.1/tcp/"+sockettest.Port(t)+"/ws"
	one := start(t, "--data-dir", dir, "--listen", at)
	address := one.listening[0]
	two := startLocal(t, "--peer", address)

	// One peer is the program; the other listens nowhere.
	up := commandtest.Start(t, nil, tombolo, "up", "--data-dir", t.TempDir(), "--no-map-ports", "--listen", "127.0.0.1:0", "--relay", two.page)
	up.Line("reserved on " + parse(t, two.listening[0]).ID.String())
	called := up.Line("id ")
	caller := newNode(t, native.Options{Relays: []peer.AddrInfo{parse(t, address)}})
	eventually(t, caller, called)
	up.Line("peer connected " + caller.ID().String())
	_, err = caller.Echo(testContext(t), parse(t, "/p2p/"+called).ID, []byte("hello"))
	require.NoError(t, err)

	// A relay that crashed is joined again when it is back.
	require.NoError(t, caller.Close())
	one.Signal(syscall.SIGKILL)
	one.Wait()
	start(t, "--data-dir", dir, "--listen", at)
	eventually(t, newNode(t, native.Options{Relays: []peer.AddrInfo{parse(t, address)}}), called)
}
