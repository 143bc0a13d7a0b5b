package relay_test

import (
	"crypto/rand"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/stack"
	"github.com/tombolo-net/tombolo/relay"
)

func infoOf(r *relay.Relay) peer.AddrInfo {
	return peer.AddrInfo{ID: r.Node().ID(), Addrs: r.Node().Host().Addrs()}
}

func connectedness(r *relay.Relay, other peer.ID) network.Connectedness {
	return r.Node().Host().Network().Connectedness(other)
}

func TestARelayStaysConnectedToItsPeers(t *testing.T) {
	// Over TCP, because the end of a connection is noticed at once.
	dir := t.TempDir()
	at, err := stack.ParseListen("/ip4/127.0.0.1/tcp/0")
	require.NoError(t, err)
	other, err := relay.New(testContext(t), relay.Options{DataDir: dir, Listen: at})
	require.NoError(t, err)
	info := infoOf(other)
	require.NoError(t, other.Close())

	// The relay starts before the other, which starts, stops and starts again.
	r := newRelay(t, relay.Options{Listen: at, Peers: []peer.AddrInfo{info, info}})
	for range 2 {
		other, err = relay.New(testContext(t), relay.Options{DataDir: dir, Listen: info.Addrs, Peers: []peer.AddrInfo{infoOf(r), info}})
		require.NoError(t, err)
		require.Eventually(t, func() bool { return connectedness(r, info.ID) == network.Connected }, 30*time.Second, 5*time.Millisecond)
		require.NoError(t, other.Close())
		require.Eventually(t, func() bool { return connectedness(r, info.ID) == network.NotConnected }, 30*time.Second, 5*time.Millisecond)
	}
}

func TestARelayThatLostAnotherDialsItAgain(t *testing.T) {
	one := newRelay(t, relay.Options{})
	two := newRelay(t, relay.Options{Peers: []peer.AddrInfo{infoOf(one)}})
	id := one.Node().ID()
	require.Eventually(t, func() bool { return connectedness(two, id) == network.Connected }, 30*time.Second, 5*time.Millisecond)
	require.NoError(t, two.Node().Disconnect(id))
	require.Eventually(t, func() bool { return connectedness(two, id) == network.Connected }, 30*time.Second, 5*time.Millisecond)
}

func TestAPeerOfARelayNeedsAnAddress(t *testing.T) {
	id := newRelay(t, relay.Options{}).Node().ID()
	_, err := relay.New(testContext(t), relay.Options{Listen: local(), Peers: []peer.AddrInfo{{ID: id}}})
	require.ErrorContains(t, err, id.String()+" to keep connected to has no address")
	_, err = relay.New(testContext(t), relay.Options{Listen: local(), Peers: []peer.AddrInfo{{Addrs: local()}}})
	require.ErrorContains(t, err, "has no ID")
}

func TestARelayTrustsThoseOnlyThatItNamesItself(t *testing.T) {
	mine, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	one, reload := reloadable(t, relay.Options{DataDir: t.TempDir(), Closed: true})
	log := &lines{}
	two := newRelay(t, relay.Options{Identity: mine, Peers: []peer.AddrInfo{infoOf(one)}, Logger: slog.New(slog.NewTextHandler(log, nil))})
	token, err := relay.Token(mine, "alice", time.Now().Add(time.Hour))
	require.NoError(t, err)

	// Relay two names one as its peer, but one does not trust two for that.
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "takes this one for a stranger") }, 30*time.Second, 5*time.Millisecond)
	assert.Contains(t, log.String(), "this="+two.Node().ID().String())
	_, err = two.Node().Echo(testContext(t), one.Node().ID(), []byte("hello"))
	require.Error(t, err)
	require.ErrorContains(t, failure(t, newNode(t, native.Options{Token: token}), infoOf(one)), "none of this relay's")

	require.NoError(t, reload(func(o *relay.Options) { o.Peers = []peer.AddrInfo{infoOf(two)} }))
	require.Eventually(t, func() bool {
		_, err := two.Node().Echo(testContext(t), one.Node().ID(), []byte("hello"))
		return err == nil
	}, 30*time.Second, 5*time.Millisecond)
	awaitReserved(t, newNode(t, native.Options{Token: token, Relays: []peer.AddrInfo{infoOf(one)}}))
	s, err := two.Node().Host().NewStream(testContext(t), one.Node().ID(), "/tombolo/relay-peer/1.0.0")
	require.NoError(t, err)
	said, err := io.ReadAll(s)
	require.NoError(t, err)
	assert.Equal(t, "known\n", string(said), "each names the other")
}

func TestWhoAnswersInPlaceOfANamedRelayIsNoneOfThem(t *testing.T) {
	impostor := newRelay(t, relay.Options{})
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	named, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	log := &lines{}
	r := newRelay(t, relay.Options{Closed: true, Peers: []peer.AddrInfo{{ID: named, Addrs: infoOf(impostor).Addrs}}, Logger: slog.New(slog.NewTextHandler(log, nil))})
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "another relay is not connected") }, 30*time.Second, 5*time.Millisecond)
	assert.Contains(t, log.String(), "peer id mismatch")
	assert.Equal(t, network.NotConnected, connectedness(r, named))
	_, err = impostor.Node().Connect(testContext(t), r.Node().Addrs()[0].String())
	if err == nil { // the impostor may connect, but use nothing
		_, err = impostor.Node().Echo(testContext(t), r.Node().ID(), []byte("hello"))
	}
	require.Error(t, err)
}

// lines is a log that may be written and read concurrently.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestPeersOfTwoRelaysOfOneMeshConnectByID(t *testing.T) {
	one := newRelay(t, relay.Options{})
	two := newRelay(t, relay.Options{Peers: []peer.AddrInfo{infoOf(one)}})
	a := newNode(t, native.Options{Relays: []peer.AddrInfo{infoOf(one)}})
	b := newNode(t, native.Options{Relays: []peer.AddrInfo{infoOf(two)}})
	require.Eventually(t, func() bool { return len(b.Reservations()) == 1 }, 30*time.Second, 5*time.Millisecond)
	ctx := testContext(t)
	require.Eventually(t, func() bool { // succeeds once the relays know of each other
		_, err := a.Connect(ctx, b.ID().String())
		return err == nil
	}, 30*time.Second, 5*time.Millisecond)
	_, err := a.Echo(ctx, b.ID(), []byte("hello"))
	require.NoError(t, err)
	assert.Len(t, a.Host().Network().ConnsToPeer(b.ID()), 1)
}
