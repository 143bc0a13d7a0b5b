package stack

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAPeerThatOpensStreamsWithoutEndIsClosedAndOthersAreNot(t *testing.T) {
	h := newHost(t, Options{Listen: ListenOn(loopback, 0, -1)[:1], StreamRate: 1})
	h.SetStreamHandler("/echo", echo)
	info := peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()}
	honest, abuser := newHost(t, Options{}), newHost(t, Options{})
	ctx := testContext(t)
	require.NoError(t, honest.Connect(ctx, info))
	require.NoError(t, abuser.Connect(ctx, info))
	conn := abuser.Network().ConnsToPeer(h.ID())[0]
	for opened := 0; !conn.IsClosed(); opened++ {
		require.Less(t, opened, 10*openedBurst)
		s, err := conn.NewStream(ctx)
		if err != nil {
			break
		}
		_ = s.Reset()
	}
	require.Eventually(t, conn.IsClosed, 30*time.Second, 10*time.Millisecond)
	exchange(t, honest, info)
}

func TestOpeningsAreForgottenOnceTheyNoLongerCount(t *testing.T) {
	o := newOpenings(&network.NullResourceManager{}, 10, func(string) {})
	now := time.Now()
	for range openedBurst {
		require.True(t, o.mayOpen("a", now))
	}
	require.False(t, o.mayOpen("a", now))
	require.True(t, o.mayOpen("b", now))
	require.True(t, o.mayOpen("a", now.Add(time.Second)))
	later := now.Add(openedBurst * time.Second)
	require.True(t, o.mayOpen("c", later))
	assert.Len(t, o.peers, 1)
}
