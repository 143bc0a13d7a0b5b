package webrtc

import "sync"

// tasks are what the Close of a transport waits for. Once it does, only a task that it
// waits for adds another one.
type tasks struct {
	mu      sync.Mutex
	closed  bool
	count   int
	running sync.WaitGroup
}

// enter adds one, until leave, unless close was called.
func (t *tasks) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.add()
	return true
}

// add adds one; mu is held.
func (t *tasks) add() {
	t.count++
	t.running.Add(1)
}

func (t *tasks) leave() {
	t.mu.Lock()
	t.count--
	t.mu.Unlock()
	t.running.Done()
}

// run runs f on a goroutine. close waits for it, unless nothing was running any more.
func (t *tasks) run(f func()) {
	t.mu.Lock()
	waited := !t.closed || t.count > 0
	if waited {
		t.add()
	}
	t.mu.Unlock()
	go func() {
		if waited {
			defer t.leave()
		}
		f()
	}()
}

// close waits for all of them.
func (t *tasks) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.running.Wait()
}
