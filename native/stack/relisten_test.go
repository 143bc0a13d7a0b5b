package stack

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestATCPListenerThatEndedComesBack(t *testing.T) {
	h := newHost(t, Options{Listen: ListenOn(loopback, 0, -1)})
	h.SetStreamHandler("/echo", echo)
	network := h.Network().(*swarm.Swarm)
	listening := func() []ma.Multiaddr { return slices.DeleteFunc(network.ListenAddresses(), isCircuit) }
	before := listening()
	network.ListenClose(before...)
	require.Eventually(t, func() bool { return len(listening()) == len(before) }, 30*time.Second, 10*time.Millisecond)
	assert.ElementsMatch(t, text(before), text(listening()), "at the same port")
	for _, a := range before {
		other, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics())
		require.NoError(t, err)
		require.NotEmpty(t, exchange(t, other, peer.AddrInfo{ID: h.ID(), Addrs: []ma.Multiaddr{a}}), "%s", a)
		require.NoError(t, other.Close())
	}
}

func text(addrs []ma.Multiaddr) (all []string) {
	for _, a := range addrs {
		all = append(all, fmt.Sprint(a))
	}
	return all
}
