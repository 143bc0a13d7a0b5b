package relay

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func idAt(expires time.Time, n int) string { return fmt.Sprintf("%x-%016x", expires.Unix(), n) }

func TestARevokedTokenIsForgottenOnceItHasExpired(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1_800_000_000, 0)
	file := func() string {
		b, err := os.ReadFile(filepath.Join(dir, revokedName))
		require.NoError(t, err)
		return string(b)
	}
	r, err := openRevoked(dir, now)
	require.NoError(t, err)
	soon, later := idAt(now.Add(time.Minute), 1), idAt(now.Add(time.Hour), 2)
	for _, id := range []string{soon, later, soon} {
		require.NoError(t, r.add(id, now))
	}
	assert.Equal(t, soon+"\n"+later+"\n", file())
	require.NoError(t, r.sweep(now.Add(time.Minute)))
	assert.False(t, r.has(soon))
	assert.Equal(t, later+"\n", file())

	again, err := openRevoked(dir, now.Add(time.Minute))
	require.NoError(t, err)
	assert.Equal(t, []RevokedToken{{ID: later, Expires: now.Add(time.Hour)}}, again.list())
	_, err = openRevoked(dir, now.Add(time.Hour))
	require.NoError(t, err)
	assert.Empty(t, file())
}

func TestWhatCannotBeRevokedIsAnErrorThatSaysWhy(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1_800_000_000, 0)
	r, err := openRevoked(dir, now)
	require.NoError(t, err)
	assert.ErrorContains(t, r.add(idAt(now, 1), now), "has expired at 2027-01-15")
	for _, id := range []string{"", "alice", "-0123456789abcdef", "6928d3a5-", "6928d3a5-0123456789abcdef\n", strings.Repeat("f", 17) + "-0123456789abcdef"} {
		assert.ErrorContains(t, r.add(id, now), "is not the ID of a token", id)
	}
	for n := range maxRevoked { // without add, which writes the file each time
		r.ids[idAt(now.Add(time.Hour), n)] = now.Add(time.Hour)
	}
	assert.ErrorContains(t, r.add(idAt(now.Add(time.Hour), maxRevoked), now), "65536 tokens are revoked")
	r.path = filepath.Join(dir, "no", "folder")
	clear(r.ids)
	require.Error(t, r.add(idAt(now.Add(time.Hour), 1), now))
	assert.Empty(t, r.ids, "a token that could not be stored is not revoked")
	require.NoError(t, os.WriteFile(filepath.Join(dir, revokedName), []byte("nonsense"), 0o600))
	_, err = openRevoked(dir, now)
	require.ErrorContains(t, err, "which tokens are revoked")
}

func TestEachTokenHasAnIDOfItsOwnThatSaysWhenItExpires(t *testing.T) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	self, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	ids := make(map[string]bool)
	for range 3 {
		token, err := Token(key, "alice", expires)
		require.NoError(t, err)
		id, err := TokenID(token)
		require.NoError(t, err)
		ids[id] = true
		g, err := checkToken(token, []peer.ID{self})
		require.NoError(t, err)
		assert.Equal(t, grant{token: id, expires: expires}, g)
	}
	assert.Len(t, ids, 3)
	for _, bad := range []string{"", "tr1.", "tr1.e30.e30"} {
		_, err = TokenID(bad)
		assert.Error(t, err)
	}
}
