package mesh

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

const (
	// idleTopic is how long a topic is remembered that nobody uses, so that one
	// who broadcasts now and then without subscribing need not begin anew.
	idleTopic = 2 * time.Minute
	// sweepEvery is how often what has become idle is looked for.
	sweepEvery = 15 * time.Second
	// mostNumbers bounds the topics, not in use, whose numbers are remembered.
	mostNumbers = 1 << 16
)

// topic is the node's part in one type.
type topic struct {
	m   *Mesh
	typ string

	users int           // guarded by m.mu; negative once it is being closed
	idle  time.Time     // guarded by m.mu; since when users is zero
	gone  chan struct{} // closed when it has been closed

	op        sync.Mutex // makes opening, announcing and closing one step each
	handle    *pubsub.Topic
	events    *pubsub.TopicEventHandler
	endTasks  context.CancelFunc
	tasks     sync.WaitGroup
	announced int    // reasons to be on the topic
	quiet     func() // takes the announcement back

	publish sync.Mutex // numbers and publishes in one step
	last    message.ID // the last given to what was sent
	local   message.ID // the last given to what was not

	keeping sync.Mutex    // makes opening and closing the history one step each
	kick    chan struct{} // has tend look
	turn    chan struct{} // has the token of who asks for the history

	mu         sync.Mutex           // never held while GossipSub is called
	subscribed int                  // local subscriptions
	joined     chan struct{}        // closed when a peer may have become one to send to, and replaced
	on         map[peer.ID]struct{} // connected peers that are on the topic
	seen       seen
	early      early // guards itself
	presence
	history
}

// use is the topic of a type, opened. release must follow.
func (m *Mesh) use(typ string) (*topic, error) {
	for {
		m.mu.Lock()
		if m.ctx.Err() != nil {
			m.mu.Unlock()
			return nil, ErrClosed
		}
		t := m.topics[typ]
		if t == nil {
			t = m.newTopic(typ)
			m.topics[typ] = t
		}
		if t.users < 0 {
			m.mu.Unlock()
			<-t.gone
			continue
		}
		t.users++
		m.mu.Unlock()
		if err := t.open(); err != nil {
			t.release()
			return nil, m.closedOr(err)
		}
		return t, nil
	}
}

// newTopic begins a topic, or goes on with its numbers; m.mu is held.
func (m *Mesh) newTopic(typ string) *topic {
	t := &topic{m: m, typ: typ, gone: make(chan struct{}), joined: make(chan struct{}), kick: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
	t.on, t.past = make(map[peer.ID]struct{}), t.openRecent()
	t.last, t.local.Epoch, t.word.Epoch = m.numbers[typ], newEpoch(), newEpoch()
	delete(m.numbers, typ)
	if t.last.Epoch == 0 {
		t.last.Epoch = newEpoch()
	}
	return t
}

// forget removes a topic that has been closed, but for its numbers: a publisher
// that pauses does not begin anew.
func (m *Mesh) forget(t *topic) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.topics, t.typ)
	if t.last.Seq > 0 && len(m.numbers) < mostNumbers {
		m.numbers[t.typ] = t.last
	}
}

func (t *topic) release() {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	t.users--
	t.idle = time.Now()
}

// closedOr is ErrClosed where that is why something failed.
func (m *Mesh) closedOr(err error) error {
	if m.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

// open joins the topic for publishing; it is not announced yet.
func (t *topic) open() error {
	t.op.Lock()
	defer t.op.Unlock()
	if t.handle != nil {
		return nil
	}
	if t.m.ctx.Err() != nil {
		return ErrClosed
	}
	handle, err := t.m.ps.Join(t.m.prefix + t.typ)
	if err != nil {
		return fmt.Errorf("join %q: %w", t.typ, err)
	}
	events, err := handle.EventHandler()
	if err != nil {
		return errors.Join(fmt.Errorf("join %q: %w", t.typ, err), handle.Close())
	}
	ctx, cancel := context.WithCancel(t.m.ctx)
	t.handle, t.events, t.endTasks = handle, events, cancel
	t.tasks.Go(func() { t.watch(ctx) })
	t.tasks.Go(func() { t.tend(ctx) })
	return nil
}

// watch hears of the peers that come to the topic and leave it.
func (t *topic) watch(ctx context.Context) {
	for {
		e, err := t.events.NextPeerEvent(ctx)
		if err != nil {
			return
		}
		switch e.Type {
		case pubsub.PeerJoin:
			t.came(e.Peer)
		case pubsub.PeerLeave:
			t.left(e.Peer)
		}
	}
}

// came is told that a peer is on the topic.
func (t *topic) came(p peer.ID) {
	carrier := t.m.isCarrier(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	alone := len(t.on) == 0
	t.on[p] = struct{}{}
	t.wake()
	if alone || now.Sub(t.since) < settling {
		t.catchUpSoon(catchUps...)
	}
	if alone {
		t.answerSoon(now)
	}
	if alone || carrier {
		t.askSoon(now) // others may be behind it
	}
}

// left is told that a peer is no longer on the topic, as far as this node's
// connections go.
func (t *topic) left(p peer.ID) {
	t.mu.Lock()
	delete(t.on, p)
	watched := t.vanished(p, time.Now())
	t.mu.Unlock()
	if watched {
		t.tell(message.Who, []byte(p))
	}
}

// wake has those look again who wait for a peer to send to; t.mu is held.
func (t *topic) wake() {
	close(t.joined)
	t.joined = make(chan struct{})
}

// wakeFor is told that what is sent to p goes out from now on: it may have been
// on the topic before.
func (m *Mesh) wakeFor(p peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.topics {
		t.mu.Lock()
		if _, on := t.on[p]; on {
			t.wake()
		}
		t.mu.Unlock()
	}
}

// peersOn lists the connected peers that are on the topic.
func (t *topic) peersOn() []peer.ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.on))
}

// close ends what open began.
func (t *topic) close() {
	t.op.Lock()
	defer t.op.Unlock()
	defer close(t.gone)
	if t.handle == nil {
		return
	}
	t.endTasks()
	t.tasks.Wait()
	t.events.Cancel()
	defer t.dropRecent()
	if err := t.handle.Close(); err != nil && t.m.ctx.Err() == nil {
		t.m.log.Error("a topic does not close", "type", t.typ, "err", err)
	}
}

// announce tells the peers that this node is on the topic: from now on it hears
// what is said there and passes it on. Each call wants one of unannounce.
func (t *topic) announce() error {
	t.op.Lock()
	defer t.op.Unlock()
	if t.announced == 0 {
		t.mu.Lock()
		t.since = time.Now()
		t.mu.Unlock()
		quiet, err := t.handle.Relay()
		if err != nil {
			return t.m.closedOr(fmt.Errorf("announce %q: %w", t.typ, err))
		}
		t.quiet = quiet
		t.mu.Lock()
		t.listening = true
		t.catchUpSoon(catchUps...)
		t.mu.Unlock()
	}
	t.announced++
	return nil
}

func (t *topic) unannounce() {
	t.op.Lock()
	defer t.op.Unlock()
	t.announced--
	if t.announced > 0 {
		return
	}
	t.quiet()
	// What is said from now on is not missed.
	t.mu.Lock()
	t.seen, t.listening, t.rounds = seen{}, false, nil
	t.mu.Unlock()
}

// Subscribe makes the messages of a type reach Options.Deliver, and tells the
// peers. A type can be subscribed to several times, and is left when all have
// left. A function returned may be called more than once. The errors are
// ErrClosed and those of message.CheckType.
func (m *Mesh) Subscribe(typ string) (leave func(), err error) {
	if err := message.CheckType(typ); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	t, err := m.use(typ)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %q: %w", typ, err)
	}
	t.subscribe()
	if err := t.announce(); err != nil {
		t.unsubscribe()
		t.release()
		return nil, fmt.Errorf("subscribe to %q: %w", typ, err)
	}
	return sync.OnceFunc(func() {
		if t.unsubscribe() {
			t.tell(message.Gone, nil)
		}
		t.unannounce()
		t.release()
	}), nil
}

func (t *topic) subscribe() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subscribed++
	if t.subscribed == 1 {
		t.answerSoon(time.Now())
	}
}

// unsubscribe says whether that was the last subscription.
func (t *topic) unsubscribe() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subscribed--
	return t.subscribed == 0
}

// Peers lists the connected peers that are on the type's topic: subscribers,
// those that watch who is there, and relays that carry it.
func (m *Mesh) Peers(typ string) []peer.ID {
	if m.ctx.Err() != nil {
		return nil
	}
	peers := m.ps.ListPeers(m.prefix + typ)
	slices.SortFunc(peers, func(a, b peer.ID) int { return strings.Compare(string(a), string(b)) })
	return peers
}

// sweep closes the topics that have become idle.
func (m *Mesh) sweep() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case now := <-ticker.C:
			for _, t := range m.idleTopics(now) {
				t.close()
				m.forget(t)
			}
		}
	}
}

func (m *Mesh) idleTopics(now time.Time) []*topic {
	m.mu.Lock()
	defer m.mu.Unlock()
	var idle []*topic
	for _, t := range m.topics {
		if t.users == 0 && now.Sub(t.idle) >= idleTopic {
			t.users = -1
			idle = append(idle, t)
		}
	}
	return idle
}
