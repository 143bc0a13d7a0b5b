package discovery

import "sync/atomic"

// counters is what a Discovery has counted.
type counters struct {
	lookups, found, answers, unanswered, announcements atomic.Uint64
}

// Stats is a snapshot. Counts begin with New.
type Stats struct {
	Server        bool   // whether the node answers others
	Table         int    // servers in the routing table; 0 for a client
	Lookups       uint64 // calls of FindPeer and Connect that had to ask
	Found         uint64 // those of them that succeeded
	Answers       uint64 // questions answered by servers, those of announcements included
	Unanswered    uint64 // questions that were not: no connection, no answer in time, or a malformed one
	Announcements uint64 // rounds in which a client made itself known
}

// Stats is what was counted so far.
func (d *Discovery) Stats() Stats {
	s := Stats{
		Server:        d.table != nil,
		Lookups:       d.count.lookups.Load(),
		Found:         d.count.found.Load(),
		Answers:       d.count.answers.Load(),
		Unanswered:    d.count.unanswered.Load(),
		Announcements: d.count.announcements.Load(),
	}
	if d.table != nil {
		s.Table = d.table.Size()
	}
	return s
}
