//go:build js

package jsio

import (
	"sync"
	"time"
)

// Deadline is a point in time that can be moved while goroutines wait for it.
type Deadline struct {
	mu      sync.Mutex
	timer   *time.Timer
	expired chan struct{} // closed once the time has come
}

// Wait returns a channel that is closed when the current deadline passes. Call it again
// after Set. A Set that moves the deadline earlier wakes the goroutines that wait.
func (d *Deadline) Wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channel()
}

func (d *Deadline) channel() chan struct{} {
	if d.expired == nil {
		d.expired = make(chan struct{})
	}
	return d.expired
}

// Set moves the deadline; the zero time removes it.
func (d *Deadline) Set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.channel() // its function is running or has run: let it finish first
	}
	d.timer = nil
	select {
	case <-d.channel():
		if t.IsZero() || time.Until(t) > 0 {
			d.expired = make(chan struct{})
		}
	default:
	}
	if t.IsZero() {
		return
	}
	expired := d.channel()
	if left := time.Until(t); left > 0 {
		d.timer = time.AfterFunc(left, func() { close(expired) })
		return
	}
	select {
	case <-expired:
	default:
		close(expired)
	}
}

// Expired reports whether the deadline has passed.
func (d *Deadline) Expired() bool {
	select {
	case <-d.Wait():
		return true
	default:
		return false
	}
}
