package core_test

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core"
	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/liveness"
	"github.com/tombolo-net/tombolo/core/mesh"
)

// libp2p identifies a new peer only once, and waits five seconds for the answer. A phone
// that is locked while a page loads, or a busy machine, may answer later.
func TestAPeerThatIsFrozenAtItsStartIsHeardLater(t *testing.T) {
	t.Parallel()
	gate := &held{new(liveness.Gate), make(chan struct{}, 1), make(chan struct{})}
	n := newNode(t, core.Options{Gate: gate.Gate}, hosttest.Options{Gater: gate})
	far, way := newNode(t, core.Options{}, hosttest.Options{}), newProxy(t)
	ours, err := n.Subscribe("chat")
	require.NoError(t, err)
	defer ours.Close()
	theirs, err := far.Subscribe("chat")
	require.NoError(t, err)
	defer theirs.Close()
	unknown, err := n.Host().EventBus().Subscribe(new(event.EvtPeerIdentificationFailed))
	require.NoError(t, err)
	defer unknown.Close()

	go func() {
		<-gate.letIn
		way.held.Lock()
		close(gate.release)
	}()
	at := ma.StringCast(way.to(far.Host().Addrs()[0].String()))
	require.NoError(t, n.Host().Connect(bounded(t), peer.AddrInfo{ID: far.ID(), Addrs: []ma.Multiaddr{at}}))
	<-unknown.Out()
	way.held.Unlock()

	require.NoError(t, n.Broadcast(bounded(t), "chat", []byte("here to far"), mesh.WaitForPeer()))
	require.NoError(t, far.Broadcast(bounded(t), "chat", []byte("far to here"), mesh.WaitForPeer()))
	for _, sub := range []*dispatch.Subscription{ours, theirs} {
		var heard []string
		for range 2 {
			msg, err := sub.Next(bounded(t))
			require.NoError(t, err)
			heard = append(heard, string(msg.Data))
		}
		assert.ElementsMatch(t, []string{"here to far", "far to here"}, heard)
	}
}
