package mesh

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// membership is a topic's place in GossipSub: whether peers are told that this node is on
// it, and which peers are on it.
type membership struct {
	t *topic

	op        sync.Mutex // makes joining, announcing and leaving one step each
	handle    *pubsub.Topic
	events    *pubsub.TopicEventHandler
	announced int    // number of reasons to be on the topic
	quiet     func() // withdraws the announcement

	mu     sync.Mutex       // never held while GossipSub is called
	joined chan struct{}    // closed, and replaced, when there may be a new peer to send to
	on     map[peer.ID]bool // connected peers on the topic; true for carriers
}

// join makes the node ready to publish to the topic, without announcing it. op is held.
func (s *membership) join() error {
	handle, err := s.t.m.ps.Join(s.t.m.prefix + s.t.typ)
	if err != nil {
		return err
	}
	events, err := handle.EventHandler()
	if err != nil {
		return errors.Join(err, handle.Close())
	}
	s.handle, s.events = handle, events
	return nil
}

// leave undoes join, after watch has ended; op is held.
func (s *membership) leave() {
	s.events.Cancel()
	if err := s.handle.Close(); err != nil && s.t.m.ctx.Err() == nil {
		s.t.m.log.Error("a topic does not close", "type", s.t.typ, "error", err)
	}
}

// announce tells the peers that this node is on the topic. From now on, it receives the
// broadcasts there and forwards them. Each call must be followed by one of unannounce.
func (s *membership) announce() error {
	s.op.Lock()
	defer s.op.Unlock()
	if s.announced == 0 {
		s.t.history.listen(time.Now())
		s.t.presence.begin(time.Now())
		quiet, err := s.handle.Relay()
		if err != nil {
			s.t.history.unlisten()
			return s.t.m.closedOr(fmt.Errorf("announce %q: %w", s.t.typ, err))
		}
		s.quiet = quiet
	}
	s.announced++
	return nil
}

func (s *membership) unannounce() {
	s.op.Lock()
	defer s.op.Unlock()
	s.announced--
	if s.announced == 0 {
		s.quiet()
		s.t.history.unlisten()
	}
}

// watch follows which peers join the topic and leave it.
func (s *membership) watch(ctx context.Context) {
	for {
		e, err := s.events.NextPeerEvent(ctx)
		if err != nil {
			return
		}
		switch e.Type {
		case pubsub.PeerJoin:
			s.came(e.Peer)
		case pubsub.PeerLeave:
			s.left(e.Peer)
		}
	}
}

// came is called when a peer has joined the topic.
func (s *membership) came(p peer.ID) {
	carrier := s.t.m.isCarrier(p)
	s.mu.Lock()
	alone := len(s.on) == 0
	s.on[p] = carrier
	s.wake()
	s.mu.Unlock()
	now := time.Now()
	s.t.history.peerCame(alone, now)
	if alone {
		s.t.presence.answerSoon(now)
	}
	if alone || carrier {
		s.t.presence.begin(now)
		s.t.presence.askSoon(now) // others may be behind the peer
	}
}

// left is called when a peer is no longer on the topic, as far as this node's connections
// show.
func (s *membership) left(p peer.ID) {
	s.mu.Lock()
	carrier := s.on[p]
	delete(s.on, p)
	s.mu.Unlock()
	carrier = carrier || s.t.m.knownCarrier(p) // it may have joined the topic before it announced that it is one
	// A carrier is not one of the peers that presence reports. If many carriers lost one
	// another, there would be as many questions as the square of their number, on each
	// topic.
	if s.t.presence.vanished(p, time.Now()) && !carrier {
		s.t.presence.tell(message.Who, []byte(p))
	}
}

// wake wakes those that wait for a peer to send to; mu is held.
func (s *membership) wake() {
	close(s.joined)
	s.joined = make(chan struct{})
}

// waiting returns a channel that is closed when there may be a new peer to send to.
func (s *membership) waiting() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.joined
}

// wakeFor is called when messages to p can be sent from now on. p may have joined topics
// before.
func (m *Mesh) wakeFor(p peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.topics {
		t.members.mu.Lock()
		if _, on := t.members.on[p]; on {
			t.members.wake()
		}
		t.members.mu.Unlock()
	}
}

// peers lists the connected peers that are on the topic.
func (s *membership) peers() []peer.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.on))
}

func (s *membership) isAlone() bool { return s.count() == 0 }

// count returns the number of connected peers on the topic.
func (s *membership) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.on)
}
