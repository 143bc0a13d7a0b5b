package mesh

import (
	"math/rand/v2"
	"sync"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// Presence is asked for, not announced. A watcher of a type asks who is on it (Who), and
// the subscribers answer (Here). In addition, a node announces once that it has joined,
// and once that it leaves (Gone). A Who or Here may be about a single peer, whose ID it
// carries: that peer is asked whether it is still there, and answers. crowd.go describes
// what differs if many peers are on a type.
const (
	// askEvery is how often the watchers of a type ask again, and so how often each
	// subscriber of a watched type sends a message of some 200 bytes. mostTold bounds how
	// many of these each node receives.
	askEvery = 30 * time.Second
	// askSoon is when a watcher asks for the second time, because the first question may
	// not have reached everyone.
	askSoon = time.Second
	// askPause is the minimum time between two questions of a watcher, and between two
	// answers of a subscriber.
	askPause = time.Second
	// answerWithin is the time over which the answers of many peers are spread.
	answerWithin = 200 * time.Millisecond
	// absentAfter is the time after which a peer that did not answer counts as gone,
	// except in a crowd.
	absentAfter = 2*askEvery + askEvery/2
	// suspectFor is how long a peer whose connection ended has to announce that it is
	// still there, on another path.
	suspectFor = 3 * time.Second
	// mostPresent bounds the peers that are known to be on a type.
	mostPresent = 4096
)

// sighting is what is known of one peer on a type.
type sighting struct {
	id      message.ID // of its latest word
	at      time.Time  // when that word came
	here    bool
	suspect time.Time // when it will count as gone; zero if it is not suspected
}

// presence holds which peers are on a topic, according to their own words.
type presence struct {
	t *topic

	mu        sync.Mutex // never held while GossipSub is called
	watchers  map[*Presence]struct{}
	sightings map[peer.ID]*sighting
	word      message.ID // of this node's last word
	asked     time.Time  // when another node last asked
	answered  time.Time  // when this node last answered
	questions time.Time  // when this node last asked
	answerDue time.Time  // zero: no answer is due
	askDue    time.Time  // zero: nobody here watches
	askAgain  time.Time  // one additional question; zero: none
	sought    bool       // another node asked about this node alone
	begun     time.Time  // since when every question would have been received here
	crowd     crowd
}

// watch adds a watcher, and notes the peers that are there for it.
func (p *presence) watch() *Presence {
	w := &Presence{
		t:      p.t,
		ready:  make(chan struct{}, 1),
		closed: make(chan struct{}),
		told:   make(map[peer.ID]struct{}),
		among:  make(map[peer.ID]struct{}),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.watchers) == 0 {
		p.watchers = make(map[*Presence]struct{})
		p.sightings = make(map[peer.ID]*sighting)
	}
	p.watchers[w] = struct{}{}
	for id, s := range p.sightings {
		if s.here {
			w.note(id)
		}
	}
	now := time.Now()
	p.askDue = now
	p.askAgain = now.Add(askSoon)
	p.t.nudge()
	return w
}

func (p *presence) unwatch(w *Presence) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(w.closed)
	delete(p.watchers, w)
	if len(p.watchers) == 0 {
		p.sightings, p.askDue, p.askAgain = nil, time.Time{}, time.Time{}
	}
}

// hear handles a word of a peer, and reports whether to forward it.
func (p *presence) hear(msg *message.Message, raw *pb.Message) (passes bool) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch msg.Kind {
	case message.Who:
		p.asked = now
		return p.hearQuestion(msg.Data, now)
	case message.Here:
		p.sight(msg.From, msg.ID, true, now)
		if len(msg.Data) > 0 {
			return true
		}
		return p.hearWord(msg, raw, now)
	case message.Gone:
		if len(msg.Data) == 0 {
			delete(p.crowd.kept, msg.From)
			p.sight(msg.From, msg.ID, false, now)
		}
	}
	return true
}

// hearQuestion handles a Who, about all peers or about one; mu is held.
func (p *presence) hearQuestion(about []byte, now time.Time) (passes bool) {
	if len(about) == 0 {
		if p.crowd.rests(p.t.members.count(), now) {
			return false
		}
		p.crowd.begin(now)
		p.answer(now, p.crowd.answerWithin())
		return true
	}
	switch subject, err := peer.IDFromBytes(about); {
	case err != nil:
	case subject == p.t.m.self:
		p.sought = p.t.subscribed.Load() > 0
		p.answer(now, answerWithin)
	default:
		delete(p.crowd.kept, subject)
		p.suspect(subject, now)
	}
	return true
}

// hearWord handles the Here of a peer; mu is held.
func (p *presence) hearWord(msg *message.Message, raw *pb.Message, now time.Time) (passes bool) {
	if !p.watched(now) {
		return false
	}
	lot, peers := lot(msg.From, msg.ID), p.t.members.count()
	p.crowd.count(lot)
	if !passesWord(lot, peers) {
		return false
	}
	if peers > mostTold/2 {
		p.crowd.keep(msg.From, raw, now)
	}
	return true
}

// watched reports whether anybody may be watching; mu is held. Only a carrier can rule
// that out, because a watcher asks every carrier that it meets.
func (p *presence) watched(now time.Time) bool {
	return p.t.m.carrier == nil || len(p.watchers) > 0 || now.Sub(latest(p.asked, p.begun)) < absentAfter
}

// begin is called when questions may have been missed until now.
func (p *presence) begin(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = now
}

// answerFrom lists the words that answer a peer whose question is not forwarded.
func (p *presence) answerFrom(asker peer.ID, now time.Time) []*pb.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.crowd.answer(asker, p.t.members.count(), now)
}

// sight records a peer's own word; mu is held.
func (p *presence) sight(of peer.ID, id message.ID, here bool, now time.Time) {
	if len(p.watchers) == 0 || of == p.t.m.self {
		return
	}
	s := p.sightings[of]
	if s == nil {
		if len(p.sightings) >= mostPresent {
			p.t.m.stats.uncounted.Add(1)
			return
		}
		s = &sighting{}
		p.sightings[of] = s
	} else if id.Compare(s.id) < 0 {
		return // a later word overtook this one
	}
	s.id, s.at, s.suspect = id, now, time.Time{}
	if s.here != here {
		s.here = here
		p.tellWatchers(of)
	}
}

func (p *presence) tellWatchers(of peer.ID) {
	for w := range p.watchers {
		w.note(of)
	}
}

// suspect starts the time within which a peer must announce that it is there; mu is held.
func (p *presence) suspect(of peer.ID, now time.Time) {
	s := p.sightings[of]
	if s == nil || !s.here || !s.suspect.IsZero() {
		return
	}
	s.suspect = now.Add(suspectFor)
	p.t.nudge()
}

// askSoon asks all peers soon, if this node watches.
func (p *presence) askSoon(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.watchers) > 0 {
		p.askDue = earliest(p.askDue, latest(now, p.questions.Add(askPause)))
		p.t.nudge()
	}
}

// vanished records that a peer's connection ended, or that it is no longer on the topic.
// It reports whether anybody watches. Then a question about the peer is sent: the
// watchers look for it, and the peer answers if it is still there, on another path.
func (p *presence) vanished(of peer.ID, now time.Time) (watched bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.crowd.kept, of)
	if s := p.sightings[of]; s != nil && s.here {
		s.here, s.suspect = false, time.Time{}
		p.tellWatchers(of)
	}
	return len(p.watchers) > 0 || !p.asked.IsZero() && now.Sub(p.asked) < 2*askEvery
}

// answerSoon makes this node announce soon that it is there, if it is.
func (p *presence) answerSoon(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer(now, answerWithin)
}

// answer is answerSoon with a limit on the time; mu is held.
func (p *presence) answer(now time.Time, within time.Duration) {
	if p.t.subscribed.Load() == 0 {
		return
	}
	p.answerDue = earliest(p.answerDue, latest(now.Add(rand.N(within)), p.answered.Add(askPause)))
	p.t.nudge()
}

// attend does what is due for presence, and returns when to call it again; zero for
// never. It is called by tend.
func (p *presence) attend(now time.Time) time.Time {
	p.mu.Lock()
	ask, answer := due(p.askDue, now) || due(p.askAgain, now), due(p.answerDue, now)
	if due(p.askAgain, now) {
		p.askAgain = time.Time{}
	} else if ask && now.Sub(p.questions) >= askEvery && now.Sub(p.asked) < askEvery {
		// Another node has asked, and the answers are for all.
		ask, p.askDue = false, p.asked.Add(askEvery+rand.N(p.crowd.answerWithin()))
	}
	if ask && p.t.members.isAlone() { // the first peer that joins is asked at once
		ask, p.askDue = false, now.Add(askEvery)
	}
	if ask {
		p.questions, p.askDue = now, now.Add(askEvery)
		p.crowd.begin(now)
	}
	var about []byte
	if answer {
		if p.sought {
			about = []byte(p.t.m.self)
		}
		p.answered, p.answerDue, p.sought = now, time.Time{}, false
		answer = p.t.subscribed.Load() > 0
	}
	next := earliest(p.askDue, p.askAgain, p.answerDue, p.dropAbsent(now))
	p.mu.Unlock()
	if ask {
		p.tell(message.Who, nil)
	}
	if answer {
		p.tell(message.Here, about)
	}
	return next
}

// dropAbsent drops the peers that did not answer, and returns when the next one may be
// due; mu is held.
func (p *presence) dropAbsent(now time.Time) (next time.Time) {
	silent := p.crowd.absentAfter()
	for of, s := range p.sightings {
		at := s.at.Add(absentAfter)
		switch {
		case s.here && !s.suspect.IsZero():
			at = s.suspect
		case s.here:
			at = s.at.Add(silent)
		}
		switch {
		case !due(at, now):
			next = earliest(next, at)
		case s.here:
			s.here, s.suspect = false, time.Time{}
			p.tellWatchers(of)
		default: // its last word was remembered for as long as an earlier one might still arrive
			delete(p.sightings, of)
			for w := range p.watchers {
				w.unnote(of)
			}
		}
	}
	return next
}

// tell sends a word. Nobody knows whether it is received.
func (p *presence) tell(kind message.Kind, about []byte) {
	p.mu.Lock()
	p.word.Seq++
	msg := &message.Message{Kind: kind, ID: p.word, Data: about}
	p.mu.Unlock()
	if err := p.t.put(p.t.m.ctx, msg, &signed{}); err != nil && p.t.m.ctx.Err() == nil {
		p.t.m.log.Debug("a word of presence was not sent", "type", p.t.typ, "kind", kind, "error", err)
	}
}
