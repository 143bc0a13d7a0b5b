package stack

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/core/transport"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// acceptors is how many goroutines accept QUIC connections. libp2p's listeners hold 16
	// connections that nobody has accepted, and close further ones after a handshake that
	// both sides have paid for. Each waiting goroutine takes one more.
	acceptors = 64
	// acceptedAhead is how many accepted connections may wait for the swarm.
	acceptedAhead = 1024
)

// acceptListener accepts ahead of the swarm.
type acceptListener struct {
	transport.Listener
	accepted chan transport.CapableConn
	ended    chan struct{} // closed when nothing is accepted any more
	mu       sync.Mutex
	err      error // of the listener below, before ended is closed
	running  sync.WaitGroup
}

func acceptAhead(l transport.Listener) *acceptListener {
	a := &acceptListener{Listener: l, accepted: make(chan transport.CapableConn, acceptedAhead), ended: make(chan struct{})}
	for range acceptors {
		a.running.Go(a.run)
	}
	go func() {
		a.running.Wait()
		close(a.ended)
	}()
	return a
}

func (a *acceptListener) run() {
	for {
		c, err := a.Listener.Accept()
		if err != nil {
			a.mu.Lock()
			a.err = err
			a.mu.Unlock()
			return
		}
		select {
		case a.accepted <- c:
		default:
			_ = c.CloseWithError(network.ConnRateLimited)
		}
	}
}

func (a *acceptListener) Accept() (transport.CapableConn, error) {
	select {
	case c := <-a.accepted:
		return c, nil
	case <-a.ended:
		a.mu.Lock()
		defer a.mu.Unlock()
		return nil, a.err
	}
}

// Close closes the listener and the connections that nobody has accepted, and waits for
// its goroutines.
func (a *acceptListener) Close() error {
	err := a.Listener.Close()
	<-a.ended
	for {
		select {
		case c := <-a.accepted:
			_ = c.Close()
		default:
			return err
		}
	}
}

// quicTransport is libp2p's QUIC with listeners that accept ahead.
type quicTransport struct{ stockQUIC }

// stockQUIC has the methods that the swarm looks for in libp2p's transport.
type stockQUIC interface {
	transport.Transport
	fmt.Stringer
	io.Closer
	ListenOrder() int
}

func newQUIC(key crypto.PrivKey, conns *quicreuse.ConnManager, psk pnet.PSK, gater connmgr.ConnectionGater, limits network.ResourceManager) (*quicTransport, error) {
	t, err := quic.NewTransport(key, conns, psk, gater, limits)
	if err != nil {
		return nil, err
	}
	stock, ok := t.(stockQUIC)
	if !ok {
		return nil, errors.New("libp2p's QUIC has lost a method that hosts need")
	}
	return &quicTransport{stock}, nil
}

func (t *quicTransport) Listen(a ma.Multiaddr) (transport.Listener, error) {
	l, err := t.stockQUIC.Listen(a)
	if err != nil {
		return nil, err
	}
	return acceptAhead(l), nil
}
