package mesh

import (
	"context"
	"time"
)

// tend does what a topic has to do at certain times: ask and answer who is there, and
// catch up on missed broadcasts.
func (t *topic) tend(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		if next := earliest(t.presence.attend(now), t.history.catchUp(now)); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-timer.C:
		case <-t.kick:
		case <-ctx.Done():
			return
		}
	}
}

// nudge makes tend look at once.
func (t *topic) nudge() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// due reports whether a time has come; the zero time never does.
func due(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// earliest returns the first of times, ignoring zero times; zero if there is no other.
func earliest(times ...time.Time) (first time.Time) {
	for _, at := range times {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
