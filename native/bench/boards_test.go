package main

import (
	"math/rand/v2"
	"testing"
)

func TestAllBoardsRankAlike(t *testing.T) {
	var all []ranking
	for _, r := range rankings {
		all = append(all, r.make())
	}
	random := rand.New(rand.NewPCG(1, 1))
	for range 5000 {
		player, score := random.Uint32N(300), random.Int64N(1<<40)
		for _, b := range all {
			b.set(player, score)
		}
		want := all[0].rank(player)
		for i, b := range all {
			if got := b.rank(player); got != want {
				t.Fatalf("%s: rank %d, not %d", rankings[i].name, got, want)
			}
		}
	}
}
