package discovery

import "sync/atomic"

// counters holds the counters of a Discovery.
type counters struct {
	lookups, found, answers, unanswered, announcements atomic.Uint64
}

// Stats is a snapshot. Totals count since New.
type Stats struct {
	Server        bool   // whether the node answers the searches of others
	Table         int    // servers in the routing table; 0 for a client
	Lookups       uint64 // calls of FindPeer and Connect that had to ask the mesh
	Found         uint64 // those of Lookups that succeeded
	Answers       uint64 // questions that servers answered, including those of announcements
	Unanswered    uint64 // questions without a valid answer: no connection, no answer in time, or a malformed one
	Announcements uint64 // rounds in which a client made itself known
}

// Stats returns a snapshot.
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
