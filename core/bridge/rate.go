package bridge

import (
	"net"
	"time"

	"golang.org/x/time/rate"
)

// rates bound the bytes of all streams of a listener, each direction for itself.
type rates struct{ in, out *rate.Limiter }

// Under a rate, what is read or written at once is bounded, so that it flows
// rather than stutters, and what may pass at once after a pause.
const (
	ratePart  = 16 << 10 // bytes, and no more than
	rateParts = 8        // of these a second need
	rateBurst = 64 << 10 // bytes
)

func newRates(bytesPerSecond int64) *rates {
	if bytesPerSecond <= 0 {
		return nil
	}
	one := func() *rate.Limiter { return rate.NewLimiter(rate.Limit(bytesPerSecond), rateBurst) }
	return &rates{one(), one()}
}

// part is what is read or written at once, in bytes.
func (r *rates) part() int { return min(ratePart, max(1, int(r.in.Limit()/rateParts))) }

// set changes the rate for the streams that are under it.
func (r *rates) set(bytesPerSecond int64) {
	r.in.SetLimit(rate.Limit(bytesPerSecond))
	r.out.SetLimit(rate.Limit(bytesPerSecond))
}

// wait lets n bytes of the rate pass. It returns early, with an error, when the
// deadline passes or the stream is over.
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
