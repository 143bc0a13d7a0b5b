package mesh

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

const (
	// settling is how long a subscription takes to spread at most. Until then, each peer
	// that joins the topic is asked for its history.
	settling = 30 * time.Second
	// repairAfter is how long a hole in a publisher's numbers is left to GossipSub's own
	// gossip. After repairAgain, the peers that did not have the missing broadcasts yet
	// are asked again.
	repairAfter = 1200 * time.Millisecond
	repairAgain = 5 * time.Second
	// clockSlack is added to the age that a request asks for, because the request itself
	// takes time. So a node may receive broadcasts from up to that much before its
	// subscription.
	clockSlack = time.Second
	// roundEvery is the minimum time between two rounds.
	roundEvery = 250 * time.Millisecond
	// catchUpTimeout bounds one round of questions.
	catchUpTimeout = 20 * time.Second
	// catchUpPeers is the number of peers that are asked in a round.
	catchUpPeers = 3
)

// catchUps are the times at which a node asks the peers on a topic for broadcasts, after
// it or they have joined: soon; after GossipSub's heartbeat, when this node is in the
// mesh of its peers; and twice more, because they may have had to ask others in the same
// way.
var catchUps = []time.Duration{100 * time.Millisecond, 1500 * time.Millisecond, 4 * time.Second, 10 * time.Second}

// mostRounds bounds the concurrent rounds of all topics.
const mostRounds = 8

// listen is called when the node joins the topic. Earlier broadcasts do not count as
// missed.
func (h *history) listen(now time.Time) {
	h.past.CountAnew()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listening, h.since = true, now
	h.catchUpSoon(catchUps...)
}

// unlisten is called when the node leaves the topic. Later broadcasts do not count as
// missed.
func (h *history) unlisten() {
	h.mu.Lock()
	h.listening, h.rounds = false, nil
	h.mu.Unlock()
	h.past.CountAnew()
}

// peerCame is called when a peer joins the topic; alone says that no other peer was on
// it.
func (h *history) peerCame(alone bool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if alone || now.Sub(h.since) < settling {
		h.catchUpSoon(catchUps...)
	}
}

// heard is called for each new broadcast. If it left a hole, the peers are asked for the
// missing ones.
func (h *history) heard(msg *message.Message, added replay.Added) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case added.Hole:
		h.lastVia = msg.Via
		h.catchUpSoon(repairAfter, repairAgain)
	case added.First && msg.ID.Seq > 1 && time.Since(h.since) < settling:
		h.catchUpSoon(repairAfter) // the publisher may have begun after the subscription did
	}
}

// catchUpSoon schedules rounds; mu is held.
func (h *history) catchUpSoon(after ...time.Duration) {
	if !h.listening {
		return
	}
	now := time.Now()
	for _, d := range after {
		// One round serves all requests for about the same time.
		at := now.Add(d).Sub(h.since).Truncate(roundEvery) + roundEvery
		if !slices.Contains(h.rounds, h.since.Add(at)) {
			h.rounds = append(h.rounds, h.since.Add(at))
		}
	}
	slices.SortFunc(h.rounds, time.Time.Compare)
	h.t.nudge()
}

// catchUp begins the round that is due, if any, and returns the time of the next one. It
// is called by tend.
func (h *history) catchUp(now time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.catching || len(h.rounds) == 0 {
		return time.Time{}
	}
	if !due(h.rounds[0], now) {
		return h.rounds[0]
	}
	h.rounds = slices.DeleteFunc(h.rounds, func(r time.Time) bool { return due(r, now) })
	age := min(now.Sub(h.since)+clockSlack, recent.Age)
	via := h.lastVia
	h.lastVia = ""
	h.catching = true
	h.t.m.run.Go(func() {
		h.askAround(age, via)
		h.mu.Lock()
		h.catching = false
		h.mu.Unlock()
		h.t.nudge()
	})
	return time.Time{}
}

// askAround asks some peers on the topic for recent broadcasts.
func (h *history) askAround(age time.Duration, via peer.ID) {
	select {
	case h.t.m.rounds <- struct{}{}:
		defer func() { <-h.t.m.rounds }()
	case <-h.t.m.ctx.Done():
		return
	}
	if h.takeTurn(h.t.m.ctx) != nil {
		return
	}
	defer h.giveTurn()
	ctx, cancel := context.WithTimeout(h.t.m.ctx, catchUpTimeout)
	defer cancel()
	peers := h.historians(via)
	for _, p := range peers[:min(len(peers), catchUpPeers)] {
		var brought int
		a, err := h.t.m.replay.Sync(ctx, p, h.t.typ, h.ask(age, &brought))
		h.brought.Add(int64(brought))
		if err != nil && ctx.Err() == nil {
			h.t.m.log.Debug("a peer could not be asked for what was missed", "type", h.t.typ, "peer", p, "error", err)
		}
		if err == nil && a.Complete() && via != "" {
			return // the hole is filled
		}
	}
}

// takeTurn waits until nothing else on this node requests the topic's history, because
// two concurrent requests would deliver out of order.
func (h *history) takeTurn(ctx context.Context) error {
	select {
	case h.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *history) giveTurn() { <-h.turn }

// ask requests recent broadcasts, or all if age is zero. It counts the delivered ones in
// n.
func (h *history) ask(age time.Duration, n *int) replay.Ask {
	return replay.Ask{
		MaxAge: age,
		Check: func(ctx context.Context, msg *message.Message) bool {
			return h.t.m.judge(ctx, msg) == Accept
		},
		Deliver: func(_ context.Context, msg *message.Message) {
			*n++
			h.t.acceptReplayed(msg)
		},
	}
}

// historians returns the connected peers that can be asked for the topic's history, in
// the order in which to ask them: first itself, then peers that carry topics for others,
// then those on the topic, and then the rest.
func (h *history) historians(first peer.ID) []peer.ID {
	on := make(map[peer.ID]bool)
	for _, p := range h.t.members.peers() {
		on[p] = true
	}
	rank := func(p peer.ID) int {
		switch {
		case p == first:
			return 0
		case h.t.m.isCarrier(p):
			return 1
		case on[p]:
			return 2
		}
		return 3
	}
	var peers []peer.ID
	for _, p := range h.t.m.host.Network().Peers() {
		known, err := h.t.m.host.Peerstore().SupportsProtocols(p, replay.Protocol)
		if err == nil && len(known) > 0 {
			peers = append(peers, p)
		}
	}
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	slices.SortStableFunc(peers, func(a, b peer.ID) int { return rank(a) - rank(b) })
	return peers
}

// isCarrier reports whether a connected peer carries topics for others.
func (m *Mesh) isCarrier(p peer.ID) bool {
	return m.host.Network().Connectedness(p) != network.NotConnected && m.knownCarrier(p)
}

// knownCarrier reports whether a peer that is connected, or was a moment ago, carries
// topics for others.
func (m *Mesh) knownCarrier(p peer.ID) bool {
	known, err := m.host.Peerstore().SupportsProtocols(p, CarrierProtocol)
	return err == nil && len(known) > 0
}
