package link_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"

	"github.com/tombolo-net/tombolo/core/link"
)

func peers(n int) []peer.ID {
	all := []peer.ID{}
	for i := range n {
		all = append(all, peer.ID(fmt.Sprint(i)))
	}
	return all
}

func TestFiltersChooseAsManyAsTheySayAndNoneTwice(t *testing.T) {
	even := func(p peer.ID) bool { return (p[len(p)-1]-'0')%2 == 0 }
	for _, n := range []int{0, 1, 2, 3, 4, 10, 17, 100} {
		for name, c := range map[string]struct {
			filter link.Filter
			want   int
		}{
			"every":        {link.Every, n},
			"random 3":     {link.Random(3), min(n, 3)},
			"random 1":     {link.Random(1), min(n, 1)},
			"random 0":     {link.Random(0), 0},
			"random -1":    {link.Random(-1), 0},
			"random 1000":  {link.Random(1000), n},
			"sqrt":         {link.Sqrt, int(math.Ceil(math.Sqrt(float64(n))))},
			"where even":   {link.Where(even), (n + 1) / 2},
			"where nobody": {link.Where(func(peer.ID) bool { return false }), 0},
		} {
			given := peers(n)
			chosen := c.filter(given)
			assert.Equal(t, peers(n), given, "%s leaves what it is given", name)
			assert.Len(t, chosen, c.want, "%s of %d", name, n)
			seen := make(map[peer.ID]bool)
			for _, p := range chosen {
				assert.Contains(t, given, p)
				seen[p] = true
			}
			assert.Len(t, seen, len(chosen), "%s of %d chose one twice", name, n)
		}
	}
	assert.Equal(t, []peer.ID{"0", "2", "4"}, link.Where(even)(peers(5)))
}

func TestRandomChoosesEachAsLikely(t *testing.T) {
	counts := make(map[peer.ID]int)
	for range 4000 {
		for _, p := range link.Random(3)(peers(10)) {
			counts[p]++
		}
	}
	for p, n := range counts { // 1200 each, with a deviation of 29
		assert.InDelta(t, 1200, n, 300, "%s", p)
	}
}

func TestWhatAFilterChoseIsTheCallers(t *testing.T) {
	given := peers(5)
	for _, f := range []link.Filter{link.Every, link.Random(3), link.Sqrt} {
		chosen := f(given)
		_ = append(chosen, "x")
		slices.Reverse(chosen)
		assert.Equal(t, peers(5), given)
	}
}
