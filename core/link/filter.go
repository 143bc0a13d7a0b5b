package link

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Filter chooses among peers. It leaves what it is given as it is.
type Filter func([]peer.ID) []peer.ID

// Every chooses all.
func Every(peers []peer.ID) []peer.ID { return slices.Clone(peers) }

// Random chooses n, each as likely as any other and none twice; all of them, in
// some order, if there are no more than n.
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

// Sqrt chooses as many at random as the square root of their number, rounded
// up: what gossip needs to reach all in a few steps.
func Sqrt(peers []peer.ID) []peer.ID {
	return Random(int(math.Ceil(math.Sqrt(float64(len(peers))))))(peers)
}

// Where chooses those of which ok is true, in their order.
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
