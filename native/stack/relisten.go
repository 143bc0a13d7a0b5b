package stack

import (
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

// Waits between two tries to listen again.
const (
	relistenFirst = 100 * time.Millisecond
	relistenLast  = 5 * time.Second
)

// keepListening has a swarm listen on its TCP ports for as long as it lives.
// libp2p closes such a listener for good when an accept fails, most often for want
// of a file, which comes back by itself. A UDP port accepts no files.
func keepListening(s *swarm.Swarm) {
	s.Notify(&network.NotifyBundle{ListenCloseF: func(_ network.Network, a ma.Multiaddr) {
		if _, err := a.ValueForProtocol(ma.P_TCP); err == nil && !isCircuit(a) {
			listenAgain(s, a, relistenFirst)
		}
	}})
}

func listenAgain(s *swarm.Swarm, a ma.Multiaddr, wait time.Duration) {
	time.AfterFunc(wait, func() {
		err := s.AddListenAddr(a)
		if err != nil && !errors.Is(err, swarm.ErrSwarmClosed) {
			listenAgain(s, a, min(2*wait, relistenLast))
		}
	})
}
