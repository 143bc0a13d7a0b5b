package muxer

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A stream that may carry a circuit has a wide window from the start: it must hold the
// window of a stream within the circuit, with its headers and one doubling. A stream
// within a circuit need not.
func TestAConnectionTakesMoreAtOnceThanTheCircuitsWithin(t *testing.T) {
	assert.Equal(t, wideWindow, windowOf(t, false, nil))
	assert.Equal(t, window, windowOf(t, true, nil))
}

func TestWindowsAreCounted(t *testing.T) {
	for _, circuit := range []bool{false, true} {
		scope := &memory{limit: 1 << 30}
		took := windowOf(t, circuit, scope)
		assert.Equal(t, took, scope.most, "what a stream may have under way is what is reserved for it (circuit: %v)", circuit)
		assert.Zero(t, scope.taken, "and is given back")
	}
}

func TestWindowsBeginSmallWhereMemoryIsShort(t *testing.T) {
	scope := &memory{limit: 10 << 20, taken: 7 << 20}
	assert.Equal(t, window, windowOf(t, false, scope))
	assert.Equal(t, 7<<20, scope.taken)
}

func TestAStreamIsRefusedWhenThereIsNoMemoryForItsWindow(t *testing.T) {
	scope := &memory{limit: 1 << 30}
	_, accepter := muxed(t, false, scope)
	scope.limit = wideWindow - 1
	_, err := accepter.OpenStream(t.Context())
	require.ErrorIs(t, err, network.ErrResourceLimitExceeded)
	assert.ErrorContains(t, err, "the window of a stream")
	assert.Zero(t, scope.taken)
}

// The limits of libp2p's own resource manager apply to windows.
func TestTheResourceManagerOfLibp2pHoldsWindows(t *testing.T) {
	limits, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(rcmgr.DefaultLimits.Scale(1<<30, 64)))
	require.NoError(t, err)
	defer limits.Close()
	scope, err := limits.OpenConnection(network.DirInbound, false, nil)
	require.NoError(t, err)
	defer scope.Done()
	require.NoError(t, scope.SetPeer(peer.ID("a peer")))
	assert.Equal(t, wideWindow, windowOf(t, false, scope.PeerScope()))
}

// windowOf returns how many bytes a stream takes from its writer while nobody reads.
func windowOf(t *testing.T, circuit bool, scope network.PeerScope) (taken int) {
	synctest.Test(t, func(t *testing.T) {
		opener, accepter := muxed(t, circuit, scope)
		s, err := opener.OpenStream(t.Context())
		require.NoError(t, err)
		accepted, err := accepter.AcceptStream()
		require.NoError(t, err)
		synctest.Wait() // the opener has received the window
		require.NoError(t, s.SetWriteDeadline(time.Now().Add(time.Second)))
		taken, err = s.Write(make([]byte, 2*wideWindow))
		var timeout net.Error
		require.ErrorAs(t, err, &timeout, "a window has an end")
		require.True(t, timeout.Timeout())
		require.NoError(t, errors.Join(s.Reset(), accepted.Reset(), opener.Close(), accepter.Close()))
	})
	return taken
}

// muxed returns the two ends of a connection, or of one within a circuit. scope is the
// accepter's.
func muxed(t *testing.T, circuit bool, scope network.PeerScope) (opener, accepter network.MuxedConn) {
	t.Helper()
	near, far := net.Pipe()
	if circuit {
		near, far = inCircuit{near}, inCircuit{far}
	}
	opener, err := Muxer{}.NewConn(near, false, nil)
	require.NoError(t, err)
	accepter, err = Muxer{}.NewConn(far, true, scope)
	require.NoError(t, err)
	t.Cleanup(func() { opener.Close(); accepter.Close() })
	return opener, accepter
}

type inCircuit struct{ net.Conn }

func (inCircuit) RemoteAddr() net.Addr { return &client.NetAddr{} }

// memory is a scope that allows limit bytes of memory.
type memory struct {
	network.PeerScope
	limit, taken, most int
}

type span struct {
	network.ResourceScopeSpan
	of    *memory
	taken int
}

func (m *memory) BeginSpan() (network.ResourceScopeSpan, error) { return &span{of: m}, nil }

func (s *span) ReserveMemory(size int, prio uint8) error {
	if s.of.taken+size > s.of.limit/256*(int(prio)+1) {
		return network.ErrResourceLimitExceeded
	}
	s.taken += size
	s.of.taken += size
	s.of.most = max(s.of.most, s.of.taken)
	return nil
}

func (s *span) Done() {
	s.of.taken -= s.taken
	s.taken = 0
}
