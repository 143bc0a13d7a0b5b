package supervise

import (
	"bytes"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// CloseGrace is how long those who run functions of a program wait for them when
// they close, once they have told them that they do: all of them together.
const CloseGrace = 3 * time.Second

// Program is a program as those know it who run functions of it: the parts of a
// node share one. The zero value is usable; all methods may be called concurrently.
type Program struct {
	goroutines sync.Map // the numbers of those that run its functions now

	mu       sync.Mutex
	deadline time.Time // of all that wait; zero before Closing
}

// Enter counts the calling goroutine in as one that runs a function, until it calls
// leave. It takes about a microsecond.
func (p *Program) Enter() (leave func()) {
	id := goroutine()
	if _, already := p.goroutines.LoadOrStore(id, nil); already {
		return func() {}
	}
	return func() { p.goroutines.Delete(id) }
}

// Within says whether the calling goroutine runs a function of the program. What
// such a function closes cannot wait for it, nor for another one: two of them could
// wait for each other.
func (p *Program) Within() bool {
	_, within := p.goroutines.Load(goroutine())
	return within
}

// Closing begins CloseGrace, for all that wait from now on. Later calls change
// nothing.
func (p *Program) Closing() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deadline.IsZero() {
		p.deadline = time.Now().Add(CloseGrace)
	}
}

// Await waits for what wait waits for, and says whether that came in time: within
// what is left of CloseGrace after Closing, within all of it before. Where that is
// over, what has come already still counts.
func (p *Program) Await(wait func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		wait()
	}()
	grace := time.NewTimer(p.grace())
	defer grace.Stop()
	select {
	case <-done:
		return true
	case <-grace.C:
		return false
	}
}

// leastGrace lets what has come already be seen.
const leastGrace = 250 * time.Millisecond

func (p *Program) grace() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deadline.IsZero() {
		return CloseGrace
	}
	return max(time.Until(p.deadline), leastGrace)
}

// goroutine is the number of the calling goroutine, which Go gives away only as
// text.
func goroutine() uint64 {
	var buf [64]byte
	b := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	number, _, _ := bytes.Cut(b, []byte(" "))
	n, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil { // a change of Go that the tests notice
		panic("supervise: a stack without the goroutine's number: " + err.Error())
	}
	return n
}
