package mesh

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

const (
	// idleTopic is how long an unused topic is remembered, so that a node that broadcasts
	// now and then without subscribing need not join again each time.
	idleTopic = 2 * time.Minute
	// sweepEvery is how often the mesh looks for idle topics.
	sweepEvery = 15 * time.Second
	// mostNumbers bounds the unused topics whose numbers are remembered.
	mostNumbers = 1 << 16
)

// topic is the node's part in one type: which peers are on it (members), its broadcasts
// (history), and which peers say that they are there (presence). Each has its own lock.
// No two of these locks are held together, except that of members within that of
// presence.
type topic struct {
	m   *Mesh
	typ string

	users int           // guarded by m.mu; negative once the topic is being closed
	idle  time.Time     // guarded by m.mu; since when users is zero
	gone  chan struct{} // closed when the topic has been closed

	tasks      sync.WaitGroup
	endTasks   context.CancelFunc
	kick       chan struct{} // makes tend look at once
	subscribed atomic.Int32  // local subscriptions

	numbers  numbers
	members  membership
	history  history
	presence presence
}

// use returns the topic of a type and opens it. release must follow.
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

// newTopic makes a topic, which continues the numbers of a former one; m.mu is held.
func (m *Mesh) newTopic(typ string) *topic {
	t := &topic{m: m, typ: typ, gone: make(chan struct{}), kick: make(chan struct{}, 1)}
	t.numbers = numbers{last: m.numbers[typ], local: message.ID{Epoch: newEpoch()}}
	delete(m.numbers, typ)
	if t.numbers.last.Epoch == 0 {
		t.numbers.last.Epoch = newEpoch()
	}
	t.members = membership{t: t, joined: make(chan struct{}), on: make(map[peer.ID]bool)}
	t.history = history{t: t, past: m.newPast(typ), turn: make(chan struct{}, 1)}
	t.presence = presence{t: t, word: message.ID{Epoch: newEpoch()}}
	return t
}

// forget removes a topic that has been closed, but keeps its numbers, so that a publisher
// that pauses does not begin a new epoch.
func (m *Mesh) forget(t *topic) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.topics, t.typ)
	if last := t.numbers.last; last.Seq > 0 && len(m.numbers) < mostNumbers {
		m.numbers[t.typ] = last
	}
}

func (t *topic) release() {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	t.users--
	t.idle = time.Now()
}

// closedOr returns ErrClosed if the mesh is closed, and otherwise err.
func (m *Mesh) closedOr(err error) error {
	if m.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

// open joins the topic, once, and starts its goroutines.
func (t *topic) open() error {
	t.members.op.Lock()
	defer t.members.op.Unlock()
	if t.members.handle != nil {
		return nil
	}
	if t.m.ctx.Err() != nil {
		return ErrClosed
	}
	if err := t.members.join(); err != nil {
		return fmt.Errorf("join %q: %w", t.typ, err)
	}
	var ctx context.Context
	ctx, t.endTasks = context.WithCancel(t.m.ctx)
	t.tasks.Go(func() { t.members.watch(ctx) })
	t.tasks.Go(func() { t.tend(ctx) })
	return nil
}

// close undoes open. A history that is kept stays open.
func (t *topic) close() {
	t.members.op.Lock()
	defer t.members.op.Unlock()
	defer close(t.gone)
	if t.members.handle == nil {
		return
	}
	t.endTasks()
	t.tasks.Wait()
	t.members.leave()
	t.history.drop()
}

// Subscribe makes the messages of a type reach Options.Deliver, and announces the
// subscription to the peers. A type can be subscribed to several times; the node leaves
// the topic when all of them have left. leave may be called more than once. The errors
// are ErrClosed and those of message.CheckType.
func (m *Mesh) Subscribe(typ string) (leave func(), err error) {
	if err := message.CheckType(typ); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	t, err := m.use(typ)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %q: %w", typ, err)
	}
	t.subscribe()
	if err := t.members.announce(); err != nil {
		t.unsubscribe()
		t.release()
		return nil, fmt.Errorf("subscribe to %q: %w", typ, err)
	}
	return sync.OnceFunc(func() {
		if t.unsubscribe() {
			t.presence.tell(message.Gone, nil)
		}
		t.members.unannounce()
		t.release()
	}), nil
}

func (t *topic) subscribe() {
	if t.subscribed.Add(1) == 1 {
		t.presence.answerSoon(time.Now())
	}
}

// unsubscribe reports whether that was the last subscription.
func (t *topic) unsubscribe() bool { return t.subscribed.Add(-1) == 0 }

// Peers lists the connected peers that are on the topic of the type: subscribers,
// watchers of its presence, and relays that carry it.
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
