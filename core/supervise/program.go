package supervise

import (
	"bytes"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// CloseGrace is how long the parts of a node, all together, wait for functions of the
// program that are still running when the node closes.
const CloseGrace = 3 * time.Second

// Program tracks the goroutines that run functions of the program (handlers,
// validators and so on) and bounds how long Close waits for them. The parts of a node
// share one. The zero value is usable; all methods may be called concurrently.
type Program struct {
	goroutines sync.Map // by number: those that run functions of the program now

	mu       sync.Mutex
	deadline time.Time // the end of CloseGrace; zero before Closing
}

// Enter records that the calling goroutine runs a function of the program, until it
// calls leave. It takes about a microsecond.
func (p *Program) Enter() (leave func()) {
	id := goroutine()
	if _, already := p.goroutines.LoadOrStore(id, nil); already {
		return func() {}
	}
	return func() { p.goroutines.Delete(id) }
}

// Within reports whether the calling goroutine runs a function of the program. If a
// function closes something, Close cannot wait for that function, nor for another one,
// because the two could wait for each other.
func (p *Program) Within() bool {
	_, within := p.goroutines.Load(goroutine())
	return within
}

// Closing starts CloseGrace for all later calls of Await. Only the first call counts.
func (p *Program) Closing() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deadline.IsZero() {
		p.deadline = time.Now().Add(CloseGrace)
	}
}

// Await runs wait and reports whether it returned in time: within CloseGrace, or,
// after Closing, within the time that is left of it. Even if no time is left, Await
// gives wait a moment, so that it returns true if there is nothing to wait for.
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

// leastGrace is the moment that Await always gives.
const leastGrace = 250 * time.Millisecond

func (p *Program) grace() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deadline.IsZero() {
		return CloseGrace
	}
	return max(time.Until(p.deadline), leastGrace)
}

// goroutine returns the number of the calling goroutine. Go provides it only as text.
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
