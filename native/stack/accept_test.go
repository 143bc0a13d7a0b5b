package stack

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shortListener holds up to 16 connections that have not been accepted, like libp2p's
// listeners.
type shortListener struct {
	transport.Listener
	queue  chan transport.CapableConn
	closed chan struct{}
}

func (l *shortListener) Accept() (transport.CapableConn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, transport.ErrListenerClosed
	}
}

func (l *shortListener) Close() error {
	close(l.closed)
	return nil
}

type closingConn struct {
	transport.CapableConn
	closed *int
}

func (c closingConn) Close() error { *c.closed++; return nil }

func (c closingConn) CloseWithError(network.ConnErrorCode) error { return c.Close() }

func TestConnectionsAreKeptForASwarmThatIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := &shortListener{queue: make(chan transport.CapableConn, 16), closed: make(chan struct{})}
		l := acceptAhead(below)
		closed := 0
		for range 10 { // each time as many as arrive while no goroutine runs
			synctest.Wait()
			for range 16 + acceptors {
				select {
				case below.queue <- closingConn{closed: &closed}:
				default:
					t.Fatal("the queue is full")
				}
			}
		}
		synctest.Wait()
		_, err := l.Accept()
		require.NoError(t, err)
		require.NoError(t, l.Close())
		assert.Equal(t, 10*(16+acceptors)-1, closed, "none is left behind")
		_, err = l.Accept()
		assert.ErrorIs(t, err, transport.ErrListenerClosed)
	})
}

func TestHandshakesTakeTurnsAndNoneIsHeldUpForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandshakes()
		began := time.Now()
		var ends []func()
		for range handshakesAtOnce {
			ends = append(ends, h.begin())
		}
		assert.Zero(t, time.Since(began))
		next := make(chan func())
		go func() { next <- h.begin() }()
		synctest.Wait()
		ends[0]()
		ends[0]() // a second call has no effect
		end := <-next
		assert.Zero(t, time.Since(began))
		end()
		for range 10 * handshakesAtOnce { // handshakes of clients that never continue
			h.begin()
		}
		assert.LessOrEqual(t, time.Since(began), 10*handshakeTurn)
	})
}
