package relay

import (
	"container/heap"
	"context"
	"encoding/binary"
	"io"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// How the relay's own rate is found and shared.
const (
	// smallRead is the largest read that goes ahead of others', as long as its peer's small
	// reads stay within smallBurst bytes, and smallRate more a second.
	smallRead  = 4 << 10
	smallBurst = 128 << 10
	smallRate  = 256 << 10

	// bulkRate is how many bytes per second make a peer one of those that fill the relay. A
	// peer that waits for its turn is one of them, too.
	bulkRate = 1 << 20

	// adjustEvery is how often the rate is measured, by one probe every probeEvery: a probe
	// waits to be read as long as a small message does at each of its steps.
	adjustEvery = 200 * time.Millisecond
	probeEvery  = 5 * time.Millisecond
	lateEnough  = 150 * time.Microsecond // below this, there is room
	tooLate     = 300 * time.Microsecond // above this, the relay is overloaded

	// The rate never falls below leastRate, in bytes per second, nor below leastPart of the
	// peak: if probes still wait at that rate, the relay is not the cause.
	leastRate = 8 << 20
	leastPart = 0.2

	// settleBytes is how many bytes may pass above the rate at once.
	settleBytes = 256 << 10
)

// share divides the relay's bytes per second among the peers that send them. The peer
// that was served least goes first, and small reads of a peer that sends little wait for
// nobody. Its methods may be called concurrently.
type share struct {
	mu       sync.Mutex
	rate     float64 // bytes per second; 0: no limit
	measured bool    // the rate is measured, not configured
	peak     float64 // most bytes per second that passed since two peers filled the relay
	tokens   float64 // bytes that may pass now; negative: already overdrawn
	filled   time.Time
	served   float64 // account.served of the last account served: new ones begin there
	waiting  accounts
	timer    *time.Timer // of the next turn; nil if nobody waits
	accounts map[peer.ID]*account
	ended    bool

	stop context.CancelFunc
	done sync.WaitGroup
}

// account is how much a peer was served.
type account struct {
	share    *share
	of       peer.ID
	streams  int     // that share it
	served   float64 // bytes, plus the share's served when the account began
	bytes    float64 // since the rate was last adjusted
	total    float64 // bytes, for the operator
	slowed   int64   // reads that waited
	small    float64 // bytes of small reads that may go first
	smallAt  time.Time
	turns    []*turn // that wait
	position int     // in share.waiting; -1: not waiting
}

// turn is one read that waits.
type turn struct {
	bytes float64
	come  chan struct{} // closed when it is served
}

// newShare returns a share of that many bytes per second; of as many as the machine
// carries without delaying small messages if 0, and without limit if negative.
func newShare(bytesPerSecond int64) *share {
	s := &share{accounts: make(map[peer.ID]*account), stop: func() {}}
	s.set(bytesPerSecond)
	return s
}

// set changes the rate: see newShare.
func (s *share) set(bytesPerSecond int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	s.stop = func() {}
	s.measured = bytesPerSecond == 0
	s.setRate(float64(max(bytesPerSecond, 0)))
	if s.measured && !s.ended {
		var ctx context.Context
		ctx, s.stop = context.WithCancel(context.Background())
		s.done.Go(func() { s.measure(ctx) })
	}
}

// close serves all waiting reads, and waits for the goroutine of the share.
func (s *share) close() {
	s.mu.Lock()
	s.stop()
	s.ended = true
	s.release()
	s.mu.Unlock()
	s.done.Wait()
}

// release serves all waiting reads. The mutex is held.
func (s *share) release() {
	for len(s.waiting) > 0 {
		s.serve()
	}
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// open returns the account of a peer, for one stream; leave ends that use.
func (s *share) open(p peer.ID) *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[p]
	if a == nil {
		a = &account{share: s, of: p, small: smallBurst, smallAt: time.Now(), position: -1}
		s.accounts[p] = a
	}
	a.streams++
	return a
}

func (a *account) leave() {
	a.share.mu.Lock()
	defer a.share.mu.Unlock()
	if a.streams--; a.streams == 0 && a.small >= smallBurst && len(a.turns) == 0 {
		delete(a.share.accounts, a.of)
	}
}

// take waits until the peer may send n bytes, or until ctx ends.
func (a *account) take(ctx context.Context, n int) {
	s, now := a.share, time.Now()
	s.mu.Lock()
	a.bytes += float64(n)
	a.total += float64(n)
	if s.rate == 0 || s.ended {
		s.mu.Unlock()
		return
	}
	s.fill(now)
	if a.isSmall(n, now) || s.tokens > 0 && len(s.waiting) == 0 {
		s.tokens -= float64(n)
		a.served = max(a.served, s.served) + float64(n)
		s.mu.Unlock()
		return
	}
	t := &turn{bytes: float64(n), come: make(chan struct{})}
	a.slowed++
	a.turns = append(a.turns, t)
	if a.position < 0 {
		a.served = max(a.served, s.served)
		heap.Push(&s.waiting, a)
	}
	s.schedule()
	s.mu.Unlock()
	select {
	case <-t.come:
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		if i := slices.Index(a.turns, t); i >= 0 {
			a.turns = slices.Delete(a.turns, i, i+1)
			if len(a.turns) == 0 {
				heap.Remove(&s.waiting, a.position)
			}
		}
	}
}

// of returns how many bytes were read from a peer since its account began, and how many
// reads waited.
func (s *share) of(p peer.ID) (bytes, slowed int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.accounts[p]; a != nil {
		return int64(a.total), a.slowed
	}
	return 0, 0
}

// slowed returns how many peers wait.
func (s *share) slowed() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(len(s.waiting))
}

// rateNow returns the rate in bytes per second, or 0.
func (s *share) rateNow() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(s.rate)
}

// isSmall reports whether a read goes first, and counts it. The mutex is held.
func (a *account) isSmall(n int, now time.Time) bool {
	a.small = min(smallBurst, a.small+now.Sub(a.smallAt).Seconds()*smallRate)
	a.smallAt = now
	if n > smallRead || a.small < float64(n) || len(a.turns) > 0 {
		return false
	}
	a.small -= float64(n)
	return true
}

// fill adds the tokens for the time that has passed. The mutex is held.
func (s *share) fill(now time.Time) {
	s.tokens = min(settleBytes, s.tokens+now.Sub(s.filled).Seconds()*s.rate)
	s.filled = now
}

// schedule sets the timer for the next turn. The mutex is held.
func (s *share) schedule() {
	if len(s.waiting) == 0 || s.timer != nil {
		return
	}
	wait := time.Duration(max(-s.tokens, 0) / s.rate * float64(time.Second))
	s.timer = time.AfterFunc(max(wait, 50*time.Microsecond), s.turn)
}

// turn serves the reads that may pass now.
func (s *share) turn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = nil
	if s.rate == 0 {
		s.release()
		return
	}
	s.fill(time.Now())
	for s.tokens > 0 && len(s.waiting) > 0 {
		s.serve()
	}
	s.schedule()
}

// serve serves the peer that was served least. The mutex is held.
func (s *share) serve() {
	a := s.waiting[0]
	t := a.turns[0]
	a.turns = a.turns[1:]
	s.served = a.served
	a.served += t.bytes
	s.tokens -= t.bytes
	if len(a.turns) == 0 {
		a.turns = nil
		heap.Pop(&s.waiting)
	} else {
		heap.Fix(&s.waiting, 0)
	}
	close(t.come)
}

// measure adjusts the rate until ctx ends. While fewer than two peers fill the relay,
// there is no rate, and the probes pause.
func (s *share) measure(ctx context.Context) {
	p, err := newProbe()
	if err != nil {
		return // too many files are open: there is no rate
	}
	defer p.close()
	ticker := time.NewTicker(adjustEvery)
	defer ticker.Stop()
	for probing, began := false, time.Now(); ; {
		var late []time.Duration
		for probing && time.Since(began) < adjustEvery && ctx.Err() == nil {
			late = append(late, p.late())
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		probing = s.adjust(now.Sub(began), late)
		began = now
	}
}

// probe measures how long data that has arrived waits to be read: for a processor, and
// for the goroutines ahead of it. A timer is not precise enough: on an idle machine it
// fires up to a millisecond late.
type probe struct {
	r, w  *os.File
	began time.Time
	send  *time.Timer
}

func newProbe() (*probe, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p := &probe{r: r, w: w, began: time.Now()}
	p.send = time.AfterFunc(math.MaxInt64, func() {
		_, _ = w.Write(binary.BigEndian.AppendUint64(nil, uint64(time.Since(p.began))))
	})
	return p, nil
}

// late returns how late the next probe is read. It takes probeEvery.
func (p *probe) late() time.Duration {
	var sent [8]byte
	p.send.Reset(probeEvery)
	_, _ = io.ReadFull(p.r, sent[:]) // the pipe is ours: it cannot fail
	return time.Since(p.began) - time.Duration(binary.BigEndian.Uint64(sent[:]))
}

func (p *probe) close() {
	_ = p.w.Close()
	_ = p.r.Close()
}

// adjust sets the rate from the bytes that passed in the time, and from how late the
// probes were. It reports whether two or more peers fill the relay.
func (s *share) adjust(in time.Duration, late []time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	passed, bulk := 0.0, 0
	for p, a := range s.accounts {
		passed += a.bytes
		if len(a.turns) > 0 || a.bytes > bulkRate*in.Seconds() {
			bulk++
		}
		a.bytes = 0
		if a.isSmall(0, time.Now()); a.streams == 0 && a.small >= smallBurst && len(a.turns) == 0 {
			delete(s.accounts, p)
		}
	}
	if !s.measured { // it was set meanwhile
		return false
	}
	passed /= in.Seconds()
	if s.peak = max(s.peak, passed); bulk < 2 {
		s.peak = 0
	}
	s.setRate(nextRate(s.rate, passed, max(leastRate, s.peak*leastPart), bulk, late))
	return bulk >= 2
}

// nextRate returns the next rate: 0 for no limit, else at least least if it is lowered.
func nextRate(rate, passed, least float64, bulk int, late []time.Duration) float64 {
	if bulk < 2 {
		return 0
	}
	if len(late) == 0 {
		return rate
	}
	slices.Sort(late)
	switch wait := late[len(late)*9/10]; {
	case wait > tooLate:
		if rate == 0 {
			rate = passed
		}
		return max(min(rate, passed)*0.8, least)
	case wait < lateEnough && rate > 0:
		return rate * 1.05
	}
	return rate
}

// setRate changes the rate. The mutex is held.
func (s *share) setRate(rate float64) {
	if s.rate == 0 && rate > 0 {
		s.tokens, s.filled = 0, time.Now()
	}
	if rate == 0 {
		s.release()
	}
	s.rate = rate
}

// accounts is a heap of the waiting peers; the one served least is first.
type accounts []*account

func (q accounts) Len() int           { return len(q) }
func (q accounts) Less(i, j int) bool { return q[i].served < q[j].served }
func (q accounts) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].position, q[j].position = i, j
}

func (q *accounts) Push(x any) {
	a := x.(*account)
	a.position = len(*q)
	*q = append(*q, a)
}

func (q *accounts) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	last.position = -1
	return last
}
