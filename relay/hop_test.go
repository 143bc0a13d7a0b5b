package relay

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/customer"
)

// pipeStream is a stream whose writes go to a net.Conn.
type pipeStream struct {
	network.Stream
	pipe net.Conn
}

func (s pipeStream) Write(b []byte) (int, error)        { return s.pipe.Write(b) }
func (s pipeStream) SetWriteDeadline(t time.Time) error { return s.pipe.SetWriteDeadline(t) }

func TestACircuitWhoseEndTakesNothingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		stalled := 0
		s := &stallStream{Stream: pipeStream{pipe: near}, stalled: func() { stalled++ }}
		go func() {
			for range 3 { // slow, but fast enough
				time.Sleep(stallTime / 2)
				_, _ = far.Read(make([]byte, 10))
			}
		}()
		for range 3 {
			_, err := s.Write(make([]byte, 10))
			require.NoError(t, err)
		}
		assert.Zero(t, stalled)
		began := time.Now()
		_, err := s.Write(make([]byte, 10))
		assert.True(t, errors.Is(err, os.ErrDeadlineExceeded))
		assert.Equal(t, stallTime, time.Since(began))
		assert.Equal(t, 1, stalled)
	})
}

func TestCircuitsAreSharedByPeerAndAddress(t *testing.T) {
	p := newPlaces(Limits{CircuitsPerPeer: 100}.withDefaults(), connmgr.NullConnMgr{})
	p.most = 32
	here, there := customer.Of(ma.StringCast("/ip4/192.0.2.1/tcp/1")), customer.Of(ma.StringCast("/ip4/192.0.2.2/tcp/1"))
	for range 4 {
		require.Nil(t, p.connect("a", "z", here))
	}
	why := p.connect("a", "z", here)
	require.NotNil(t, why, "one peer may hold an eighth at most")
	assert.Equal(t, "circuits-per-peer", why.limit)
	for _, from := range []peer.ID{"b", "c", "d"} {
		for range 4 {
			require.Nil(t, p.connect(from, "z", here))
		}
	}
	why = p.connect("e", "z", here)
	require.NotNil(t, why, "one address may hold half at most")
	assert.Equal(t, "circuits-per-address", why.limit)
	require.Nil(t, p.connect("e", "z", there))
	p.disconnect("a", "z", here)
	require.Nil(t, p.connect("a", "z", here))
	for _, from := range []peer.ID{"a", "b", "c", "d"} {
		for range 4 {
			p.disconnect(from, "z", here)
		}
	}
	p.disconnect("e", "z", there)
	assert.Zero(t, p.open)
	assert.Empty(t, p.circuits)
	assert.Empty(t, p.sites)
	assert.Empty(t, p.ends)
}

func TestPlacesThatExpireAreGivenOn(t *testing.T) {
	p := newPlaces(Limits{Peers: 2, PeersPerAddress: 2}.withDefaults(), connmgr.NullConnMgr{})
	here, now := customer.Of(ma.StringCast("/ip4/192.0.2.1/tcp/1")), time.Now()
	require.Nil(t, p.reserve("a", here, now))
	require.Nil(t, p.reserve("b", here, now.Add(reservationTTL/2)))
	require.NotNil(t, p.reserve("c", here, now))
	require.Nil(t, p.reserve("b", here, now), "a peer that holds a reservation renews it")
	require.Nil(t, p.reserve("b", here, now.Add(reservationTTL/2)))
	require.Nil(t, p.reserve("c", here, now.Add(reservationTTL+time.Second)), "in the place of a")
	assert.False(t, p.holds("a"))
	p.release("b")
	p.release("c")
	assert.Empty(t, p.reserved)
	assert.Empty(t, p.taken)
}
