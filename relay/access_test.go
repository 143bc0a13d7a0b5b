package relay_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/relay"
)

// awaitReserved waits until a node has its reservation.
func awaitReserved(t *testing.T, n *core.Node) {
	t.Helper()
	require.Eventually(t, func() bool { return len(n.Reservations()) == 1 }, 30*time.Second, 5*time.Millisecond)
}

// awaitClosed waits until a relay has closed its connections to a peer.
func awaitClosed(t *testing.T, r *relay.Relay, p peer.ID) {
	t.Helper()
	require.Eventually(t, func() bool {
		return r.Node().Host().Network().Connectedness(p) == network.NotConnected
	}, 30*time.Second, 5*time.Millisecond)
}

func write(t *testing.T, dir, rules string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "access"), []byte(rules), 0o600))
}

func TestAClosedRelayTakesWhoIsAllowedAndWhoHasAToken(t *testing.T) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	other, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	dir := t.TempDir()
	r := newRelay(t, relay.Options{DataDir: dir, Identity: key, Closed: true})
	at := peer.AddrInfo{ID: r.Node().ID(), Addrs: r.Node().Host().Addrs()}
	token := func(k crypto.PrivKey, ends time.Duration) string {
		s, err := relay.Token(k, "alice", time.Now().Add(ends))
		require.NoError(t, err)
		return s
	}
	for why, given := range map[string]string{
		"allowed, or given a token":         "",
		"the token is none of this relay's": token(other, time.Hour),
		"the token has expired":             token(key, -time.Hour),
	} {
		stranger := newNode(t, native.Options{Token: given})
		assert.ErrorContains(t, failure(t, stranger, at), why)
		ctx := testContext(t)
		_, err = stranger.Echo(ctx, r.Node().ID(), []byte("hello"))
		require.Error(t, err, "nor does it get anything else")
	}

	holder := newNode(t, native.Options{Token: token(key, time.Hour), Relays: []peer.AddrInfo{at}})
	awaitReserved(t, holder)
	_, err = holder.Echo(testContext(t), r.Node().ID(), []byte("hello"))
	require.NoError(t, err)

	// A change applies at once, also to connected peers.
	listed := newNode(t, native.Options{})
	write(t, dir, "allow "+listed.ID().String()+" # bob\n")
	require.NoError(t, r.Reload())
	require.NoError(t, listed.AddRelays([]peer.AddrInfo{at}))
	awaitReserved(t, listed)
	write(t, dir, "allow "+listed.ID().String()+"\nban "+holder.ID().String())
	require.NoError(t, r.Reload())
	awaitClosed(t, r, holder.ID())
	_, err = listed.Echo(testContext(t), r.Node().ID(), []byte("hello"))
	require.NoError(t, err)
}

func TestAnOpenRelayTakesAllButTheBanned(t *testing.T) {
	dir := t.TempDir()
	r := newRelay(t, relay.Options{DataDir: dir})
	n := newReserved(t, r)
	write(t, dir, "ban 192.0.2.0/24\nban 127.0.0.0/8")
	require.NoError(t, r.Reload())
	awaitClosed(t, r, n.ID())
	_, err := newNode(t, native.Options{}).Connect(testContext(t), r.Node().Addrs()[0].String())
	require.Error(t, err, "and nobody comes from there")
	write(t, dir, "")
	require.NoError(t, r.Reload())
	n.Wake()
	awaitReserved(t, n)
}

func TestRulesThatCannotBeReadOpenNothing(t *testing.T) {
	dir := t.TempDir()
	r := newRelay(t, relay.Options{DataDir: dir})
	banned := newNode(t, native.Options{})
	write(t, dir, "ban "+banned.ID().String())
	require.NoError(t, r.Reload())
	for _, bad := range []string{"ban", "allow nobody", "deny 192.0.2.1", "ban 192.0.2.1 192.0.2.2"} {
		write(t, dir, bad)
		require.ErrorContains(t, r.Reload(), "line 1", bad)
	}
	require.Error(t, failure(t, banned, peer.AddrInfo{ID: r.Node().ID(), Addrs: r.Node().Host().Addrs()}), "the previous rules stay in force")
	require.NoError(t, r.Close())
	_, err := relay.New(testContext(t), relay.Options{DataDir: dir, Listen: local()})
	require.ErrorContains(t, err, "who may use the relay")
}
