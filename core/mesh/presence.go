package mesh

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// Presence is asked for, not announced: who watches a type asks who is on it
// (Who), and its subscribers answer (Here). Beyond that, a node says once that it
// has come and once that it leaves (Gone).
const (
	// askEvery is how often the watchers of a type ask again, and so how often each
	// subscriber of a watched type sends a message of some 200 bytes.
	askEvery = 30 * time.Second
	// askSoon is when it asks for the second time: until then it may not have
	// been heard everywhere.
	askSoon = time.Second
	// askPause is the least time between two questions of a watcher, and
	// between two answers of a subscriber.
	askPause = time.Second
	// answerWithin spreads the answers of many.
	answerWithin = 200 * time.Millisecond
	// absentAfter is when a peer that did not answer has left.
	absentAfter = 2*askEvery + askEvery/2
	// suspectFor is how long a peer whose connection ended has to say that it
	// is still there, by another way.
	suspectFor = 3 * time.Second
	// mostPresent bounds the peers that are known to be on a type.
	mostPresent = 4096
)

// Change is a peer that has come to a type, or has left it.
type Change struct {
	Peer   peer.ID
	Joined bool
}

// Presence watches who is on a type: which other peers are subscribed to it,
// connected to this node or not. One that leaves is known to have left at once,
// and one that vanishes as soon as its connection to this node ends; where it was
// connected to others, 3 seconds after they notice, and at the latest after 75
// seconds. Who is there is asked every 30 seconds, by one watcher for all. At most 4096 peers are known of a type; more
// are counted in Stats.
//
// All methods may be called concurrently.
type Presence struct {
	t      *topic
	ready  chan struct{} // holds a token after waits grew
	closed chan struct{}
	once   sync.Once

	// Guarded by t.mu.
	told  map[peer.ID]struct{} // who the reader was told is there
	waits []peer.ID            // of whom there may be news
	among map[peer.ID]struct{} // waits, as a set
}

// sighting is what is known of a peer on a type.
type sighting struct {
	id      message.ID // of its latest word
	at      time.Time  // of that
	here    bool
	suspect time.Time // when it is taken for gone; zero: not suspected
}

// presence is the part of a topic that knows who is there; under the topic's mu.
type presence struct {
	watchers  map[*Presence]struct{}
	sightings map[peer.ID]*sighting
	word      message.ID // of this node's last own word
	asked     time.Time  // when another last asked
	answered  time.Time  // when this node last answered
	questions time.Time  // when this node last asked
	answerDue time.Time  // zero: nobody waits for an answer
	askDue    time.Time  // zero: nobody watches
	askAgain  time.Time  // once, besides
}

// Presence begins to watch a type. Those who are there already are told of as
// joining. Errors are those of Subscribe.
func (m *Mesh) Presence(typ string) (*Presence, error) {
	if err := message.CheckType(typ); err != nil {
		return nil, fmt.Errorf("presence: %w", err)
	}
	t, err := m.use(typ)
	if err != nil {
		return nil, fmt.Errorf("presence of %q: %w", typ, err)
	}
	if err := t.announce(); err != nil {
		t.release()
		return nil, fmt.Errorf("presence of %q: %w", typ, err)
	}
	p := &Presence{
		t:      t,
		ready:  make(chan struct{}, 1),
		closed: make(chan struct{}),
		told:   make(map[peer.ID]struct{}),
		among:  make(map[peer.ID]struct{}),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.watchers) == 0 {
		t.watchers = make(map[*Presence]struct{})
		t.sightings = make(map[peer.ID]*sighting)
	}
	t.watchers[p] = struct{}{}
	for id, s := range t.sightings {
		if s.here {
			p.note(id)
		}
	}
	now := time.Now()
	t.askDue = now
	t.askAgain = now.Add(askSoon)
	t.nudge()
	return p, nil
}

// note has the reader look at a peer; t.mu is held.
func (p *Presence) note(id peer.ID) {
	if _, waits := p.among[id]; waits {
		return
	}
	p.among[id] = struct{}{}
	p.waits = append(p.waits, id)
	p.wake()
}

// unnote spares a slow reader a peer that came and left meanwhile, so that what
// waits is bounded; t.mu is held.
func (p *Presence) unnote(id peer.ID) {
	if _, told := p.told[id]; told {
		return
	}
	delete(p.among, id)
	if len(p.waits) > 2*len(p.among)+16 {
		p.waits = slices.DeleteFunc(p.waits, func(id peer.ID) bool {
			_, waits := p.among[id]
			return !waits
		})
	}
}

func (p *Presence) wake() {
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

// Now lists the peers that are on the type, in the order of their ids.
func (p *Presence) Now() []peer.ID {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	var here []peer.ID
	if !p.isClosed() {
		for id, s := range p.t.sightings {
			if s.here {
				here = append(here, id)
			}
		}
	}
	slices.SortFunc(here, func(a, b peer.ID) int { return strings.Compare(string(a), string(b)) })
	return here
}

// Next waits for the next change. A reader that is slow misses who came and left
// meanwhile, and nothing else. The error is ErrClosed, once the Presence or the
// Mesh is closed, or that of ctx.
func (p *Presence) Next(ctx context.Context) (Change, error) {
	for {
		if c, ok := p.take(); ok {
			return c, nil
		}
		select {
		case <-p.ready:
		case <-p.closed:
			return Change{}, ErrClosed
		case <-p.t.m.ctx.Done():
			return Change{}, ErrClosed
		case <-ctx.Done():
			return Change{}, ctx.Err()
		}
	}
}

func (p *Presence) take() (Change, bool) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	for len(p.waits) > 0 && !p.isClosed() {
		id := p.waits[0]
		p.waits = p.waits[1:]
		if _, waits := p.among[id]; !waits {
			continue // unnoted
		}
		delete(p.among, id)
		s := p.t.sightings[id]
		is := s != nil && s.here
		if _, was := p.told[id]; was == is {
			continue
		}
		if is {
			p.told[id] = struct{}{}
		} else {
			delete(p.told, id)
		}
		if len(p.waits) > 0 {
			p.wake() // another reader
		}
		return Change{Peer: id, Joined: is}, true
	}
	return Change{}, false
}

func (p *Presence) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
	}
}

// Close ends the watch. It may be called again.
func (p *Presence) Close() error {
	p.once.Do(func() {
		t := p.t
		t.mu.Lock()
		close(p.closed)
		delete(t.watchers, p)
		if len(t.watchers) == 0 {
			t.sightings, t.askDue, t.askAgain = nil, time.Time{}, time.Time{}
		}
		t.mu.Unlock()
		t.unannounce()
		t.release()
	})
	return nil
}

// hear takes in what a peer says about who is there.
func (t *topic) hear(msg *message.Message) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch msg.Kind {
	case message.Who:
		t.asked = now
		subject, err := peer.IDFromBytes(msg.Data)
		switch {
		case len(msg.Data) == 0 || subject == t.m.self:
			t.answerSoon(now)
		case err == nil:
			t.suspect(subject, now)
		}
	case message.Here:
		t.sight(msg.From, msg.ID, true, now)
	case message.Gone:
		if len(msg.Data) == 0 {
			t.sight(msg.From, msg.ID, false, now)
		}
	}
}

// sight notes a peer's own word; t.mu is held.
func (t *topic) sight(p peer.ID, id message.ID, here bool, now time.Time) {
	if len(t.watchers) == 0 || p == t.m.self {
		return
	}
	s := t.sightings[p]
	if s == nil {
		if len(t.sightings) >= mostPresent {
			t.m.stats.uncounted.Add(1)
			return
		}
		s = &sighting{}
		t.sightings[p] = s
	} else if id.Compare(s.id) < 0 {
		return // overtaken on its way
	}
	s.id, s.at, s.suspect = id, now, time.Time{}
	if s.here != here {
		s.here = here
		t.tellWatchers(p)
	}
}

func (t *topic) tellWatchers(p peer.ID) {
	for w := range t.watchers {
		w.note(p)
	}
}

// suspect has a peer asked whether it is there; t.mu is held.
func (t *topic) suspect(p peer.ID, now time.Time) {
	s := t.sightings[p]
	if s == nil || !s.here || !s.suspect.IsZero() {
		return
	}
	s.suspect = now.Add(suspectFor)
	t.nudge()
}

// askSoon has all asked, if this node watches; t.mu is held.
func (t *topic) askSoon(now time.Time) {
	if len(t.watchers) > 0 {
		t.askDue = earliest(t.askDue, latest(now, t.questions.Add(askPause)))
		t.nudge()
	}
}

// vanished notes that a peer's connection ended, or that it is on the topic no
// more. It says whether somebody watches who is there: they are told to look for
// it, and it is asked whether it is there by another way. t.mu is held.
func (t *topic) vanished(p peer.ID, now time.Time) (watched bool) {
	if s := t.sightings[p]; s != nil && s.here {
		s.here, s.suspect = false, time.Time{}
		t.tellWatchers(p)
	}
	return len(t.watchers) > 0 || !t.asked.IsZero() && now.Sub(t.asked) < 2*askEvery
}

// answerSoon has this node say that it is there, if it is; t.mu is held.
func (t *topic) answerSoon(now time.Time) {
	if t.subscribed == 0 || !t.answerDue.IsZero() {
		return
	}
	t.answerDue = latest(now.Add(rand.N(answerWithin)), t.answered.Add(askPause))
	t.nudge()
}

// attend does what is due of presence, and says when it is to be called again;
// zero for never. It is called by tend.
func (t *topic) attend(now time.Time) time.Time {
	t.mu.Lock()
	ask, answer := due(t.askDue, now) || due(t.askAgain, now), due(t.answerDue, now)
	if due(t.askAgain, now) {
		t.askAgain = time.Time{}
	} else if ask && now.Sub(t.questions) >= askEvery && now.Sub(t.asked) < askEvery {
		// Another asked, and the answers are for all.
		ask, t.askDue = false, t.asked.Add(askEvery+rand.N(answerWithin))
	}
	if ask && len(t.on) == 0 { // the first to come is asked at once
		ask, t.askDue = false, now.Add(askEvery)
	}
	if ask {
		t.questions, t.askDue = now, now.Add(askEvery)
	}
	if answer {
		t.answered, t.answerDue = now, time.Time{}
		answer = t.subscribed > 0
	}
	next := earliest(t.askDue, t.askAgain, t.answerDue, t.dropAbsent(now))
	t.mu.Unlock()
	if ask {
		t.tell(message.Who, nil)
	}
	if answer {
		t.tell(message.Here, nil)
	}
	return next
}

// dropAbsent takes those for gone who did not answer, and says when the next
// may be; t.mu is held.
func (t *topic) dropAbsent(now time.Time) (next time.Time) {
	for p, s := range t.sightings {
		at := s.at.Add(absentAfter)
		if s.here && !s.suspect.IsZero() {
			at = s.suspect
		}
		switch {
		case !due(at, now):
			next = earliest(next, at)
		case s.here:
			s.here, s.suspect = false, time.Time{}
			t.tellWatchers(p)
		default: // its last word was remembered for as long as an earlier one may come
			delete(t.sightings, p)
			for w := range t.watchers {
				w.unnote(p)
			}
		}
	}
	return next
}

// tell sends a word of presence. Whether anybody hears it, nobody knows.
func (t *topic) tell(kind message.Kind, about []byte) {
	t.mu.Lock()
	t.word.Seq++
	msg := &message.Message{Kind: kind, ID: t.word, Data: about}
	t.mu.Unlock()
	if err := t.put(t.m.ctx, msg, &signed{}); err != nil && t.m.ctx.Err() == nil {
		t.m.log.Debug("a word of presence was not sent", "type", t.typ, "kind", kind, "err", err)
	}
}
