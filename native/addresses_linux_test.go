package native_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native"
	"github.com/tombolo-net/tombolo/native/internal/namespace"
)

// A keep-alive would notice only after 40 s.
func TestAConnectionOnAnAddressThatIsGoneIsGivenUp(t *testing.T) {
	t.Parallel()
	if !namespace.In(t, `ip link set lo up; ip addr add 10.1.1.1/32 dev lo; ip addr add 10.1.1.2/32 dev lo`) {
		return
	}
	on := func(addr string) []ma.Multiaddr { return []ma.Multiaddr{ma.StringCast(addr)} }
	a := newNode(t, native.Options{Listen: on("/ip4/0.0.0.0/tcp/0"), NoMDNS: true, NoPortMapping: true})
	b := newNode(t, native.Options{Listen: on("/ip4/10.1.1.1/tcp/0"), NoMDNS: true, NoPortMapping: true})
	port, err := a.Host().Addrs()[0].ValueForProtocol(ma.P_TCP)
	require.NoError(t, err)
	require.NoError(t, b.ConnectPeer(testContext(t), peer.AddrInfo{ID: a.ID(), Addrs: on("/ip4/10.1.1.2/tcp/" + port)}))
	require.Eventually(t, func() bool { // and a knows b's listen address
		return len(a.Peers()) == 1 && len(a.Host().Peerstore().Addrs(b.ID())) > 0
	}, 30*time.Second, 10*time.Millisecond)

	namespace.Do(t, `ip addr del 10.1.1.2/32 dev lo`)
	require.Eventually(t, func() bool { // b may be back at once, on another address
		return !slices.ContainsFunc(a.Host().Network().Conns(), func(c network.Conn) bool {
			return strings.HasPrefix(c.LocalMultiaddr().String(), "/ip4/10.1.1.2/")
		})
	}, 25*time.Second, 10*time.Millisecond)
	// And a finds b again at b's listen address.
	_, err = a.Ping(testContext(t), b.ID())
	require.NoError(t, err)
}
