package direct

import (
	"errors"

	"github.com/tombolo-net/tombolo/core/webrtc"
)

// Stats is a snapshot of the counts of a policy. Totals count since New.
type Stats struct {
	// Open is the number of open WebRTC connections.
	Open int
	// Tried counts the attempts that this node has started, hole punching included, and
	// Made those that resulted in a connection. Attempts that ended because the node
	// closed count as neither made nor failed.
	Tried, Made uint64
	Failed      Failures
	// Lost counts WebRTC connections that ended because the peer no longer answered.
	Lost uint64
	// CircuitsClosed counts circuits that were closed because they carried nothing beside
	// a direct connection, and CircuitsMade those that were made because a direct
	// connection was lost.
	CircuitsClosed, CircuitsMade uint64
}

// Failures counts attempts that failed, by reason.
type Failures struct {
	Unanswered uint64 // no address of the peer answered: see package core/webrtc
	Refused    uint64 // none of the peer's addresses answered: see package core/webrtc
	NoCircuit  uint64 // the peer did not arrange a connection
	Platform   uint64 // the circuit had ended
	Other      uint64 // includes hole punching, which gives no reason
}

func (f *Failures) count(err error) {
	switch {
	case errors.Is(err, webrtc.ErrNoCircuit):
		f.NoCircuit++
	case errors.Is(err, webrtc.ErrPlatform):
		f.Platform++
	case errors.Is(err, webrtc.ErrUnanswered):
		f.Unanswered++
	case errors.Is(err, webrtc.ErrRefused):
		f.Refused++
	default:
		f.Other++
	}
}

// Stats returns a snapshot of the counts.
func (p *Policy) Stats() Stats {
	open := p.open()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.counts
	s.Open = open
	return s
}
