package liveness

import (
	"context"
	"time"
)

const (
	// sleepTick is how often the clocks are compared.
	sleepTick = 5 * time.Second

	// sleepDrift is how far the wall clock may run ahead of the monotonic one in a tick.
	// On most systems the monotonic clock stands still while the machine sleeps.
	sleepDrift = 5 * time.Second

	// sleepLate is how late a tick may be if both clocks continue. Browsers run the
	// timers of a hidden tab only once a minute, which does not count as sleep.
	sleepLate = 75 * time.Second
)

// WatchClocks calls slept when the clocks show that the machine slept, with the last time
// before that. It returns when ctx ends.
func WatchClocks(ctx context.Context, slept func(since time.Time)) {
	tick := time.NewTicker(sleepTick)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-tick.C:
			now := time.Now()
			if isSleep(now.Round(0).Sub(last.Round(0)), now.Sub(last)) {
				slept(last)
			}
			last = now
		case <-ctx.Done():
			return
		}
	}
}

// isSleep reports whether the machine slept in a tick that took wall by the wall clock,
// and ran by the monotonic one.
func isSleep(wall, ran time.Duration) bool {
	return wall-ran > sleepDrift || ran > sleepTick+sleepLate
}
