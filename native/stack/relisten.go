package stack

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/fx"
)

// Waits between two attempts to listen again.
const (
	relistenFirst = 100 * time.Millisecond
	relistenLast  = 5 * time.Second
)

// relistener keeps a swarm listening on its TCP ports until the swarm closes. libp2p
// closes a TCP listener for good when an accept fails, most often because no file is
// left, a condition that passes by itself. A UDP port needs no file to accept.
//
// Several listeners share a port, and close one after the other. Listening again on a
// port that is being closed can block in libp2p for ever, because each of the two holds
// the lock that the other needs. So the relistener waits for the last of them, listens
// one at a time, and does not listen while the swarm closes.
type relistener struct {
	swarm *swarm.Swarm

	mu    sync.Mutex
	ports map[string]*listened // by IP address and port

	listening sync.Mutex // held while listening again
	stopped   bool
}

// listened counts the listeners of a port.
type listened struct {
	open   int
	closed []ma.Multiaddr // to be opened again
}

// keepListening makes the swarm keep its TCP ports until it closes.
func keepListening() libp2p.Option {
	return libp2p.WithFxOption(fx.Invoke(func(s *swarm.Swarm, lifecycle fx.Lifecycle) {
		r := listenAnew(s)
		lifecycle.Append(fx.StopHook(r.stop)) // before the swarm, which it depends on
	}))
}

func listenAnew(s *swarm.Swarm) *relistener {
	r := &relistener{swarm: s, ports: make(map[string]*listened)}
	s.Notify(&network.NotifyBundle{
		ListenF:      func(_ network.Network, a ma.Multiaddr) { r.opened(a) },
		ListenCloseF: func(_ network.Network, a ma.Multiaddr) { r.closed(a) },
	})
	return r
}

// stop waits for an attempt in progress, and prevents later ones.
func (r *relistener) stop() {
	r.listening.Lock()
	defer r.listening.Unlock()
	r.stopped = true
}

// portOf returns the TCP port of a listener's address, with its IP address; empty if it
// has none.
func portOf(a ma.Multiaddr) string {
	if len(a) < 2 || a[1].Protocol().Code != ma.P_TCP || isCircuit(a) {
		return ""
	}
	return a[:2].String()
}

func (r *relistener) opened(a ma.Multiaddr) {
	port := portOf(a)
	if port == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ports[port] == nil {
		r.ports[port] = new(listened)
	}
	r.ports[port].open++
}

func (r *relistener) closed(a ma.Multiaddr) {
	port := portOf(a)
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.ports[port]
	if l == nil {
		return
	}
	l.open--
	l.closed = append(l.closed, a)
	if l.open == 0 {
		r.listenAgain(l)
		return
	}
	time.AfterFunc(relistenLast, func() { // in case the others stay open
		r.mu.Lock()
		defer r.mu.Unlock()
		r.listenAgain(l)
	})
}

// listenAgain opens the closed listeners of a port. The mutex is held.
func (r *relistener) listenAgain(l *listened) {
	for _, a := range l.closed {
		r.try(a, relistenFirst)
	}
	l.closed = nil
}

func (r *relistener) try(a ma.Multiaddr, wait time.Duration) {
	time.AfterFunc(wait, func() {
		r.listening.Lock()
		defer r.listening.Unlock()
		if r.stopped {
			return
		}
		if err := r.swarm.AddListenAddr(a); err != nil {
			r.try(a, min(2*wait, relistenLast))
		}
	})
}
