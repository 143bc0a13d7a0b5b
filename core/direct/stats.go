package direct

import (
	"errors"

	"github.com/tombolo-net/tombolo/core/webrtc"
)

// Stats is a snapshot. Totals count since New.
type Stats struct {
	// Open is how many direct connections of WebRTC there are.
	Open int
	// Tried are the attempts that this node has begun, hole punching included; Made those
	// that brought a connection. Attempts that ended with the node count as neither made
	// nor failed.
	Tried, Made uint64
	Failed      Failures
	// Lost counts connections of WebRTC that ended because the peer did not answer any
	// more.
	Lost uint64
	// CircuitsClosed counts circuits that were closed because they carried nothing beside
	// a direct connection, CircuitsMade those that were made because one was lost.
	CircuitsClosed, CircuitsMade uint64
}

// Failures counts attempts that failed, by reason.
type Failures struct {
	Unanswered uint64 // no address of the peer answered: see package core/webrtc
	Refused    uint64 // the peer did not arrange a connection
	NoCircuit  uint64 // the circuit ended before
	Platform   uint64 // the platform made no connection
	Other      uint64 // hole punching included, which gives no reason
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

// Stats returns a snapshot.
func (p *Policy) Stats() Stats {
	open := p.open()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.counts
	s.Open = open
	return s
}
