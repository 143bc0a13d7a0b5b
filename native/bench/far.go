package main

import (
	"context"
	"fmt"
	"time"
)

// farBytes is the size of one transfer over a long line, which takes 20 s with a window of
// 256 KiB and a round trip of 300 ms.
const farBytes = 16 << 20

// farTrips are the round trips, in milliseconds: across a country, across an ocean, and to
// the other side of the world.
var farTrips = []int{20, 100, 300}

// farContenders are the kinds of tunnels that startHelpers knows.
var farContenders = []string{"ours", "stock"}

// farOver measures the throughput of tunnels whose ends are far from each other. The relay
// of a circuit is halfway. The first transfer of each connection counts, because its
// windows grow during that.
func farOver(transport string) func(rounds int) ([]*figure, error) {
	return func(rounds int) (figures []*figure, err error) {
		ctx := context.Background()
		target, stop, err := startService(ctx)
		if err != nil {
			return nil, err
		}
		defer stop()
		for _, ms := range farTrips {
			pushed := newFigure(fmt.Sprintf("far-%s/push-%dms", transport, ms), "MiB/s", farContenders...)
			pulled := newFigure(fmt.Sprintf("far-%s/pull-%dms", transport, ms), "MiB/s", farContenders...)
			pushed.more, pulled.more = true, true
			figures = append(figures, pushed, pulled)
			for round := range rounds {
				for i := range farContenders {
					c := farContenders[(i+round)%len(farContenders)]
					t, err := startHelpers(ctx, c, target, transport, time.Duration(ms)*time.Millisecond)
					if err != nil {
						return figures, fmt.Errorf("%s: %w", c, err)
					}
					err = pushed.transfer(c, t, push)
					if err == nil {
						err = pulled.transfer(c, t, pull)
					}
					t.stop()
					if err != nil {
						return figures, fmt.Errorf("%s: %w", c, err)
					}
				}
			}
		}
		return figures, nil
	}
}

// transfer measures one transfer of farBytes.
func (f *figure) transfer(contender string, t *tunnel, what byte) error {
	took, err := transfer(t.addr, what, 1, farBytes)
	if err == nil {
		f.add(contender, farBytes/(1<<20)/took.Seconds())
	}
	return err
}
