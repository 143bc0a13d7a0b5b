package tunnels

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/native/local"
)

const another = "12D3KooWJVqxcWvP1G2YxBYXzUx6pWuY8MzcCe7TJ1q1BGVXdgQM"

// names is a fake DNS, so that the tests do not use this machine's.
type names map[string][]string

func (n names) resolve(_ context.Context, name ma.Multiaddr) (addrs []ma.Multiaddr, err error) {
	list, ok := n[name.String()]
	if !ok {
		return nil, errors.New("no such host")
	}
	for _, s := range list {
		addrs = append(addrs, ma.StringCast(s))
	}
	return addrs, nil
}

var known = names{
	"/dnsaddr/one.example":     {"/ip4/192.0.2.1/tcp/1/p2p/" + away, "/ip4/192.0.2.1/udp/1/quic-v1/p2p/" + away},
	"/dnsaddr/two.example":     {"/ip4/192.0.2.1/tcp/1/p2p/" + away, "/ip4/192.0.2.2/tcp/1/p2p/" + another},
	"/dnsaddr/nobody.example":  {"/ip4/192.0.2.1/tcp/1"},
	"/dnsaddr/nothing.example": {},
}

func TestAPeerIsNamedInFourWays(t *testing.T) {
	for name, addr := range map[string]string{
		away:                               "",
		"/p2p/" + away:                     "",
		"/ip4/192.0.2.1/tcp/1/p2p/" + away: "/ip4/192.0.2.1/tcp/1",
		"/dnsaddr/one.example":             "/dnsaddr/one.example",
		"/dnsaddr/two.example/p2p/" + away: "/dnsaddr/two.example",
		"/p2p/" + another + "/p2p-circuit/p2p/" + away: "/p2p/" + another + "/p2p-circuit",
	} {
		info, err := resolvePeer(testContext(t), name, known.resolve)
		require.NoError(t, err, name)
		assert.Equal(t, away, info.ID.String(), name)
		if addr == "" {
			assert.Empty(t, info.Addrs)
		} else {
			assert.Equal(t, []ma.Multiaddr{ma.StringCast(addr)}, info.Addrs)
		}
	}
}

func TestWhatNamesNoPeerIsRefused(t *testing.T) {
	for name, want := range map[string]string{
		"":                              "the peer is empty",
		"bob":                           "neither a peer ID nor a multiaddr",
		"/ip4/192.0.2.1/tcp/1":          "does not end in /p2p/<id>",
		"/dns4/one.example/tcp/1":       "does not end in /p2p/<id>",
		"/dnsaddr/one.example/tcp/1":    "does not end in /p2p/<id>",
		"/nonsense":                     "is not a multiaddr",
		"/p2p/" + away + "/p2p-circuit": "does not end in /p2p/<id>",
		"/dnsaddr/gone.example":         "look up /dnsaddr/gone.example: no such host",
		"/dnsaddr/nobody.example":       "there is no peer behind that name",
		"/dnsaddr/nothing.example":      "there is no peer behind that name",
	} {
		_, err := resolvePeer(testContext(t), name, known.resolve)
		require.ErrorContains(t, err, want, name)
	}
}

func TestANameOfSeveralPeersIsAmbiguous(t *testing.T) {
	_, err := resolvePeer(testContext(t), "/dnsaddr/two.example", known.resolve)
	require.ErrorIs(t, err, ErrAmbiguous)
	assert.ErrorContains(t, err, "2 peers behind /dnsaddr/two.example")
}

func TestANameIsLookedUpForTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := resolvePeer(t.Context(), "/dnsaddr/slow.example", func(ctx context.Context, _ ma.Multiaddr) ([]ma.Multiaddr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "/dnsaddr/slow.example")
		assert.Equal(t, 10*time.Second, time.Since(began))
	})
}

func TestWhileANameIsLookedUpTheRestGoesOn(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	n := newNode(t)
	tunnels, err := open(testContext(t), n, t.TempDir(), quiet, func(ctx context.Context, s string) (peer.AddrInfo, error) {
		if s == "/dnsaddr/one.example" {
			close(asked)
			<-answer
		}
		return resolvePeer(ctx, s, known.resolve)
	}, local.Listen)
	require.NoError(t, err)
	defer tunnels.Close()
	done := make(chan error, 1)
	go func() {
		_, _, err := tunnels.Forward(context.Background(), ForwardSpec{Protocol: "/x/slow", Listen: "127.0.0.1:0", Peer: "/dnsaddr/one.example"})
		done <- err
	}()
	<-asked
	mustListen(t, tunnels, ListenSpec{Protocol: "/x/ssh", Target: "127.0.0.1:22"})
	assert.Len(t, tunnels.List().Listeners, 1)
	_, err = tunnels.Update("/x/ssh", func(*bridge.Access, *bridge.Limits) error { return nil })
	require.NoError(t, err)
	close(answer)
	require.NoError(t, <-done)
	assert.Len(t, tunnels.List().Forwards, 1)
}

func TestAForwardToANameLeadsToTheSamePeerAfterARestart(t *testing.T) {
	dir := t.TempDir()
	dns := func(ctx context.Context, s string) (peer.AddrInfo, error) { return resolvePeer(ctx, s, known.resolve) }
	before, err := open(testContext(t), newNode(t), dir, quiet, dns, local.Listen)
	require.NoError(t, err)
	mustForward(t, before, ForwardSpec{Protocol: "/x/web", Listen: "127.0.0.1:0", Peer: "/dnsaddr/one.example"})
	assert.Contains(t, content(t, dir), `"/dnsaddr/one.example/p2p/`+away+`"`)
	end(t, before)
	unplugged := func(ctx context.Context, s string) (peer.AddrInfo, error) {
		return resolvePeer(ctx, s, names{}.resolve)
	}
	after, err := open(testContext(t), newNode(t), dir, quiet, unplugged, local.Listen)
	require.NoError(t, err)
	defer after.Close()
	require.Len(t, after.List().Forwards, 1)
	assert.Empty(t, after.List().Forwards[0].Waiting, "the forward is restored though no name can be looked up")
	assert.Equal(t, "/p2p/"+away, after.List().Forwards[0].Target)
}
