package relay

import (
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Reload reads anew the file of rules (see Options.Closed), Site, Docs, the files of a certificate
// and, by Options.Reread, the options. It takes over Announce, Peers, Closed, Admission, DrainTime, and all limits but Topics and
// HistoryBytes; Limits.Peers may not be more than at the start. What is new holds at
// once, for those that are connected, too: rates for open circuits, and who may not be
// here any more is disconnected. Who holds a reservation above a limit that is lower now
// is told to move to another relay, and stays if it knows none. Where Reload returns an
// error, everything stays as it was.
func (r *Relay) Reload() error {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	if err := r.site.reload(); err != nil {
		return err
	}
	if r.certs != nil {
		if err := r.certs.reload(); err != nil {
			return err
		}
	}
	if r.reread == nil {
		return r.access.reload(func() {})
	}
	return r.reread(r.reconfigure)
}

// reconfigure takes over the options that may change.
func (r *Relay) reconfigure(o Options) error {
	l := o.Limits.withDefaults()
	if err := errors.Join(o.Limits.check(), checkPeers(o.Peers), checkAdmission(o.Admission)); err != nil {
		return err
	}
	switch {
	case l.Peers > r.began.Peers:
		return fmt.Errorf("peers: %d is more than the %d that the relay was started with: restart it", l.Peers, r.began.Peers)
	case l.Topics != r.began.Topics || l.HistoryBytes != r.began.HistoryBytes:
		return errors.New("topics and history bytes cannot change while the relay runs: restart it")
	}
	h := r.node.Host()
	if err := r.access.reload(func() { r.access.set(o) }); err != nil {
		return err
	}
	others := without(h.ID(), o.Peers)
	r.others.Store(&others)
	r.peers.set(others)
	r.drain.set(others, o.DrainTime)
	r.circuit.meter.set(l.PeerRate, l.Rate)
	r.broadcast.Store(int64(l.BroadcastRate))
	r.drain.ease(r.circuit.places.set(l))
	r.announce.Store(&o.Announce)
	// Of the events on which the host computes its addresses anew, this one says nothing else.
	if e, err := h.EventBus().Emitter(new(event.EvtAutoRelayAddrsUpdated)); err == nil {
		_ = e.Emit(event.EvtAutoRelayAddrsUpdated{})
		_ = e.Close()
	}
	return nil
}

// trust is whose tokens are good: the relay itself and those of its operator.
func trust(self peer.ID, others []peer.AddrInfo) []peer.ID {
	trusted := []peer.ID{self}
	for _, p := range others {
		trusted = append(trusted, p.ID)
	}
	return trusted
}
