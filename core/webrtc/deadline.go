package webrtc

import (
	"sync"
	"time"
)

// A wake wakes everyone who waits for a change. Its owner's mutex guards it.
type wake struct{ ch chan struct{} }

// wait returns a channel that is closed at the next raise.
func (w *wake) wait() <-chan struct{} {
	if w.ch == nil {
		w.ch = make(chan struct{})
	}
	return w.ch
}

func (w *wake) raise() {
	if w.ch != nil {
		close(w.ch)
		w.ch = nil
	}
}

// A deadline is a point in time that can be moved while somebody waits for it.
type deadline struct {
	mu      sync.Mutex
	timer   *time.Timer
	expired chan struct{} // nil if there is no deadline
}

// wait returns a channel that is closed when the deadline passes, or nil if there is
// none. After set it must be called again.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expired
}

// set moves the deadline; the zero time removes it.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop() // if it runs, it closes the channel of the old deadline
		d.timer = nil
	}
	d.expired = nil
	if t.IsZero() {
		return
	}
	expired := make(chan struct{})
	d.expired = expired
	left := time.Until(t)
	if left <= 0 {
		close(expired)
		return
	}
	d.timer = time.AfterFunc(left, func() { close(expired) })
}

// passed reports whether the deadline has passed.
func (d *deadline) passed() bool {
	select {
	case <-d.wait():
		return true
	default:
		return false
	}
}
