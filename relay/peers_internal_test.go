package relay

import (
	"crypto/rand"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNamedRelaysAloneBroadcastWithoutALimit(t *testing.T) {
	newID := func() peer.ID {
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		require.NoError(t, err)
		id, err := peer.IDFromPrivateKey(key)
		require.NoError(t, err)
		return id
	}
	named, stranger := newID(), newID()
	local := []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0")}
	r, err := New(t.Context(), Options{Listen: local, Peers: []peer.AddrInfo{{ID: named, Addrs: local}}, Limits: Limits{BroadcastRate: 1000}})
	require.NoError(t, err)
	defer r.Close()
	assert.Zero(t, r.pace().Rate(named))
	assert.Equal(t, 1000, r.pace().Rate(stranger))
}
