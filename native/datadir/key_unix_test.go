//go:build unix

package datadir

import (
	"os"
	"syscall"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const checksModes = true

func withUmask(t *testing.T, mask int) {
	old := syscall.Umask(mask)
	t.Cleanup(func() { syscall.Umask(old) })
}

func TestAForeignIdentityIsAnErrorAndLeftAlone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to someone else")
	}
	const nobody = 65534
	d := open(t, t.TempDir())
	require.NoError(t, os.WriteFile(keyPath(d), marshal(t, crypto.Ed25519), 0o600))
	require.NoError(t, os.Chown(keyPath(d), nobody, nobody))
	_, err := d.Key()
	require.ErrorContains(t, err, keyPath(d)+" belongs to user 65534, and this process runs as user 0")
	_, err = ReadKey(d.Path())
	require.NoError(t, err, "root looks at the peer of a service")
	info, err := os.Stat(keyPath(d))
	require.NoError(t, err)
	assert.Equal(t, uint32(nobody), info.Sys().(*syscall.Stat_t).Uid)
}

func TestAPipeInTheIdentitysPlaceIsAnErrorAndNotWaitedFor(t *testing.T) {
	d := open(t, t.TempDir())
	require.NoError(t, syscall.Mkfifo(keyPath(d), 0o600))
	_, err := d.Key()
	require.ErrorContains(t, err, keyPath(d)+" is not a regular file")
}
