package link

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// errStalled ends a stream whose peer does not finish a frame, or does not read its
// answers.
var errStalled = errors.New("no progress for too long")

// stall detects that something makes no progress. Its owner calls step for each bit of
// progress, and rest when there is nothing to wait for. Both cost an atomic store; a
// timer would cost far more.
type stall struct {
	mark  atomic.Uint64 // the steps so far, shifted, and 1 while progress is expected
	steps uint64        // used only by the owner

	// Used only by the goroutine that looks.
	seen  uint64
	since time.Time
}

func (s *stall) step() {
	s.steps++
	s.mark.Store(s.steps<<1 | 1)
}

func (s *stall) rest() { s.mark.Store(s.steps << 1) }

// stuck reports whether the same step has been under way for as long as limit, as far as
// earlier calls have seen.
func (s *stall) stuck(now time.Time, limit time.Duration) bool {
	mark := s.mark.Load()
	if mark != s.seen || mark&1 == 0 {
		s.seen, s.since = mark, now
		return false
	}
	return now.Sub(s.since) >= limit
}

// watchStalls checks all streams at intervals, until ctx ends: it resets those that make
// no progress, moves links, ends idle ones, and forgets old offences.
func (l *Links) watchStalls(ctx context.Context) {
	tick := time.NewTicker(max(min(l.opts.StallTimeout, l.opts.IdleTimeout)/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		outs, ins := l.streams()
		l.moveAll(ctx, outs)
		for _, o := range outs {
			if o.writes.stall.stuck(now, l.opts.StallTimeout) {
				o.end(errStuck)
			}
			if o.reads.stall.stuck(now, l.opts.StallTimeout) {
				l.count.stalled.Add(1)
				o.end(errHalf)
			}
			o.endIfIdle(now, l.opts.IdleTimeout)
		}
		for _, in := range ins {
			if in.reads.stall.stuck(now, l.opts.StallTimeout) || in.writes.stall.stuck(now, l.opts.StallTimeout) {
				l.count.stalled.Add(1)
				in.end(errStalled)
			}
		}
		l.mu.Lock()
		l.offenders.forget(now)
		l.mu.Unlock()
	}
}

// streams lists the current links and inbound streams.
func (l *Links) streams() (outs []*outgoing, ins []*incoming) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, r := range l.peers {
		outs = append(outs, r.outs()...)
		ins = slices.AppendSeq(ins, maps.Keys(r.in))
	}
	return outs, ins
}
