package relay

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestARuleThatTheFileHasNoRoomForIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, accessName)
	var rules strings.Builder
	for a := netip.MustParseAddr("10.0.0.0"); rules.Len() < maxAccess-20; a = a.Next() {
		rules.WriteString("ban " + a.String() + "\n")
	}
	require.NoError(t, os.WriteFile(path, []byte(rules.String()), 0o600))
	a, err := openAccess("self", Options{DataDir: dir}, &refusals{})
	require.NoError(t, err)
	t.Cleanup(a.close)

	banned := ma.StringCast("/ip4/192.0.2.1")
	require.ErrorContains(t, a.change("ban", true, rule{prefix: netip.MustParsePrefix("192.0.2.1/32")}), "more than 4194304 bytes")
	assert.False(t, a.isBanned("", banned), "the rules are those of the file")
	assert.True(t, a.isBanned("", ma.StringCast("/ip4/10.0.0.7")))
	require.NoError(t, a.reload(func() {}))
}
