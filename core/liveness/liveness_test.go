package liveness_test

import (
	"context"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/liveness"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

// limit is how long a test waits for an expected event.
const limit = 30 * time.Second

func TestHundredsThatAreSilentTakeNoLongerThanOne(t *testing.T) {
	h := hosttest.New(t, hosttest.Options{})
	far := hosttest.New(t, hosttest.Options{Listen: "none"})
	addr := h.Addrs()[0]
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	const silent = 200
	for range silent {
		// Nobody accepts streams on this connection, but its keep-alives are answered.
		c, err := far.Network().(*swarm.Swarm).TransportForDialing(addr).Dial(ctx, addr, h.ID())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
	}
	require.Eventually(t, func() bool { return len(h.Network().Conns()) == silent }, limit, time.Millisecond)
	const timeout = 2 * time.Second
	began := time.Now()
	assert.Len(t, liveness.CloseSilent(t.Context(), h.Network().Conns(), timeout), silent)
	assert.Less(t, time.Since(began), silent*timeout/10, "not one after the other")
	assert.Empty(t, h.Network().Conns())
}
