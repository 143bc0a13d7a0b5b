package relay

import (
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Reload reads the file of rules again (see Options.Closed), Site, Docs, the files of a
// certificate and, through Options.Reread, the options. It applies changes of Announce,
// Peers, Closed, Admission, DrainTime, and of all limits except Topics and HistoryBytes;
// Limits.Peers may not exceed its value at the start. Changes apply at once, also to
// connected peers: open circuits get the new rates, and peers that may no longer use the
// relay are disconnected. If a lowered limit is exceeded, the peers above it are told to
// move to another relay, and stay if they know none. If Reload returns an error, the
// rules and the options stay as they were; Site, Docs and the certificate may have been
// replaced already.
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

// reconfigure applies the options that may change.
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
	// The host recomputes its addresses on several events; this one has no other effect.
	if e, err := h.EventBus().Emitter(new(event.EvtAutoRelayAddrsUpdated)); err == nil {
		_ = e.Emit(event.EvtAutoRelayAddrsUpdated{})
		_ = e.Close()
	}
	return nil
}

// trust returns the relays whose tokens are valid: the relay itself and those of its
// operator.
func trust(self peer.ID, others []peer.AddrInfo) []peer.ID {
	trusted := []peer.ID{self}
	for _, p := range others {
		trusted = append(trusted, p.ID)
	}
	return trusted
}
