package tunnels

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/native/local"
)

func TestAMatchIsWhatAllOfItHoldsFor(t *testing.T) {
	folder := t.TempDir()
	socket := filepath.Join(t.TempDir(), "s")
	other := "12D3KooWJVqxcWvP1G2YxBYXzUx6pWuY8MzcCe7TJ1q1BGVXdgQM"
	for name, c := range map[string]struct {
		match               Match
		listeners, forwards int // closed
	}{
		"a protocol, of both":            {Match{Protocol: "/x/a"}, 1, 2},
		"a target of a listener":         {Match{Target: "/ip4/127.0.0.1/tcp/22"}, 2, 0},
		"a target as it was given":       {Match{Target: "127.0.0.1:22"}, 2, 0},
		"a folder":                       {Match{Target: "file:" + folder}, 1, 0},
		"a peer":                         {Match{Target: "/p2p/" + away}, 0, 2},
		"a peer by its id":               {Match{Target: away}, 0, 2},
		"a protocol and a target":        {Match{Protocol: "/x/a", Target: "127.0.0.1:22"}, 1, 0},
		"a protocol and a peer":          {Match{Protocol: "/x/a", Target: away}, 0, 1},
		"where it listens":               {Match{Listen: "unix:" + socket}, 0, 1},
		"where it listens, as a maddr":   {Match{Listen: "/unix" + socket}, 0, 1},
		"a listener listens at no place": {Match{Listen: "/p2p/" + other}, 0, 0},
		"all three":                      {Match{Protocol: "/x/b", Listen: "unix:" + socket, Target: away}, 0, 1},
		"not all three":                  {Match{Protocol: "/x/a", Listen: "unix:" + socket, Target: away}, 0, 0},
		"all":                            {Match{All: true}, 3, 3},
		"nothing that is there":          {Match{Protocol: "/x/z"}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			tunnels := on(t, newNode(t), t.TempDir())
			mustListen(t, tunnels, ListenSpec{Protocol: "/x/a", Target: "127.0.0.1:22"})
			mustListen(t, tunnels, ListenSpec{Protocol: "/x/b", Target: "/ip4/127.0.0.1/tcp/22"})
			mustListen(t, tunnels, ListenSpec{Protocol: "/x/c", Target: "file:" + folder})
			mustForward(t, tunnels, ForwardSpec{Protocol: "/x/a", Listen: "127.0.0.1:0", Peer: away})
			mustForward(t, tunnels, ForwardSpec{Protocol: "/x/a", Listen: "127.0.0.1:0", Peer: other})
			mustForward(t, tunnels, ForwardSpec{Protocol: "/x/b", Listen: "unix:" + socket, Peer: away})
			closed, err := tunnels.CloseMatching(c.match)
			require.NoError(t, err)
			assert.Equal(t, c.listeners+c.forwards, closed)
			list := tunnels.List()
			assert.Len(t, list.Listeners, 3-c.listeners)
			assert.Len(t, list.Forwards, 3-c.forwards)
			assert.Len(t, tunnels.node.Bridge().Listeners(), 3-c.listeners)
			assert.Len(t, tunnels.node.Bridge().Forwards(), 3-c.forwards)
		})
	}
}

func TestAMatchSaysWhatIsMissing(t *testing.T) {
	tunnels := on(t, newNode(t), t.TempDir())
	_, err := tunnels.CloseMatching(Match{})
	require.EqualError(t, err, "no matching options given")
	_, err = tunnels.CloseMatching(Match{All: true, Protocol: "/x/a"})
	require.EqualError(t, err, "can't combine --all with other matching options")
}

func TestAnIDPicksOne(t *testing.T) {
	tunnels := on(t, newNode(t), t.TempDir())
	mustListen(t, tunnels, ListenSpec{Protocol: "/x/a", Target: "127.0.0.1:22"})
	f := mustForward(t, tunnels, ForwardSpec{Protocol: "/x/a", Listen: "127.0.0.1:0", Peer: away})
	closed, err := tunnels.CloseMatching(Match{ID: f.ID})
	require.NoError(t, err)
	assert.Equal(t, 1, closed)
	assert.Len(t, tunnels.List().Listeners, 1)
}

// forwardOnName forwards a port of localhost, trying others if one is taken.
func forwardOnName(t *testing.T, tunnels *Tunnels) (address string, made Forward) {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		require.NoError(t, err)
		address = fmt.Sprintf("localhost:%d", l.Addr().(*net.TCPAddr).Port)
		require.NoError(t, l.Close())
		if made, _, err = tunnels.Forward(testContext(t), ForwardSpec{Protocol: "/x/a", Listen: address, Peer: away}); err == nil {
			return address, made
		}
	}
	require.FailNow(t, "no port of localhost is free")
	return "", Forward{}
}

func TestAForwardIsKnownByTheNameItWasGivenAndByItsAddress(t *testing.T) {
	dir := t.TempDir()
	before := on(t, newNode(t), dir)
	_, made := forwardOnName(t, before)
	require.NotContains(t, made.Listen, "localhost")
	closed, err := before.CloseMatching(Match{Listen: made.Listen})
	require.NoError(t, err)
	assert.Equal(t, 1, closed)
	name, _ := forwardOnName(t, before)
	end(t, before)

	after := on(t, newNode(t), dir)
	closed, err = after.CloseMatching(Match{Listen: name})
	require.NoError(t, err)
	assert.Equal(t, 1, closed, "after a restart, too")
}

func TestAForwardIsKnownByTheNameOfItsPeer(t *testing.T) {
	const name = "/dnsaddr/peer.example"
	found := func(context.Context, string) (peer.AddrInfo, error) {
		return core.ParsePeer("/ip4/127.0.0.1/tcp/9/p2p/" + away)
	}
	tunnels, err := open(testContext(t), newNode(t), t.TempDir(), quiet, found, local.Listen)
	require.NoError(t, err)
	defer tunnels.Close()
	mustForward(t, tunnels, ForwardSpec{Protocol: "/x/a", Listen: "127.0.0.1:0", Peer: name})
	closed, err := tunnels.CloseMatching(Match{Target: name})
	require.NoError(t, err)
	assert.Equal(t, 1, closed)
}
