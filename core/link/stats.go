package link

import (
	"sync/atomic"

	"github.com/tombolo-net/tombolo/core/supervise"
)

type counters struct {
	sent, sentBytes, batches    atomic.Uint64
	received, receivedBytes     atomic.Uint64
	full, lost, expired         atomic.Uint64
	tooLarge                    atomic.Uint64
	malformed, refused, stalled atomic.Uint64

	requests, answers, remoteErrors, failures atomic.Uint64
	pending                                   atomic.Int64
	strays                                    atomic.Uint64
	served, busy, unanswered, unreplied       atomic.Uint64
}

// Stats is a snapshot. Totals count since New.
type Stats struct {
	// Links counts the links that this node has opened or is opening. Streams counts
	// those that peers have opened to it.
	Links   int
	Streams int
	// Queued is what waits to be sent, by Priority.
	Queued [priorities]Queued

	// Sent counts messages handed to the transport, and Batches the writes that they
	// took. Received counts messages read. SentBytes and ReceivedBytes count frames with
	// their lengths.
	Sent, SentBytes         uint64
	Batches                 uint64
	Received, ReceivedBytes uint64

	Unsent   Unsent
	Requests Requests
	Serving  Serving

	// Malformed counts streams that were reset because the peer sent invalid data.
	// Refused counts streams that were reset at once, because the peer had sent too many
	// of these or had too many streams. Stalled counts streams that were reset because a
	// frame stopped halfway or answers were not read.
	Malformed uint64
	Refused   uint64
	Stalled   uint64
}

// Queued is the content of the queues of one priority.
type Queued struct {
	Messages int
	Bytes    int
}

// Unsent counts messages that were not sent, by reason.
type Unsent struct {
	QueueFull uint64
	Lost      uint64 // the link ended, or was never opened
	Expired   uint64 // the sender's ctx ended
	TooLarge  uint64
}

// Requests counts the requests of this node.
type Requests struct {
	Sent     uint64
	Answered uint64
	Errors   uint64 // answered with an error
	Failed   uint64 // not answered: not sent, lost, or given up
	Pending  int    // not answered yet
	Strays   uint64 // answers that came for no pending request
}

// Serving counts the requests of peers.
type Serving struct {
	Served     uint64 // handed to a Responder
	Busy       uint64 // refused because there were too many
	Unanswered uint64 // of a type that no Responder answers
	Unreplied  uint64 // whose answer could not be sent
	Queued     Queued // answers that wait to be written
	// Handlers has the counts of the Responders: running, overdue and so on.
	Handlers supervise.Stats
}

// Stats returns a snapshot.
func (l *Links) Stats() Stats {
	c := &l.count
	s := Stats{
		Sent: c.sent.Load(), SentBytes: c.sentBytes.Load(), Batches: c.batches.Load(),
		Received: c.received.Load(), ReceivedBytes: c.receivedBytes.Load(),
		Unsent: Unsent{
			QueueFull: c.full.Load(), Lost: c.lost.Load(), Expired: c.expired.Load(), TooLarge: c.tooLarge.Load(),
		},
		Requests: Requests{
			Sent: c.requests.Load(), Answered: c.answers.Load(), Errors: c.remoteErrors.Load(),
			Failed: c.failures.Load(), Pending: int(c.pending.Load()), Strays: c.strays.Load(),
		},
		Serving: Serving{
			Served: c.served.Load(), Busy: c.busy.Load(), Unanswered: c.unanswered.Load(), Unreplied: c.unreplied.Load(),
			Handlers: l.supervisor.Stats(),
		},
		Malformed: c.malformed.Load(), Refused: c.refused.Load(), Stalled: c.stalled.Load(),
	}
	outs, ins := l.streams()
	s.Links, s.Streams = len(outs), len(ins)
	for _, o := range outs {
		o.mu.Lock()
		for p := range o.queues {
			s.Queued[p].Messages += o.queues[p].n
			s.Queued[p].Bytes += o.queues[p].bytes
		}
		o.mu.Unlock()
	}
	for _, in := range ins {
		q := in.queued()
		s.Serving.Queued.Messages += q.Messages
		s.Serving.Queued.Bytes += q.Bytes
	}
	return s
}
