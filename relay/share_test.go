package relay

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPeersThatFillTheRelayHaveEqualSharesAndQuietOnesWaitForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(-1, 20*testRate)
		defer m.close()
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		sent := make([]int, 20)
		var pushing sync.WaitGroup
		for i := range sent {
			for range 1 + i%3 { // more streams do not get a larger share
				pushing.Go(func() {
					s := m.stream(fakeStream{from: peer.ID(fmt.Sprint(i))})
					defer s.Close()
					for buf := make([]byte, circuitBuffer); ctx.Err() == nil; {
						n, _ := s.Read(buf[:len(buf)>>(i%2)]) // larger reads do not either
						m.mu.Lock()
						sent[i] += n
						m.mu.Unlock()
					}
				})
			}
		}
		quiet := m.stream(fakeStream{from: "quiet"})
		defer quiet.Close()
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			began := time.Now()
			_, _ = quiet.Read(make([]byte, 64))
			assert.Zero(t, time.Since(began))
		}
		pushing.Wait()
		least, most, all := sent[0], sent[0], 0
		for _, n := range sent {
			least, most, all = min(least, n), max(most, n), all+n
		}
		assert.Less(t, float64(most), 1.1*float64(least))
		assert.InEpsilon(t, 200*testRate, all, 0.05, "the total is the rate that was set")
	})
}

func TestManySmallReadsAreNoWayToTheFront(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(-1, 2*testRate)
		defer m.close()
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		var small, large int
		var pushing sync.WaitGroup
		push := func(from peer.ID, size int, sent *int) {
			s := m.stream(fakeStream{from: from})
			defer s.Close()
			for buf := make([]byte, size); ctx.Err() == nil; {
				n, _ := s.Read(buf)
				*sent += n
			}
		}
		pushing.Go(func() { push("small", smallRead, &small) })
		pushing.Go(func() { push("large", circuitBuffer, &large) })
		pushing.Wait()
		assert.InEpsilon(t, large, small, 0.3)
	})
}

func TestTheRateFollowsHowLateSmallMessagesAre(t *testing.T) {
	ms := func(n int) []time.Duration {
		return []time.Duration{0, time.Duration(n) * time.Millisecond, time.Duration(n) * time.Millisecond}
	}
	const much = 100 << 20
	assert.Zero(t, nextRate(0, much, leastRate, 1, ms(50)), "one peer takes nothing from another")
	assert.Zero(t, nextRate(0, much, leastRate, 20, ms(0)), "there is room")
	assert.EqualValues(t, much*0.8, nextRate(0, much, leastRate, 20, ms(50)))
	assert.EqualValues(t, much*0.8, nextRate(2*much, much, leastRate, 20, ms(50)))
	assert.EqualValues(t, leastRate, nextRate(leastRate, leastRate, leastRate, 20, ms(50)))
	assert.Greater(t, nextRate(much, much, leastRate, 20, ms(0)), float64(much))
	assert.EqualValues(t, much, nextRate(much, much, leastRate, 20, []time.Duration{lateEnough}))
	assert.Zero(t, nextRate(much, much, leastRate, 0, nil), "the senders have left")
}

func TestTheRateStaysWhereWhatIsLateIsNotTheRelays(t *testing.T) {
	m := newMeter(-1, -1)
	defer m.close()
	s := m.share
	s.measured = true
	a, b := s.open("a"), s.open("b")
	defer a.leave()
	defer b.leave()
	passes := float64(1 << 30) // what the senders send while no rate is set
	for range 50 {
		if s.rate > 0 {
			passes = s.rate
		}
		a.bytes, b.bytes = passes/2, passes/2
		assert.True(t, s.adjust(time.Second, []time.Duration{time.Second}))
	}
	assert.EqualValues(t, leastPart*(1<<30), s.rate)
	s.adjust(time.Second, nil)
	assert.Zero(t, s.peak, "the peak of senders that have left is forgotten")
}

func TestAProbeIsReadLaterThanItWasSent(t *testing.T) {
	p, err := newProbe()
	require.NoError(t, err)
	defer p.close()
	for range 3 {
		assert.Positive(t, p.late())
	}
}

func TestTheRateLastsAsLongAsPeersWaitForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(-1, -1)
		defer m.close()
		m.share.mu.Lock()
		m.share.measured = true
		m.share.setRate(testRate)
		m.share.mu.Unlock()
		ctx, stop := context.WithCancel(t.Context())
		var pushing sync.WaitGroup
		for i := range 20 { // each sends less than bulkRate, and counts only because it waits
			pushing.Go(func() {
				s := m.stream(fakeStream{from: peer.ID(fmt.Sprint(i))})
				defer s.Close()
				for ctx.Err() == nil {
					readAll(s, circuitBuffer)
				}
			})
		}
		for range 20 {
			time.Sleep(adjustEvery)
			assert.True(t, m.share.adjust(adjustEvery, nil))
		}
		stop()
		pushing.Wait()
		assert.False(t, m.share.adjust(time.Minute, nil))
	})
}

func TestAMeasuredShareRestsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(-1, 0)
		s := m.stream(fakeStream{from: "a"})
		readAll(s, 10*testRate)
		s.Close()
		time.Sleep(time.Minute)
		m.share.mu.Lock()
		assert.Empty(t, m.share.accounts, "nobody is remembered")
		m.share.setRate(1)
		m.share.mu.Unlock()
		waits := m.stream(fakeStream{from: "b"})
		done := make(chan struct{})
		go func() {
			defer close(done)
			readAll(waits, 10*circuitBuffer)
		}()
		synctest.Wait()
		m.close()
		<-done
		waits.Close()
	})
}
