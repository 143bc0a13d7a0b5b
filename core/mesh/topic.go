package mesh

import (
	"context"
	"errors"
	"fmt"
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
	endEvents context.CancelFunc
	ended     chan struct{}
	announced int    // reasons to be on the topic
	quiet     func() // takes the announcement back

	publish sync.Mutex // numbers and publishes in one step
	epoch   uint64
	seq     uint64
	local   message.ID // the last given to what was not sent

	mu         sync.Mutex    // never held while GossipSub is called
	subscribed int           // local subscriptions
	joined     chan struct{} // closed when a peer joins, and replaced
	seen       seen
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
			t = &topic{m: m, typ: typ, gone: make(chan struct{}), joined: make(chan struct{})}
			t.epoch, t.local.Epoch = newEpoch(), newEpoch()
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
	handle, err := t.m.ps.Join(t.m.prefix + t.typ)
	if err != nil {
		return fmt.Errorf("join %q: %w", t.typ, err)
	}
	events, err := handle.EventHandler()
	if err != nil {
		return errors.Join(fmt.Errorf("join %q: %w", t.typ, err), handle.Close())
	}
	ctx, cancel := context.WithCancel(t.m.ctx)
	t.handle, t.events, t.endEvents, t.ended = handle, events, cancel, make(chan struct{})
	go func() {
		defer close(t.ended)
		t.watch(ctx)
	}()
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
			t.mu.Lock()
			close(t.joined)
			t.joined = make(chan struct{})
			t.mu.Unlock()
		case pubsub.PeerLeave:
		}
	}
}

// close ends what open began.
func (t *topic) close() {
	t.op.Lock()
	defer t.op.Unlock()
	defer close(t.gone)
	if t.handle == nil {
		return
	}
	t.endEvents()
	<-t.ended
	t.events.Cancel()
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
		quiet, err := t.handle.Relay()
		if err != nil {
			return t.m.closedOr(fmt.Errorf("announce %q: %w", t.typ, err))
		}
		t.quiet = quiet
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
	t.seen = seen{}
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
	t.mu.Lock()
	t.subscribed++
	t.mu.Unlock()
	if err := t.announce(); err != nil {
		t.unsubscribe()
		t.release()
		return nil, fmt.Errorf("subscribe to %q: %w", typ, err)
	}
	return sync.OnceFunc(func() {
		t.unsubscribe()
		t.unannounce()
		t.release()
	}), nil
}

func (t *topic) unsubscribe() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subscribed--
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
				m.mu.Lock()
				delete(m.topics, t.typ)
				m.mu.Unlock()
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
