package world

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// still returns a stage whose entities stay where the test puts them.
func still(t testing.TB, opts Options, peers int) *stage {
	return newStage(t, &drift{random: rand.New(rand.NewPCG(3, 4)), still: true}, opts, peers, 1)
}

func (s *stage) put(x, y float32) Entity {
	e := s.game.spawn()
	s.world.Move(e, x, y)
	return e
}

// change makes the game change an entity in the next tick.
func (s *stage) change(e Entity) {
	s.Do(func() {
		s.game.value[e]++
		s.world.Touch(e)
	})
}

// sees reports whether the first player knows the entity.
func (s *stage) sees(e Entity) bool {
	s.pipes[0].take()
	_, ok := s.pipes[0].value[0][e]
	return ok
}

// looks runs enough ticks to update what every player sees.
func (s *stage) looks() {
	for range lookEvery {
		s.tick(nil)
	}
}

func TestWhatIsInSightStaysUntilItIsFartherThanItCame(t *testing.T) {
	s := still(t, Options{Radius: 10, Leave: 12}, 1)
	s.tick(nil)
	boat := s.game.boats[s.players[0]]
	s.world.Move(boat, 0, 0)
	e := s.put(11, 0)
	s.looks()
	require.False(t, s.sees(e), "it has not come within the radius")
	for _, step := range []struct {
		x    float32
		seen bool
	}{{9.9, true}, {10.1, true}, {11.9, true}, {12.1, false}, {11.9, false}, {10.1, false}, {9.9, true}} {
		s.world.Move(e, step.x, 0)
		s.looks()
		require.Equal(t, step.seen, s.sees(e), "at %v", step.x)
	}
	s.world.Remove(e)
	s.tick(nil)
	require.False(t, s.sees(e), "it was removed")
}

func TestOfManyTheNearestAreSeen(t *testing.T) {
	s := still(t, Options{Radius: 100, Visible: 10}, 1)
	s.tick(nil)
	s.world.Move(s.game.boats[s.players[0]], 0, 0)
	var near, far []Entity
	for i := range 30 {
		far = append(far, s.put(float32(50+i%40), 0))
	}
	for i := range 9 {
		near = append(near, s.put(float32(i), 3))
	}
	s.looks()
	for _, e := range near {
		require.True(t, s.sees(e))
	}
	for _, e := range far {
		require.False(t, s.sees(e))
	}
	s.world.Move(far[0], 1, 1)
	s.world.Move(near[8], 60, 0)
	s.looks()
	require.True(t, s.sees(far[0]))
	require.False(t, s.sees(near[8]))
}

func TestAPlayerWhoHasNotTakenAFrameIsToldTheNewestOnceItHas(t *testing.T) {
	s := still(t, Options{}, 1)
	e := s.put(1, 1)
	s.tick(nil)
	require.True(t, s.sees(e))
	held := func(int) bool { return false }
	for range 20 {
		s.change(e)
		s.tick(held)
	}
	v := s.all[0]
	require.True(t, v.writing.Load())
	<-v.write // the player takes the waiting frame, which is twenty ticks old
	_, _ = v.stream.Write(v.taken)
	v.writing.Store(false)
	at := s.pipes[0]
	at.take()
	require.NotEqual(t, s.game.value[e], at.value[0][e])
	before := at.bytes
	s.tick(nil)
	at.take()
	require.Equal(t, s.game.value[e], at.value[0][e], "after one more frame, it is up to date")
	require.Less(t, at.bytes-before, 30, "the frame does not repeat the ticks between")
	require.EqualValues(t, 19, s.phases.busy)
}

func TestAPlayerThatIsFarBehindIsToldLessOften(t *testing.T) {
	s := still(t, Options{}, 1)
	e := s.put(1, 1)
	frames := func(seen func() uint32) int {
		from := s.phases.frames
		for range 40 {
			s.change(e)
			s.tick(nil)
			s.all[0].seen.Store(seen())
		}
		return int(s.phases.frames - from)
	}
	assert.Equal(t, 40, frames(func() uint32 { return s.world.tick }))
	assert.InDelta(t, 20, frames(func() uint32 { return s.world.tick - 2*farBehind }), 2)
	assert.InDelta(t, 10, frames(func() uint32 { return s.world.tick - 5*farBehind }), 2)
	assert.InDelta(t, 40, frames(func() uint32 { return s.world.tick }), 3)
}

func TestWhatThereIsAtAJoinIsSpreadOverTicks(t *testing.T) {
	s := still(t, Options{Visible: 2000, Budget: MaxRecord}, 1)
	const entities = 1500
	for range entities {
		s.put(1, 1)
	}
	known, ticks := 0, 0
	for ; known < entities+1; ticks++ {
		require.Less(t, ticks, 10)
		before := s.pipes[0].bytes
		s.tick(nil)
		s.pipes[0].take()
		known = len(s.pipes[0].value[0])
		// A record of 4 bytes takes two more: one for its length, one for its ID.
		require.LessOrEqual(t, s.pipes[0].bytes-before, MaxRecord*6/4+200)
	}
	require.Equal(t, entities*4/MaxRecord+1, ticks)
}

func TestLoadIsShedInOrderAndTakenBack(t *testing.T) {
	var s shed
	var levels []Shedding
	for range 100 {
		if s.note(0.9) {
			levels = append(levels, s.level)
		}
	}
	require.Equal(t, []Shedding{shedTiers, shedLooks, shedFrames, shedJoins}, levels)
	for range 100 {
		require.False(t, s.note(0.6), "between the two thresholds, the level stays")
	}
	for range 400 {
		s.note(0.1)
	}
	require.Equal(t, ShedNothing, s.level)
	for range 6 {
		require.False(t, s.note(1), "a short peak sheds nothing")
	}
}

func TestARoomThatShedsJoinsTellsWhoComesUnlessThereAreFew(t *testing.T) {
	s := still(t, Options{}, 1)
	s.tick(nil)
	s.shed.level = shedJoins
	for range few - 1 { // besides the player that is there
		code, reason := s.mayJoin(s.all[0], joinOf(1))
		require.Zero(t, code, reason)
	}
	code, _ := s.mayJoin(s.all[0], joinOf(1))
	require.Equal(t, "busy", code.Name())
	s.shed.level--
	code, reason := s.mayJoin(s.all[0], joinOf(1))
	require.Zero(t, code, reason)
}

// lazy is a game that sleeps in its fifth tick.
type lazy struct {
	drift
	ticks []time.Duration
	steps []int
	began time.Time
	sleep time.Duration
}

func (l *lazy) Tick() {
	l.ticks = append(l.ticks, time.Since(l.began))
	l.steps = append(l.steps, l.w.Steps())
	if len(l.ticks) == 5 {
		time.Sleep(l.sleep)
	}
}

func TestTicksKeepTheirRateAndCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		game := &lazy{began: time.Now(), sleep: 170 * time.Millisecond} // 3.4 periods
		r, err := newRoom("host", nil, game, Options{Name: "lazy"})
		require.NoError(t, err)
		go func() {
			r.run()
			close(r.done)
		}()
		time.Sleep(520 * time.Millisecond)
		require.NoError(t, r.Close())
		var ms []int
		for _, at := range game.ticks {
			ms = append(ms, int(at.Milliseconds()))
		}
		// The ticks due at 300, 350 and 400 run at 420, as two.
		require.Equal(t, []int{50, 100, 150, 200, 250, 420, 420, 450, 500}, ms)
		require.Equal(t, []int{1, 1, 1, 1, 1, 2, 2, 1, 1}, game.steps)
		s := r.Stats()
		require.EqualValues(t, 1, s.Skipped)
		require.EqualValues(t, 10, s.Tick, "the tick number counts the skipped tick, too")
		require.Equal(t, 170*time.Millisecond, s.Longest)
	})
}

func joinOf(seat uint32) wire.Join { return wire.Join{Seat: seat} }
