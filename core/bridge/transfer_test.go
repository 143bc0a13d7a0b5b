package bridge_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
)

// circuits makes h a relay for a few circuits.
func circuits(t testing.TB, h host.Host) {
	t.Helper()
	hosttest.Relay(t, h, relay.Resources{MaxReservations: 10, MaxCircuits: 10, MaxReservationsPerIP: 10, MaxReservationsPerASN: 10,
		BufferSize: 2048, ReservationTTL: time.Hour})
}

// If a transfer is cut, the reader gets an error, whatever the cause: an EOF would mean that
// everything has arrived.
func TestATransferIsNeverCutSilently(t *testing.T) {
	const size = 16 << 20
	for name, prepare := range map[string]func(t *testing.T) (here, there *core.Node, cut func(target pipeEnd)){
		"by the target": func(t *testing.T) (here, there *core.Node, cut func(pipeEnd)) {
			here, there = pair(t, bridge.Timeouts{})
			return here, there, func(target pipeEnd) { _ = target.Reset() }
		},
		"by the connection": func(t *testing.T) (here, there *core.Node, cut func(pipeEnd)) {
			here, there = pair(t, bridge.Timeouts{})
			return here, there, func(pipeEnd) { _ = there.Disconnect(here.ID()) }
		},
		"by the other node": func(t *testing.T) (here, there *core.Node, cut func(pipeEnd)) {
			here, there = pair(t, bridge.Timeouts{})
			return here, there, func(pipeEnd) { _ = there.Close() }
		},
		"by the other bridge": func(t *testing.T) (here, there *core.Node, cut func(pipeEnd)) {
			here, there = pair(t, bridge.Timeouts{})
			return here, there, func(pipeEnd) { _ = there.Bridge().Close() }
		},
		"by the relay": func(t *testing.T) (here, there *core.Node, cut func(pipeEnd)) {
			r := hosttest.New(t, hosttest.Options{})
			circuits(t, r)
			return relayed(t, r), relayed(t, r), func(pipeEnd) { _ = r.Close() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			here, there, cut := prepare(t)
			target, dialled := pipeTarget()
			listen(t, there, "/x/pull", target)
			from := newPipeAcceptor()
			_, err := here.Forward(t.Context(), "/x/pull", from, there.ID())
			require.NoError(t, err)
			client := from.dial()
			end := <-dialled
			go func() {
				_, _ = io.Copy(end.PipeWriter, io.LimitReader(zeros{}, size))
				_ = end.CloseWrite()
			}()
			n, err := io.CopyN(io.Discard, client, size/4)
			require.NoError(t, err)
			cut(end)
			rest, err := io.Copy(io.Discard, client)
			assert.ErrorIs(t, err, errPipeReset)
			assert.Less(t, n+rest, int64(size))
			_ = end.Reset()
			assert.NotEmpty(t, endedWith(t, here).Reason)
		})
	}
}

// Data sent before its sender ends arrives completely, however slowly it is read.
func TestAllThatWasSentBeforeTheEndComes(t *testing.T) {
	here, there := pair(t, bridge.Timeouts{})
	sent := randomBytes(200 << 10) // less than a window: the sender is gone when it is read
	gone := make(chan struct{})
	listen(t, there, "/x/push", bridge.Func(func(_ context.Context, c net.Conn) {
		defer close(gone)
		_, _ = c.Write(sent)
	}))
	c, err := here.Dial(testContext(t), there.ID(), "/x/push")
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write(nil)
	require.NoError(t, err)
	<-gone
	endedWith(t, there)
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, sent, got)
}
