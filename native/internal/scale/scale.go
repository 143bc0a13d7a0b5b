// Package scale simulates a network of many relays and very many tabs in one process, to
// find out which costs grow, and how fast: see docs/scale.md.
//
// Real: the relays are package mesh with the options of package relay, and so
// go-libp2p-pubsub, which decides which peers are in whose mesh and checks each
// signature. Simulated: the network (latency, loss, a partition), the connections, and
// the tabs, which are light nodes that send and receive the same as package mesh does in
// a tab. A test compares both kinds of tab. Time is virtual: everything runs in a bubble
// of testing/synctest, so that a slow machine takes longer but gets the same result.
package scale

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/mesh"
	"github.com/tombolo-net/tombolo/core/mesh/replay"
	"github.com/tombolo-net/tombolo/core/message"
)

// Options configure a simulation.
type Options struct {
	Relays int
	Names  int // how many others each relay names with --peer; 0: all
	Tabs   int
	Types  int // of messages; each tab is on one

	Reservations int           // of each tab
	Within       time.Duration // time in which the tabs come
	Watching     float64       // share of tabs that ask who is present when they come
	Answers      Answers       // which members answer
	Loss         float64       // share of segments that are lost
	JoinCPU      time.Duration // of the relay, for taking in a tab
}

// Defaults of a relay; see package relay.
const (
	relayTopics  = 512
	historyBytes = 128 << 20 / relayTopics
)

// world is the simulation.
type world struct {
	opts    Options
	start   time.Time
	relays  []*peerHost
	meshes  []*mesh.Mesh
	rooms   []*room
	tabs    []*tab
	numbers atomic.Uint64 // of messages of tabs

	ctx  context.Context
	stop context.CancelFunc
	run  sync.WaitGroup

	mu      sync.Mutex
	links   map[*link]struct{}
	flights map[string]*flight
	cut     bool // the network is partitioned
}

// begin starts the relays and links them. The tabs have not come yet.
func begin(o Options) (*world, error) {
	w := &world{opts: o, start: time.Now(), links: make(map[*link]struct{}), flights: make(map[string]*flight)}
	w.ctx, w.stop = context.WithCancel(context.Background())
	for n := range o.Relays {
		h, err := w.newHost(fmt.Sprintf("/ip4/10.%d.%d.1/tcp/1", n>>8, n&0xff), 1*time.Millisecond+rand.N(40*time.Millisecond), n%2)
		if err != nil {
			return w, err
		}
		m, err := mesh.New(w.ctx, h, mesh.Options{
			Deliver:       func(*message.Message) {},
			RelayTopics:   relayTopics,
			KeepHistories: &replay.Limits{Bytes: historyBytes},
		})
		if err != nil {
			return w, err
		}
		w.relays, w.meshes = append(w.relays, h), append(w.meshes, m)
	}
	for i := range w.relays {
		for _, j := range w.named(i) {
			w.run.Go(func() { w.keep(w.relays[i], w.relays[j]) })
		}
	}
	for n := range o.Types {
		name := fmt.Sprintf("room/%d", n)
		w.rooms = append(w.rooms, &room{name: name, topic: mesh.DefaultNetwork + "/" + name})
	}
	for n := range o.Tabs {
		t, err := w.newTab(n, w.rooms[n%o.Types], 2*time.Millisecond+rand.N(40*time.Millisecond), rand.N(2))
		if err != nil {
			return w, err
		}
		t.watches = rand.Float64() < o.Watching
		w.tabs = append(w.tabs, t)
	}
	return w, nil
}

// named returns the relays that a relay dials: of two that name each other, one dials.
func (w *world) named(i int) (others []int) {
	if w.opts.Names == 0 || w.opts.Names >= len(w.relays)-1 {
		for j := range i {
			others = append(others, j)
		}
		return others
	}
	// A ring connects all of them, and the rest are random.
	seen := map[int]bool{i: true}
	for j := (i + 1) % len(w.relays); len(others) < max(w.opts.Names/2, 1); j = rand.N(len(w.relays)) {
		if !seen[j] {
			seen[j] = true
			others = append(others, j)
		}
	}
	return others
}

// keep keeps two relays connected, as package relay does.
func (w *world) keep(a, b *peerHost) {
	backoff := minBackoff
	for !w.ended() {
		trip := 2 * w.delay(a, b)
		if !w.apart(a, b) && !a.isDown() && !b.isDown() {
			w.sleep(joinTrips * trip)
			l := w.connect(a, b)
			a.joined(l.ends[0], b.protocols())
			b.joined(l.ends[1], a.protocols())
			select {
			case <-l.gone:
			case <-w.ctx.Done():
			}
			backoff = minBackoff
		}
		w.sleep(backoff - rand.N(backoff/2))
		backoff = min(2*backoff, maxBackoff)
	}
}

// sleep waits for a time, or until the simulation ends.
func (w *world) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.ctx.Done():
	}
}

func (w *world) ended() bool { return w.ctx.Err() != nil }

// close ends the simulation.
func (w *world) close() error {
	w.stop()
	w.run.Wait()
	w.mu.Lock()
	var links []*link
	for l := range w.links {
		links = append(links, l)
	}
	w.mu.Unlock()
	for _, l := range links {
		l.close()
	}
	errs := make(chan error, len(w.meshes))
	for _, m := range w.meshes {
		go func() { errs <- m.Close() }()
	}
	var err error
	for range w.meshes {
		err = errors.Join(err, <-errs)
	}
	for _, h := range w.relays {
		err = errors.Join(err, h.known.Close())
	}
	return err
}

// come makes all tabs come, spread over a time, and waits until they have.
func (w *world) come(within time.Duration) {
	for _, t := range w.tabs {
		time.AfterFunc(rand.N(within), t.fill)
	}
	w.sleep(within)
}

// apart reports whether a partition lies between two ends.
func (w *world) apart(a, b end) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut && a.base().side != b.base().side
}

// part makes a partition, in which each connection across it falls silent and is noticed
// after some time; mend ends it.
func (w *world) part() {
	for _, l := range w.hold(true) {
		time.AfterFunc(noticed-rand.N(noticed/4), func() {
			l.mu.Lock()
			held := l.held
			l.mu.Unlock()
			if held {
				l.close()
			}
		})
	}
}

func (w *world) mend() { w.hold(false) }

// hold makes or ends a partition, and returns the connections across it.
func (w *world) hold(cut bool) []*link {
	w.mu.Lock()
	w.cut = cut
	links := w.across()
	w.mu.Unlock()
	for _, l := range links {
		l.hold(cut)
	}
	return links
}

// across returns the connections between the two sides. The mutex is held.
func (w *world) across() (links []*link) {
	for l := range w.links {
		if l.ends[0].local.base().side != l.ends[1].local.base().side {
			links = append(links, l)
		}
	}
	return links
}

// kill ends a relay's process: its system closes its connections.
func (w *world) kill(h *peerHost) {
	h.mu.Lock()
	h.down = true
	var links []*link
	for _, c := range h.conns {
		links = append(links, c.link)
	}
	h.mu.Unlock()
	for _, l := range links {
		l.close()
	}
}

// crossing returns the number of pairs of relays on different sides between which
// broadcasts flow directly.
func (w *world) crossing() (n int) {
	for i, h := range w.relays {
		for _, p := range h.Network().Peers() {
			if other := w.relay(p); other != nil && other.place.side != h.place.side && w.meshes[i].Meshed(p) {
				n++
			}
		}
	}
	return n / 2
}

func (w *world) relay(p peer.ID) *peerHost {
	for _, h := range w.relays {
		if h.self == p {
			return h
		}
	}
	return nil
}

// connected returns how many connections the relays have among each other.
func (w *world) connected() (n int) {
	for _, h := range w.relays {
		for _, other := range w.relays {
			if h.Network().Connectedness(other.self) == network.Connected {
				n++
			}
		}
	}
	return n / 2
}

// flight is a message on its way to all tabs of a type.
type flight struct {
	sent time.Time
	room *room

	mu      sync.Mutex
	there   []uint64 // bits, by the index of the tab
	reached int
	copies  int
	times   []time.Duration
}

// remembered is how long GossipSub recognises a message.
const remembered = 2 * time.Minute

// flight returns the flight of a message, and makes it if necessary.
func (w *world) flight(p published, r *room) *flight {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.flights[p.key]
	if f == nil {
		f = &flight{sent: time.Now(), room: r, there: make([]uint64, (len(r.tabs)+63)/64)}
		if p.kind == message.Event {
			f.times = make([]time.Duration, 0, len(r.tabs))
		}
		w.flights[p.key] = f
		time.AfterFunc(remembered, func() {
			w.mu.Lock()
			delete(w.flights, p.key)
			w.mu.Unlock()
		})
	}
	return f
}

// arrived reports whether a tab has a message, or has no use for it any more.
func (w *world) arrived(key string, t *tab) bool {
	w.mu.Lock()
	f := w.flights[key]
	w.mu.Unlock()
	if f == nil {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.there[t.index/64]&(uint64(1)<<(t.index%64)) != 0
}

// arrives records that a message arrives at a tab, and reports whether it is new to the
// tab.
func (f *flight) arrives(t *tab, at time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.copies++
	bit := uint64(1) << (t.index % 64)
	if f.there[t.index/64]&bit != 0 {
		return false
	}
	f.there[t.index/64] |= bit
	f.reached++
	if f.times != nil {
		f.times = append(f.times, at.Sub(f.sent))
	}
	return true
}
