package mesh

import (
	"net/netip"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/customer"
	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

// CarrierProtocol is listed by nodes with Options.RelayTopics. A stream of it is reset at
// once. Peers that see it know that the node is on a topic on behalf of others, and two
// such nodes know that neither holds a topic for itself.
const CarrierProtocol protocol.ID = "/tombolo/carrier/1.0.0"

const (
	// carryGrace is how long a topic that no peer is on is still carried: a page that
	// reloads is back by then.
	carryGrace = 15 * time.Second
	// carryCheck is how often a carrier looks for subscribers behind other carriers, if
	// it has none among its own peers.
	carryCheck = 5 * time.Minute
	// carriedPrefix is the prefix of the names of histories that are kept because a topic
	// is carried, and not because of KeepHistory. They are erased later.
	carriedPrefix = "carried "
	// carryAnswer is how long subscribers behind other carriers have to answer.
	carryAnswer = 10 * time.Second
)

// carrier carries the topics of peers: it is on a topic as long as they are.
type carrier struct {
	m      *Mesh
	kick   chan struct{}
	topics map[string]*carried // by type; used only by its goroutine, like all fields below
	shares map[peer.ID]int     // how many topics are carried because a peer was the first on them
	left   time.Time           // when the topics were last checked
	freed  map[string]struct{} // types that were dropped since then
	pauses chan func()         // for tests: called by its goroutine
}

// carried is a topic that is carried.
type carried struct {
	*topic
	first    peer.ID   // the first peer on it
	presence *Presence // to ask who is there; nil while it does not ask
	asked    time.Time
	checked  time.Time // when that question was last answered, or was not needed
	alone    time.Time // since when no peer is on it; zero if there are some
	resting  time.Time // since when it is only remembered; zero while it is carried
}

func newCarrier(m *Mesh) *carrier {
	m.host.Host.SetStreamHandler(CarrierProtocol, func(s network.Stream) { _ = s.Reset() })
	return &carrier{m: m, kick: make(chan struct{}, 1), topics: make(map[string]*carried), shares: make(map[peer.ID]int), freed: make(map[string]struct{}), pauses: make(chan func())}
}

// run carries topics until the mesh is closed.
func (c *carrier) run() {
	defer c.m.host.RemoveStreamHandler(CarrierProtocol)
	c.resume()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-c.kick:
		case f := <-c.pauses:
			f()
			continue
		case <-ticker.C:
		case <-c.m.ctx.Done():
			return
		}
		now := time.Now()
		if now.Sub(c.left) >= time.Second {
			c.left = now
			for _, t := range c.topics {
				c.check(t, now)
			}
			if len(c.freed) > 0 {
				// Topics for which there was no room may be carried now. This looks
				// through all topics that peers are on, only once however many were
				// dropped at the same time.
				c.m.filter.wantAll(c.freed)
				clear(c.freed)
			}
		}
		c.take(now)
	}
}

func (c *carrier) nudge() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// take begins to carry the topics that peers have joined, as far as there is room.
func (c *carrier) take(now time.Time) {
	full := false
	for typ, p := range c.m.filter.wanted() {
		var err error
		switch t := c.topics[typ]; {
		case t != nil && t.resting.IsZero():
		case !c.mayHaveMore(p):
			c.m.stats.notCarried.Add(1)
		case t == nil && (full || !c.hasRoom()) && !c.makeRoom(p, now): // both look through all topics
			full = true
			c.m.stats.notCarried.Add(1)
		case t == nil:
			err = c.carry(typ, p, now)
		default:
			if err = t.members.announce(); err == nil {
				c.share(t, p)
				t.resting, t.alone, t.checked = time.Time{}, time.Time{}, now
				c.m.stats.carried.Add(1)
			}
		}
		if err != nil && c.m.ctx.Err() == nil {
			c.m.log.Error("a topic cannot be carried", "type", typ, "error", err)
		}
	}
}

// mayHaveMore reports whether a peer may be the first on yet another topic: one peer
// takes no more than half of the room, unless it is a carrier.
func (c *carrier) mayHaveMore(p peer.ID) bool {
	return c.shares[p] < max(1, c.m.opts.RelayTopics/2) || c.m.isCarrier(p)
}

func (c *carrier) share(t *carried, p peer.ID) {
	t.first = p
	c.shares[p]++
}

func (c *carrier) unshare(t *carried) {
	if c.shares[t.first]--; c.shares[t.first] <= 0 {
		delete(c.shares, t.first)
	}
}

// makeRoom drops a topic of the peers that have the most for a topic of a peer that has
// fewer, and reports whether there is room now. Sites count before peers: many peers of
// one address get no more than one peer of another.
func (c *carrier) makeRoom(p peer.ID, now time.Time) bool {
	sites := make(map[netip.Prefix]int)
	for _, t := range c.topics {
		if t.resting.IsZero() && !c.m.isCarrier(t.first) {
			sites[c.m.siteOf(t.first)]++
		}
	}
	here := c.m.siteOf(p)
	var most *carried
	for _, t := range c.topics {
		at := c.m.siteOf(t.first)
		more := at != here && sites[at] > sites[here]+1 || at == here && c.shares[t.first] > c.shares[p]+1
		if !more || !t.resting.IsZero() || c.m.isCarrier(t.first) || !c.allOf(t, at) {
			continue
		}
		if most == nil || sites[at] > sites[c.m.siteOf(most.first)] ||
			sites[at] == sites[c.m.siteOf(most.first)] && c.shares[t.first] > c.shares[most.first] {
			most = t
		}
	}
	if most == nil {
		return false
	}
	c.drop(most, now)
	c.forget(most)
	c.m.stats.notCarried.Add(1)
	return true
}

// allOf reports whether only peers of one site, and other carriers, are on a topic.
func (c *carrier) allOf(t *carried, at netip.Prefix) bool {
	for _, p := range t.members.peers() {
		if !c.m.isCarrier(p) && c.m.siteOf(p) != at {
			return false
		}
	}
	return true
}

// siteOf returns the customer that a peer is connected from; zero if it is not connected.
func (m *Mesh) siteOf(p peer.ID) netip.Prefix {
	for _, conn := range m.host.Network().ConnsToPeer(p) {
		return customer.Of(conn.RemoteMultiaddr())
	}
	return netip.Prefix{}
}

// hasRoom reports whether another topic can be carried. A topic that is only remembered
// makes way.
func (c *carrier) hasRoom() bool {
	if len(c.topics) < c.m.opts.RelayTopics {
		return true
	}
	var oldest *carried
	for _, t := range c.topics {
		if !t.resting.IsZero() && (oldest == nil || t.resting.Before(oldest.resting)) {
			oldest = t
		}
	}
	if oldest == nil {
		return false
	}
	c.forget(oldest)
	return true
}

func (c *carrier) carry(typ string, p peer.ID, now time.Time) error {
	t, err := c.m.use(typ)
	if err != nil {
		return err
	}
	if limits := c.m.opts.KeepHistories; limits != nil {
		if _, err := t.history.keep(carriedPrefix+t.topicName(), *limits, true); err != nil {
			t.release()
			return err
		}
	}
	if err := t.members.announce(); err != nil { // the mesh is being closed
		t.release()
		return err
	}
	added := &carried{topic: t, checked: now}
	c.topics[typ] = added
	c.share(added, p)
	c.m.stats.carried.Add(1)
	return nil
}

// drop leaves a topic, and keeps its history for peers that come back.
func (c *carrier) drop(t *carried, now time.Time) {
	c.m.stats.carried.Add(-1)
	if t.presence != nil {
		_ = t.presence.Close()
		t.presence = nil
	}
	t.members.unannounce()
	c.unshare(t)
	t.resting = now
	c.freed[t.typ] = struct{}{}
}

// forget releases a topic that is only remembered.
func (c *carrier) forget(t *carried) {
	delete(c.topics, t.typ)
	if t.history.endKeeping() {
		c.m.erase(carriedPrefix + t.topicName())
	}
	t.release()
}

// erase deletes the stored history of a name under which it is no longer kept.
func (m *Mesh) erase(name string) {
	if m.opts.Store == nil {
		return
	}
	if err := replay.Erase(m.ctx, m.opts.Store, name); err != nil && m.ctx.Err() == nil {
		m.log.Error("a history stays in the store", "error", err)
	}
}

// resume remembers the stored topics that were carried in earlier runs, and erases those
// that are too many or too old.
func (c *carrier) resume() {
	if c.m.opts.Store == nil {
		return
	}
	names, err := replay.Names(c.m.ctx, c.m.opts.Store)
	if err != nil {
		if c.m.ctx.Err() == nil {
			c.m.log.Error("topics that were carried are not remembered", "error", err)
		}
		return
	}
	for _, name := range names {
		topic, carried := strings.CutPrefix(name, carriedPrefix+c.m.prefix)
		if !carried {
			continue
		}
		if c.m.opts.KeepHistories == nil || len(c.topics) >= c.m.opts.RelayTopics || message.CheckType(topic) != nil {
			c.m.erase(name)
		} else if err := c.remember(topic); err != nil && c.m.ctx.Err() == nil {
			c.m.log.Error("a topic that was carried is not remembered", "type", topic, "error", err)
		}
	}
}

// remember adds a topic that is only remembered.
func (c *carrier) remember(typ string) error {
	t, err := c.m.use(typ)
	if err != nil {
		return err
	}
	if _, err := t.history.keep(carriedPrefix+t.topicName(), *c.m.opts.KeepHistories, true); err != nil {
		t.release()
		return err
	}
	c.topics[typ] = &carried{topic: t, resting: time.Now()}
	return nil
}

// check drops a topic that nobody is on any more.
func (c *carrier) check(t *carried, now time.Time) {
	if !t.resting.IsZero() {
		if t.remembers() == 0 {
			c.forget(t)
		}
		return
	}
	peers := t.members.peers()
	switch {
	case len(peers) == 0 && t.alone.IsZero():
		t.alone = now
	case len(peers) == 0 && now.Sub(t.alone) >= carryGrace:
		c.drop(t, now)
	case len(peers) == 0:
	case c.needed(peers):
		t.alone, t.checked = time.Time{}, now
		if t.presence != nil {
			_ = t.presence.Close()
			t.presence = nil
		}
	default:
		t.alone = time.Time{}
		c.askBehind(t, now)
	}
}

// needed reports whether a peer is on the topic for itself.
func (c *carrier) needed(peers []peer.ID) bool {
	for _, p := range peers {
		if !c.m.isCarrier(p) {
			return true
		}
	}
	return false
}

// askBehind looks for subscribers behind other carriers. Otherwise, carriers would hold a
// topic for one another for ever.
func (c *carrier) askBehind(t *carried, now time.Time) {
	switch {
	case t.presence == nil && now.Sub(t.checked) >= carryCheck:
		p, err := c.m.Presence(t.typ)
		if err != nil {
			return // the mesh is being closed
		}
		t.presence, t.asked = p, now
	case t.presence == nil:
	case len(t.presence.Now()) > 0:
		_ = t.presence.Close()
		t.presence, t.checked = nil, now
	case now.Sub(t.asked) >= carryAnswer:
		c.drop(t, now)
	}
}

// remembers returns the number of broadcasts that are kept.
func (t *topic) remembers() int { return t.history.past.Stats().Entries }
