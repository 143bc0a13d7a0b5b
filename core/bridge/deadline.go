package bridge

import (
	"context"
	"net"
	"sync"
	"time"
)

// errDeadline is the error of a wait that a deadline ended: a net.Error whose Timeout
// returns true.
var errDeadline = context.DeadlineExceeded.(net.Error)

// deadline ends the waits of a Conn that are not in its transport, as the deadline of
// net.Pipe does. The zero value never passes.
type deadline struct {
	mu     sync.Mutex
	timer  *time.Timer
	passed chan struct{} // closed when it has passed; nil until set or waited for
}

// set moves the deadline, also for waits in progress. The zero time means never.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.passed // the timer has fired, and is about to close it
	}
	d.timer = nil
	if d.passed == nil || isClosed(d.passed) {
		d.passed = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	left, passed := time.Until(t), d.passed
	if left <= 0 {
		close(passed)
		return
	}
	d.timer = time.AfterFunc(left, func() { close(passed) })
}

// wait returns a channel that is closed when the deadline passes.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed == nil {
		d.passed = make(chan struct{})
	}
	return d.passed
}

// stop stops the timer.
func (d *deadline) stop() { d.set(time.Time{}) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
