package main

import (
	"context"
	"fmt"
	"time"
)

// farBytes are those of one transfer over a long line: with a window of 256 KiB they
// take 20 s at 300 ms.
const farBytes = 16 << 20

// farTrips are the round trips, in milliseconds: a country, an ocean, and the other
// side of the world.
var farTrips = []int{20, 100, 300}

var farContenders = []struct {
	name  string
	start func(ctx context.Context, target, transport string, trip time.Duration) (*tunnel, error)
}{
	{"ours", func(ctx context.Context, target, transport string, trip time.Duration) (*tunnel, error) {
		return startHelpers(ctx, "ours", target, transport, trip)
	}},
	{"stock", func(ctx context.Context, target, transport string, trip time.Duration) (*tunnel, error) {
		return startHelpers(ctx, "stock", target, transport, trip)
	}},
}

// farOver measures the throughput of tunnels whose ends are far from each other. Of a
// circuit, half of the way is before the relay and half behind it. The first transfer
// of each connection counts: its windows grow in it.
func farOver(transport string) func(rounds int) ([]*figure, error) {
	return func(rounds int) (figures []*figure, err error) {
		ctx := context.Background()
		target, stop, err := startService(ctx)
		if err != nil {
			return nil, err
		}
		defer stop()
		for _, ms := range farTrips {
			pushed := newFigure(fmt.Sprintf("far-%s/push-%dms", transport, ms), "MiB/s", "ours", "stock")
			pulled := newFigure(fmt.Sprintf("far-%s/pull-%dms", transport, ms), "MiB/s", "ours", "stock")
			pushed.more, pulled.more = true, true
			figures = append(figures, pushed, pulled)
			for round := range rounds {
				for i := range farContenders {
					c := farContenders[(i+round)%len(farContenders)]
					t, err := c.start(ctx, target, transport, time.Duration(ms)*time.Millisecond)
					if err != nil {
						return figures, fmt.Errorf("%s: %w", c.name, err)
					}
					for _, f := range []*figure{pushed, pulled} {
						what := byte(push)
						if f == pulled {
							what = pull
						}
						took, err := transfer(t.addr, what, 1, farBytes)
						if err != nil {
							t.stop()
							return figures, fmt.Errorf("%s: %w", c.name, err)
						}
						f.add(c.name, farBytes/(1<<20)/took.Seconds())
					}
					t.stop()
				}
			}
		}
		return figures, nil
	}
}
