package bridge

import (
	"net"
	"time"

	"golang.org/x/time/rate"
)

// rates limit the bytes of all streams of a listener, separately for each direction.
type rates struct{ in, out *rate.Limiter }

// With a rate, each read or write is bounded, so that bytes flow evenly, and so is the
// burst after a pause.
const (
	ratePart  = 16 << 10 // bytes: the most to read or write at once
	rateParts = 8        // and no more than the bytes of a second divided by this
	rateBurst = 64 << 10 // bytes
)

func newRates(bytesPerSecond int64) *rates {
	if bytesPerSecond <= 0 {
		return nil
	}
	one := func() *rate.Limiter { return rate.NewLimiter(rate.Limit(bytesPerSecond), rateBurst) }
	return &rates{one(), one()}
}

// part returns the most bytes to read or write at once.
func (r *rates) part() int { return min(ratePart, max(1, int(r.in.Limit()/rateParts))) }

// unbounded is the rate of streams whose bound was removed after they were opened.
const unbounded = 1 << 50

// set changes the rate, also for open streams. Zero removes the bound.
func (r *rates) set(bytesPerSecond int64) {
	if bytesPerSecond == 0 {
		bytesPerSecond = unbounded
	}
	r.in.SetLimit(rate.Limit(bytesPerSecond))
	r.out.SetLimit(rate.Limit(bytesPerSecond))
}

// wait waits until n bytes may pass. It returns early, with an error, if the deadline
// passes or the stream ends.
func (c *Conn) wait(l *rate.Limiter, n int, by *deadline) error {
	r := l.ReserveN(time.Now(), n)
	delay := r.Delay()
	if delay == 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-by.wait():
		r.Cancel()
		return errDeadline
	case <-c.over:
		r.Cancel()
		return net.ErrClosed
	}
}
