package supervise

import (
	"time"

	"github.com/tombolo-net/tombolo/core/message"
)

// Stats is a snapshot of what a Supervisor has counted since it was made.
type Stats struct {
	// Runs counts the handlers that have returned or panicked.
	Runs uint64
	// Panics counts those of Runs that panicked.
	Panics uint64
	// Late counts the handlers that exceeded the time limit, whether they have
	// returned since or not.
	Late uint64
	// Running is how many are under way.
	Running int
	// Overdue names those under way that have exceeded the time limit, oldest
	// first.
	Overdue []Overdue
	// Time is how long the handlers of Runs took together, and MaxTime the
	// longest of them.
	Time    time.Duration
	MaxTime time.Duration
}

// Overdue is a handler beyond its time limit. Type and ID are those of the message it was
// called for, and empty if that is none; a remote chose them, so do not use them as labels
// of a metric.
type Overdue struct {
	Handler string
	Type    string
	ID      message.ID
	For     time.Duration // since its start
}

// Stats returns a snapshot. A handler counts as overdue from the moment it is
// beyond the limit.
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
		if !r.overdue { // the timer is about to say so
			st.Late++
		}
		st.Overdue = append(st.Overdue, o)
	}
	return st
}
