package world

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// BenchmarkTick measures the cost of a tick by the number of entities. Half of the entities
// belong to players, 25 players share a connection, and each player sees about 50 entities.
// The cost per entity must not grow with their number.
func BenchmarkTick(b *testing.B) {
	for _, n := range []int{1000, 2500, 5000, 10000, 20000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			side := float32(math.Sqrt(float64(n) / 50 * math.Pi * 20 * 20))
			game := &drift{random: rand.New(rand.NewPCG(1, 2)), side: side, speed: 1}
			s := newStage(b, game, Options{Radius: 20, Players: n}, n/50, 25)
			for range n / 2 {
				game.spawn()
			}
			tick := func() {
				s.tick(nil)
				for _, at := range s.pipes {
					at.buf = at.buf[:0]
				}
			}
			for range 50 {
				tick()
			}
			before := s.framer.stats.updates
			b.ResetTimer()
			for range b.N {
				tick()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entity")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(s.framer.stats.updates-before), "ns/update")
		})
	}
}
