package link

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Filter selects peers. It must not change its argument.
type Filter func([]peer.ID) []peer.ID

// Every selects all peers.
func Every(peers []peer.ID) []peer.ID { return slices.Clone(peers) }

// Random selects n different peers with equal probability, or all of them, in random
// order, if there are no more than n.
func Random(n int) Filter {
	return func(peers []peer.ID) []peer.ID {
		chosen := slices.Clone(peers)
		n := max(0, min(n, len(chosen)))
		for i := range n {
			j := i + rand.IntN(len(chosen)-i)
			chosen[i], chosen[j] = chosen[j], chosen[i]
		}
		return chosen[:n:n]
	}
}

// Sqrt selects random peers, as many as the square root of their number, rounded up.
// With that many, gossip reaches all peers in a few steps.
func Sqrt(peers []peer.ID) []peer.ID {
	return Random(int(math.Ceil(math.Sqrt(float64(len(peers))))))(peers)
}

// Where selects the peers for which ok returns true, in order.
func Where(ok func(peer.ID) bool) Filter {
	return func(peers []peer.ID) []peer.ID {
		var chosen []peer.ID
		for _, p := range peers {
			if ok(p) {
				chosen = append(chosen, p)
			}
		}
		return chosen
	}
}
