package tunnels

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/socket/sockettest"
)

// smallDisk is a file system of 64 KiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		t.Skipf("a file system that is full needs one to be mounted: %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

// fill fills the disk until the returned file is removed.
func fill(t *testing.T, dir string) (file string) {
	t.Helper()
	file = filepath.Join(dir, "ballast")
	err := os.WriteFile(file, bytes.Repeat([]byte("x"), 1<<20), 0o600)
	require.ErrorIs(t, err, syscall.ENOSPC)
	return file
}

func TestOnAFullDiskNothingIsHalfDone(t *testing.T) {
	dir := smallDisk(t)
	n := newNode(t)
	tunnels := on(t, n, dir)
	mustListen(t, tunnels, ListenSpec{Protocol: "/x/ssh", Target: "127.0.0.1:22"})
	mustForward(t, tunnels, ForwardSpec{Protocol: "/x/web", Listen: "127.0.0.1:0", Peer: away})
	before, listed := content(t, dir), tunnels.List()
	ballast := fill(t, dir)

	_, _, err := tunnels.Listen(testContext(t), ListenSpec{Protocol: "/x/new", Target: "127.0.0.1:22"})
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, filepath.Join(dir, FileName))
	addr := sockettest.Nobody(t)
	_, _, err = tunnels.Forward(testContext(t), ForwardSpec{Protocol: "/x/new", Listen: addr, Peer: away})
	require.ErrorIs(t, err, syscall.ENOSPC)
	_, err = net.Dial("tcp", addr)
	require.Error(t, err, "it does not listen")
	_, err = tunnels.Update("/x/ssh", func(_ *bridge.Access, m *bridge.Limits) error { m.Streams = 1; return nil })
	require.ErrorIs(t, err, syscall.ENOSPC)
	assert.Equal(t, listed, tunnels.List())
	assert.Len(t, n.Bridge().Listeners(), 1)
	assert.Len(t, n.Bridge().Forwards(), 1)
	assert.Equal(t, before, content(t, dir), "the old file is whole")
	mustListen(t, tunnels, ListenSpec{Protocol: "/x/short", Target: "127.0.0.1:22", Ephemeral: true}) // needs no disk

	// A service is closed even so: its owner may be in a hurry.
	closed, err := tunnels.CloseMatching(Match{Protocol: "/x/ssh"})
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "closed 1, but a restart will restore them")
	assert.Equal(t, 1, closed)
	assert.Equal(t, before, content(t, dir))

	require.NoError(t, os.Remove(ballast))
	mustListen(t, tunnels, ListenSpec{Protocol: "/x/new", Target: "127.0.0.1:22"})
	assert.NotContains(t, content(t, dir), "/x/ssh")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing lies about")
}
