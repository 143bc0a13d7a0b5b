package relay

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestARuleThatTheFileHasNoRoomForIsRefused(t *testing.T) {
	stranger := func() peer.ID {
		id := make([]byte, 34)
		_, _ = rand.Read(id)
		id[0], id[1] = 0x12, 0x20 // a SHA2-256
		return peer.ID(id)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, accessName)
	var rules strings.Builder
	for rules.Len() < maxAccess-100 {
		rules.WriteString("ban " + stranger().String() + "\n")
	}
	require.NoError(t, os.WriteFile(path, []byte(rules.String()), 0o600))
	a, err := openAccess(stranger(), Options{DataDir: dir}, &refusals{})
	require.NoError(t, err)
	t.Cleanup(a.close)

	banned := stranger()
	require.ErrorContains(t, a.change("ban", true, rule{peer: banned}), "more than 4194304 bytes")
	assert.False(t, a.isBanned(banned, nil), "the rules are those of the file")
	require.NoError(t, a.reload(func() {}))
}
