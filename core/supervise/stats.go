package supervise

import (
	"time"

	"github.com/tombolo-net/tombolo/core/message"
)

// Stats is a snapshot of the counters of a Supervisor, since it was made.
type Stats struct {
	// Runs counts the handlers that have returned or panicked.
	Runs uint64
	// Panics counts those of Runs that panicked.
	Panics uint64
	// Late counts the handlers that exceeded the time limit, whether they have
	// returned since or not.
	Late uint64
	// Running is the number of handlers that are running.
	Running int
	// Overdue names the running handlers that have exceeded the time limit, oldest first.
	Overdue []Overdue
	// Time is the time that all handlers of Runs took together. MaxTime is the longest.
	Time    time.Duration
	MaxTime time.Duration
}

// Overdue is a handler that has exceeded its time limit. Type and ID are those of the
// message that it was called for; they are empty for any other call. A remote peer chose
// them, so do not use them as labels of a metric.
type Overdue struct {
	Handler string
	Type    string
	ID      message.ID
	For     time.Duration // since its start
}

// Stats returns a snapshot. A handler counts as overdue as soon as it exceeds the limit.
func (s *Supervisor) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	if s.limit < 0 {
		return st
	}
	now := time.Now()
	for r := s.first; r != nil; r = r.next {
		took := now.Sub(r.start)
		if took < s.limit {
			break
		}
		o := Overdue{Handler: r.handler, For: took}
		if r.msg != nil {
			o.Type, o.ID = r.msg.Type, r.msg.ID
		}
		if !r.overdue { // the timer has not come to it yet
			st.Late++
		}
		st.Overdue = append(st.Overdue, o)
	}
	return st
}
