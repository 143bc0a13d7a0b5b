package main

import (
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// taker is called with each packet that arrives.
type taker func(packet []byte)

func (t taker) Write(b []byte) (int, error) { t(b); return len(b), nil }

func TestALossyLineDelaysLosesAndKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const packets, delay = 10_000, 20 * time.Millisecond
		l := &lossyLine{delay: delay}
		l.lose(0.05)
		var sent [packets]time.Time
		var bytes atomic.Uint64
		came, last := 0, -1
		to := taker(func(p []byte) {
			n := int(p[1])<<8 | int(p[2])
			if n <= last {
				t.Errorf("packet %d came after %d", n, last)
			}
			if took := time.Since(sent[n]); took != delay {
				t.Errorf("packet %d took %v", n, took)
			}
			came, last = came+1, n
		})
		from, in := io.Pipe()
		l.carries.Go(func() { l.carry(to, from, rand.New(rand.NewPCG(1, 1)), &bytes) })
		for n := range packets {
			sent[n] = time.Now()
			_, _ = in.Write([]byte{4 << 4, byte(n >> 8), byte(n)})
			time.Sleep(time.Millisecond)
		}
		_, _ = in.Write([]byte{6 << 4}) // IPv6 is not carried
		_ = in.Close()
		l.carries.Wait()
		if lost := packets - came; lost < 400 || lost > 600 {
			t.Errorf("%d of %d packets were lost", lost, packets)
		}
		if bytes.Load() != 3*packets {
			t.Errorf("%d bytes were counted", bytes.Load())
		}
	})
}
