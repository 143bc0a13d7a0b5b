package dispatch

import "github.com/tombolo-net/tombolo/core/supervise"

// counts holds the counters of a mailbox, guarded by its lock.
type counts struct {
	accepted, duplicates              uint64
	full, superseded, timeout, closed uint64
	evicted                           uint64 // those of full that had been accepted before
	unread                            uint64 // those of closed that had been accepted before
}

func (c *counts) dropped() Drops {
	return Drops{Full: c.full, Superseded: c.superseded, Timeout: c.timeout, Closed: c.closed}
}

// Drops counts the messages that a subscription lost, by reason.
type Drops struct {
	Full       uint64 // the mailbox was full
	Superseded uint64 // a newer message of the same key replaced it (LatestPerKey)
	Timeout    uint64 // the publisher's ctx ended before there was room (Block)
	Closed     uint64 // not read before the subscription was closed, or before the Dispatcher was, if a handler or channel reads it
}

// Total returns the number of lost messages.
func (d Drops) Total() uint64 { return d.Full + d.Superseded + d.Timeout + d.Closed }

func (d *Drops) add(o Drops) {
	d.Full += o.Full
	d.Superseded += o.Superseded
	d.Timeout += o.Timeout
	d.Closed += o.Closed
}

// SubscriptionStats is a snapshot of the counters of one subscription.
type SubscriptionStats struct {
	Delivered  uint64 // handed to the reader
	Duplicates uint64 // copies that were not delivered
	Dropped    Drops
	Depth      int // waiting for the reader now
}

func (s *SubscriptionStats) add(o SubscriptionStats) {
	s.Delivered += o.Delivered
	s.Duplicates += o.Duplicates
	s.Dropped.add(o.Dropped)
	s.Depth += o.Depth
}

// Stats is a snapshot of a Dispatcher. The counts include closed subscriptions.
type Stats struct {
	Subscriptions int // open now, or ended by an overflow and not closed yet
	Types         int // types and patterns subscribed to now

	Published uint64 // messages
	Unclaimed uint64 // those of Published that had no subscriber
	Refused   uint64 // messages that are not events of applications

	SubscriptionStats     // summed over the subscriptions
	Deepest           int // messages waiting in the fullest mailbox

	Handlers supervise.Stats
}

// Stats returns a snapshot. It looks at each subscription in turn.
func (d *Dispatcher) Stats() Stats {
	st := Stats{
		Published: d.published.Load(),
		Unclaimed: d.unclaimed.Load(),
		Refused:   d.refused.Load(),
		Handlers:  d.supervisor.Stats(),
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	st.Subscriptions = len(d.subs)
	st.Types = d.topics.size()
	st.SubscriptionStats = d.retired
	for s := range d.subs {
		one := s.Stats()
		st.SubscriptionStats.add(one)
		st.Deepest = max(st.Deepest, one.Depth)
	}
	return st
}
