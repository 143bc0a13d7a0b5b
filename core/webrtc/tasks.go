package webrtc

import "sync"

// tasks are what the Close of a transport waits for. Once it does, none is added.
type tasks struct {
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// enter adds one, until leave, unless close was called.
func (t *tasks) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running.Add(1)
	return true
}

func (t *tasks) leave() { t.running.Done() }

// run runs f on a goroutine, of which close knows if it was not called before.
func (t *tasks) run(f func()) {
	known := t.enter()
	go func() {
		if known {
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
