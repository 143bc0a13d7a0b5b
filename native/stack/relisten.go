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

// Waits between two tries to listen again.
const (
	relistenFirst = 100 * time.Millisecond
	relistenLast  = 5 * time.Second
)

// relistener has a swarm listen on its TCP ports for as long as it lives.
// libp2p closes such a listener for good when an accept fails, most often for want
// of a file, which comes back by itself. A UDP port accepts no files.
//
// Several listeners share a port, and close one after the other. To listen anew on a
// port that is being closed can block in libp2p for ever, since each of the two holds
// the lock that the other wants. So the last of them is waited for, one listens at a time,
// and none while the swarm closes.
type relistener struct {
	swarm *swarm.Swarm

	mu    sync.Mutex
	ports map[string]*listened // by IP address and port

	listening sync.Mutex // held while one listens anew
	stopped   bool
}

// listened are the listeners of a port.
type listened struct {
	open   int
	closed []ma.Multiaddr // that are to be opened again
}

// keepListening has libp2p make the swarm keep its TCP ports until it closes.
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

// stop waits for who listens anew, and has nobody do so later.
func (r *relistener) stop() {
	r.listening.Lock()
	defer r.listening.Unlock()
	r.stopped = true
}

// portOf is the TCP port that a listener's address has, with its IP address, or nothing.
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
	time.AfterFunc(relistenLast, func() { // where the others stay
		r.mu.Lock()
		defer r.mu.Unlock()
		r.listenAgain(l)
	})
}

// listenAgain opens what has closed on a port; mu is held.
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
