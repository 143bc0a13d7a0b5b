package world_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/seat"
	"github.com/tombolo-net/tombolo/core/world/wire"
)

// road is an area of a world in which each player counts: every input is the next number.
// A player that walks to another area takes its number along.
type road struct {
	w       *world.World
	to      atomic.Pointer[world.Area] // all players walk to it, unless it is nil
	ready   atomic.Pointer[world.Area]
	refuses atomic.Bool
	onJoin  func()              // called on each join; makes something go wrong
	onWalk  func(*world.Player) // the same, in each tick for each player that walks

	mu      sync.Mutex
	of      map[*world.Player]*walker
	ran     map[uint32]int // by tick number: how many ticks had run
	joined  uint32         // the tick in which the last player joined
	wrong   []string
	left    []world.Reason
	stays   []error
	arrived []world.Arrival
}

type walker struct {
	e  world.Entity
	at uint32
}

func (r *road) Start(w *world.World) {
	r.w, r.of, r.ran = w, make(map[*world.Player]*walker), make(map[uint32]int)
}

func (r *road) Join(p *world.Player, _ []byte) ([]byte, error) {
	if r.refuses.Load() {
		return nil, errors.New("the bridge is up")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.onJoin != nil {
		r.onJoin()
	}
	at := &walker{e: r.w.Spawn(0, 0)}
	r.joined = r.w.Tick()
	if a := p.Arrived(); a != nil {
		at.at = binary.BigEndian.Uint32(a.State)
		r.arrived = append(r.arrived, *a)
	} else if k := p.Kept(); len(k) == 4 {
		at.at = binary.BigEndian.Uint32(k)
	}
	r.of[p] = at
	p.Follow(at.e)
	return binary.BigEndian.AppendUint32(nil, uint32(at.e)), nil
}

func (r *road) Input(p *world.Player, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, n := r.of[p], binary.BigEndian.Uint32(data)
	if n != at.at+1 || p.Walking() {
		r.wrong = append(r.wrong, fmt.Sprintf("%d after %d, walking %v", n, at.at, p.Walking()))
	}
	at.at = n
}

func (r *road) Tick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ran[r.w.Tick()] = len(r.ran) + 1
	for p, at := range r.of {
		r.w.Touch(at.e)
		if to := r.ready.Load(); to != nil {
			p.Ready(*to)
		}
		if to := r.to.Load(); to != nil {
			p.Walk(*to, binary.BigEndian.AppendUint32(nil, at.at))
		}
		if p.Walking() && r.onWalk != nil {
			r.onWalk(p)
		}
	}
}

func (r *road) Leave(p *world.Player, why world.Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.w.Remove(r.of[p].e)
	delete(r.of, p)
	r.left = append(r.left, why)
	r.to.Store(nil)
}

func (r *road) Stays(_ *world.Player, _ world.Area, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stays = append(r.stays, why)
	r.to.Store(nil)
}

func (r *road) Whole(e world.Entity, dst []byte) []byte {
	for _, at := range r.of {
		if at.e == e {
			return binary.BigEndian.AppendUint32(dst, at.at)
		}
	}
	return dst
}
func (r *road) Change(e world.Entity, dst []byte) []byte       { return r.Whole(e, dst) }
func (r *road) Save(_ world.Entity, dst []byte) ([]byte, bool) { return dst, false }
func (r *road) Restore(world.Entity, []byte) error             { return nil }
func (r *road) SavePlayer(p *world.Player, dst []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return binary.BigEndian.AppendUint32(dst, r.of[p].at)
}

// told returns what the game has been told so far.
func (r *road) told() (players int, left []world.Reason, stays []error, wrong []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.of), append([]world.Reason(nil), r.left...), append([]error(nil), r.stays...), append([]string(nil), r.wrong...)
}

// since returns how many ticks have run after the given one.
func (r *road) since(tick uint32) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ran) - r.ran[tick]
}

// begun returns how many ticks had run since the last player joined when the given one ran.
func (r *road) begun(tick uint32) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ran[tick] - r.ran[r.joined]
}

// land is a room on a host of its own.
type land struct {
	hosting
	road *road
	room *world.Room
	area world.Area
}

func newLand(t *testing.T, name string, opts world.Options, neighbours ...*land) *land {
	l := &land{hosting: newHosting(t), road: new(road)}
	opts.Name, opts.Inputs = name, 1000
	for _, n := range neighbours {
		l.connect(t, n.node)
		opts.Neighbours = append(opts.Neighbours, n.ID())
	}
	var err error
	l.room, err = l.rooms.Host(l.road, opts)
	require.NoError(t, err)
	for _, n := range neighbours {
		n.room.NameNeighbours(l.ID())
	}
	l.area = world.Area{Room: name, Host: l.ID()}
	return l
}

// wanderer is a player that counts.
type wanderer struct {
	*seat.Seat
	node  node
	lands map[string]*land

	mu      sync.Mutex
	at      map[string]uint32 // the last tick, by room
	room    string
	gaps    []int
	has     uint32
	sent    uint32
	stopped atomic.Bool
	counted sync.WaitGroup
}

func newWanderer(t *testing.T, from *land, others ...*land) *wanderer {
	n := newNode(t)
	for _, l := range append([]*land{from}, others...) {
		n.connect(t, l.node)
	}
	w := newWandererOf(t, n, from, others...)
	w.node = n
	return w
}

// newWandererOf makes a wanderer at a node that can reach the hosts.
func newWandererOf(t *testing.T, n interface {
	seat.Node
	seat.Finder
}, from *land, others ...*land) *wanderer {
	w := &wanderer{at: make(map[string]uint32), room: from.area.Room, lands: make(map[string]*land)}
	for _, l := range append([]*land{from}, others...) {
		w.lands[l.area.Room] = l
	}
	ready := make(chan struct{})
	s, err := seat.Join(bounded(t), n, from.area.Room, seat.Options{Host: from.ID(), Each: func(tick *seat.Tick) {
		<-ready
		w.take(tick)
	}})
	require.NoError(t, err)
	w.Seat = s
	close(ready)
	t.Cleanup(func() { _ = s.Leave() })
	return w
}

func (w *wanderer) take(tick *seat.Tick) {
	room := w.Room()
	w.mu.Lock()
	defer w.mu.Unlock()
	if room != w.room {
		if before := w.lands[w.room]; before != nil {
			w.gaps = append(w.gaps, before.road.since(w.at[w.room])+w.lands[room].road.begun(tick.Number))
		}
		w.room = room
	}
	w.at[room] = tick.Number
	for _, u := range tick.Updates {
		if len(u.Data) == 4 {
			w.has = binary.BigEndian.Uint32(u.Data)
		}
	}
}

// count makes the player count until stop is called.
func (w *wanderer) count(t *testing.T) {
	w.stopped.Store(false)
	w.counted.Go(func() {
		for !w.stopped.Load() {
			_, err := w.Input(binary.BigEndian.AppendUint32(nil, w.sent+1))
			switch {
			case err == nil:
				w.sent++
			case !errors.Is(err, seat.ErrAway) && !errors.Is(err, seat.ErrBehind):
				assert.NoError(t, err)
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
	t.Cleanup(w.stop)
}

func (w *wanderer) stop() {
	w.stopped.Store(true)
	w.counted.Wait()
}

// allIsThere stops the counting and waits until the player sees its last number. It also
// checks that no room took an input twice or out of order.
func (w *wanderer) allIsThere(t *testing.T) {
	t.Helper()
	w.stop()
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.has == w.sent
	}, limit, 5*time.Millisecond)
	for _, l := range w.lands {
		_, _, _, wrong := l.road.told()
		require.Empty(t, wrong, l.area.Room)
	}
}

func (w *wanderer) isAt(l *land) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.room == l.area.Room && w.Host() == l.ID()
}

func (w *wanderer) walk(t *testing.T, from, to *land) {
	t.Helper()
	from.road.to.Store(&to.area)
	require.Eventually(t, func() bool { return w.isAt(to) }, limit, time.Millisecond, "%s", to.area.Room)
	from.is(t, 0)
	to.is(t, 1)
}

// is waits until the room has the given number of players.
func (l *land) is(t *testing.T, players int) {
	t.Helper()
	require.Eventually(t, func() bool { n, _, _, _ := l.road.told(); return n == players }, limit, time.Millisecond)
}

// staying waits until the game is told that a player stays, and returns the reason.
func (l *land) staying(t *testing.T) (why error) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, _, stays, _ := l.road.told()
		if len(stays) > 0 {
			why = stays[len(stays)-1]
		}
		return why != nil
	}, limit, time.Millisecond)
	return why
}

// counts waits until the player has counted a few numbers further.
func (w *wanderer) counts(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	from := w.has
	w.mu.Unlock()
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.has > from+3
	}, limit, time.Millisecond)
}

func TestAPlayerWalksBetweenTwoHostsAndEachInputIsTakenOnce(t *testing.T) {
	t.Parallel()
	west := newLand(t, "west", world.Options{})
	east := newLand(t, "east", world.Options{}, west)
	w := newWanderer(t, west, east)
	w.count(t)
	w.counts(t)
	const crossings = 20
	from, to := west, east
	for i := range crossings {
		if i%2 == 0 { // every second time, the player connects to the other host beforehand
			from.road.ready.Store(&to.area)
			w.counts(t)
			from.road.ready.Store(nil)
		}
		w.walk(t, from, to)
		w.counts(t)
		from, to = to, from
	}
	w.allIsThere(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Len(t, w.gaps, crossings)
	slices.Sort(w.gaps) // the median counts, because a busy machine makes single gaps longer
	assert.LessOrEqual(t, w.gaps[crossings/2], 2, "ticks of both rooms between the last that it saw of one and the first of the other: %v", w.gaps)
	for _, l := range []*land{west, east} {
		_, left, stays, _ := l.road.told()
		assert.Empty(t, stays)
		for _, why := range left {
			assert.Equal(t, wire.Walked, why)
		}
		assert.Len(t, left, crossings/2)
		assert.Equal(t, crossings/2, len(l.road.arrived))
	}
	assert.Equal(t, west.area, east.road.arrived[0].From)
	t.Log("gaps", w.gaps, "inputs", w.sent)
}
