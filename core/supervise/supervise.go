// Package supervise runs the handlers of applications. A handler that panics ends only
// its own run. A handler that exceeds its time limit is named in the log and in Stats
// while it runs. Go cannot end a goroutine from outside, so that is all that can be done;
// suture does the same.
package supervise

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tombolo-net/tombolo/core/message"
)

// DefaultLimit is how long a handler may run before the log and Stats name it.
const DefaultLimit = 10 * time.Second

// Options configure a Supervisor. The zero value is usable.
type Options struct {
	// Logger receives the panics and the names of late handlers. If nil,
	// nothing is logged.
	Logger *slog.Logger
	// Limit is how long a handler may run before the log and Stats name it. If zero,
	// DefaultLimit; if negative, there is no limit.
	Limit time.Duration
}

// Supervisor runs handlers and keeps count. All methods may be called
// concurrently. It has no goroutine, so there is nothing to close.
type Supervisor struct {
	log   *slog.Logger
	limit time.Duration

	mu    sync.Mutex
	first *run // running handlers in the order of their start, which is also that of their deadlines: all have one limit
	last  *run
	spare *run // linked by next; runs to be used again
	armed bool // a timer will call check
	stats Stats
}

// run is a running handler.
type run struct {
	handler    string
	msg        *message.Message // nil if the handler is not called for a message
	start      time.Time
	overdue    bool
	prev, next *run
}

// PanicError is returned by Run when the handler panicked.
type PanicError struct {
	Handler string
	Value   any    // what was passed to panic
	Stack   []byte // of the panic, from debug.Stack
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("handler %q panicked: %v", e.Handler, e.Value)
}

// Unwrap returns the value of the panic if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// errExit is the value of a PanicError if there was no panic.
var errExit = errors.New("it called runtime.Goexit")

// New returns a Supervisor.
func New(opts Options) *Supervisor {
	s := &Supervisor{log: opts.Logger, limit: opts.Limit}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.limit == 0 {
		s.limit = DefaultLimit
	}
	return s
}

// Run calls f and waits for it. handler is its name in the log and in Stats; m
// is the message it is called for, or nil.
//
// A panic of f is caught, logged with the message's type and ID and with the stack,
// counted, and returned as a *PanicError. A runtime.Goexit in f is also logged and
// counted as a panic, but it cannot be caught: Run does not return then, and the caller's
// goroutine ends after its deferred calls.
func (s *Supervisor) Run(handler string, m *message.Message, f func()) (err error) {
	r := s.begin(handler, m)
	returned := false
	defer func() {
		if returned {
			s.end(r, false)
			return
		}
		v := recover()
		if v == nil {
			v = errExit
		}
		p := &PanicError{Handler: handler, Value: v, Stack: debug.Stack()}
		s.log.Error("a handler panicked", append(about(handler, m), "panic", v, "stack", string(p.Stack))...)
		s.end(r, true)
		err = p
	}()
	f()
	returned = true
	return nil
}

// Catch, deferred, is like Run for a function that is too quick to be watched: it
// catches, logs and counts a panic.
func (s *Supervisor) Catch(handler string) {
	v := recover()
	if v == nil {
		return
	}
	s.log.Error("a handler panicked", "handler", handler, "panic", v, "stack", string(debug.Stack()))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Runs++
	s.stats.Panics++
}

func (s *Supervisor) begin(handler string, m *message.Message) *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.spare
	if r == nil {
		r = new(run)
	} else {
		s.spare = r.next
	}
	*r = run{handler: handler, msg: m, start: time.Now(), prev: s.last}
	if s.last == nil {
		s.first = r
	} else {
		s.last.next = r
	}
	s.last = r
	s.stats.Running++
	if !s.armed && s.limit > 0 {
		s.armed = true
		time.AfterFunc(s.limit, s.check)
	}
	return r
}

func (s *Supervisor) end(r *run, panicked bool) {
	s.mu.Lock()
	took := time.Since(r.start)
	late := r.overdue || s.limit > 0 && took >= s.limit
	if late && !r.overdue { // the handler returned before the timer came to it
		s.stats.Late++
	}
	handler, m := r.handler, r.msg
	if r.prev == nil {
		s.first = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		s.last = r.prev
	} else {
		r.next.prev = r.prev
	}
	*r = run{next: s.spare} // as many are kept as ran at once
	s.spare = r
	s.stats.Running--
	s.stats.Runs++
	s.stats.Time += took
	s.stats.MaxTime = max(s.stats.MaxTime, took)
	if panicked {
		s.stats.Panics++
	}
	s.mu.Unlock()
	if late {
		s.log.Warn("a late handler returned", append(about(handler, m), "took", took, "limit", s.limit)...)
	}
}

// check names the handlers that are beyond the limit now, and sets a timer for the next
// one.
func (s *Supervisor) check() {
	s.mu.Lock()
	now := time.Now()
	var late []run
	s.armed = false
	for r := s.first; r != nil; r = r.next {
		if left := s.limit - now.Sub(r.start); left > 0 {
			s.armed = true
			time.AfterFunc(left, s.check)
			break
		}
		if !r.overdue {
			r.overdue = true
			s.stats.Late++
			late = append(late, *r)
		}
	}
	s.mu.Unlock()
	for _, r := range late {
		s.log.Warn("a handler is beyond its time limit and still running",
			append(about(r.handler, r.msg), "running", now.Sub(r.start), "limit", s.limit)...)
	}
}

// about returns the log attributes of a run.
func about(handler string, m *message.Message) []any {
	kv := []any{"handler", handler}
	if m != nil {
		kv = append(kv, "type", m.Type, "id", m.ID, "from", m.From)
	}
	return kv
}
