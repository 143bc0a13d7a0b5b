package webrtc

import (
	"net"
	"sync"

	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"
)

// listener returns the connections that other peers have started.
type listener struct {
	transport *Transport
	closed    chan struct{}
	once      sync.Once
}

var _ transport.Listener = (*listener)(nil)

func (l *listener) Accept() (transport.CapableConn, error) {
	select {
	case c := <-l.transport.inbound:
		return c, nil
	case <-l.closed:
	case <-l.transport.closed:
	}
	return nil, transport.ErrListenerClosed
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.transport.mu.Lock()
		defer l.transport.mu.Unlock()
		l.transport.listening = false
	})
	return nil
}

func (l *listener) Addr() net.Addr          { return netAddr{} }
func (l *listener) Multiaddr() ma.Multiaddr { return Addr }

// netAddr is Addr as a net.Addr.
type netAddr struct{}

func (netAddr) Network() string { return "webrtc" }
func (netAddr) String() string  { return Addr.String() }
