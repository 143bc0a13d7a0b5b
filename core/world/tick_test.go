package world

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// drift is a game whose entities wander at random, appear and disappear. A record holds
// the entity's whole state, or the amount by which its number changed.
type drift struct {
	w      *World
	random *rand.Rand
	side   float32
	speed  float32
	value  []int32
	told   []int32
	still  bool
	churn  bool
	boats  map[*Player]Entity
}

func (d *drift) Start(w *World) { d.w, d.boats = w, make(map[*Player]Entity) }

func (d *drift) spawn() Entity {
	e := d.w.Spawn(d.random.Float32()*d.side, d.random.Float32()*d.side)
	for len(d.value) < d.w.Bound() {
		d.value, d.told = append(d.value, 0), append(d.told, 0)
	}
	d.value[e] = d.random.Int32()
	d.told[e] = d.value[e]
	return e
}

func (d *drift) Join(p *Player, _ []byte) ([]byte, error) {
	d.boats[p] = d.spawn()
	p.Follow(d.boats[p])
	return nil, nil
}

func (d *drift) Leave(p *Player, _ Reason) { d.w.Remove(d.boats[p]); delete(d.boats, p) }
func (d *drift) Input(*Player, []byte)     {}

func (d *drift) Tick() {
	if d.still {
		return
	}
	for e := range Entity(d.w.Bound()) {
		if !d.w.Alive(e) || d.random.IntN(3) == 0 {
			continue
		}
		x, y := d.w.At(e)
		step := func(at float32) float32 {
			return min(max(at+(d.random.Float32()-0.5)*2*d.speed, 0), d.side)
		}
		d.w.Move(e, step(x), step(y))
		d.value[e] += d.random.Int32N(100)
	}
	if d.churn {
		d.spawn()
		for e := range Entity(d.w.Bound()) {
			if d.w.Alive(e) && d.random.IntN(50) == 0 && !d.isBoat(e) {
				d.w.Remove(e)
			}
		}
	}
}

func (d *drift) isBoat(e Entity) bool {
	for _, boat := range d.boats {
		if boat == e {
			return true
		}
	}
	return false
}

func (d *drift) Whole(e Entity, dst []byte) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(d.value[e]))
}

func (d *drift) Change(e Entity, dst []byte) []byte {
	dst = binary.AppendVarint(dst, int64(d.value[e]-d.told[e]))
	d.told[e] = d.value[e]
	return dst
}

// pipe is a stream to a player. The player lists the entities that it knows.
type pipe struct {
	t     testing.TB
	tick  wire.Tick
	known map[uint32][]Entity
	value map[uint32]map[Entity]int32
	buf   []byte
	bytes int
	last  map[uint32]int // the number of updates in the last section of each seat
}

func newPipe(t testing.TB) *pipe {
	return &pipe{t: t, known: make(map[uint32][]Entity), value: make(map[uint32]map[Entity]int32), last: make(map[uint32]int)}
}

func (p *pipe) Read([]byte) (int, error) { select {} }
func (p *pipe) CloseWrite() error        { return nil }
func (p *pipe) Reset() error             { return nil }
func (p *pipe) Write(b []byte) (int, error) {
	p.bytes += len(b)
	p.buf = append(p.buf, b...)
	return len(b), nil
}

// take makes the player read what was written.
func (p *pipe) take() {
	for len(p.buf) > 0 {
		n, size := binary.Uvarint(p.buf)
		body := p.buf[size : size+int(n)]
		p.buf = p.buf[size+int(n):]
		if wire.Kind(body[0]) != wire.KindTick {
			continue
		}
		require.NoError(p.t, wire.DecodeTick(body[1:], &p.tick))
		for i := range p.tick.Sections {
			p.section(&p.tick.Sections[i])
		}
	}
	p.buf = nil
}

func (p *pipe) section(s *wire.Section) {
	known, value := p.known[s.Seat], p.value[s.Seat]
	if s.Reset || value == nil {
		known, value = nil, make(map[Entity]int32)
	}
	for i, place := range s.Left {
		at := int(place) - i
		delete(value, known[at])
		known = slices.Delete(known, at, at+1)
	}
	for _, u := range s.Updates {
		if e := known[u.Place]; u.Whole {
			value[e] = int32(binary.BigEndian.Uint32(u.Data))
		} else {
			by, _ := binary.Varint(u.Data)
			value[e] += int32(by)
		}
	}
	for _, e := range s.Entered {
		require.NotContains(p.t, value, Entity(e.ID))
		value[Entity(e.ID)] = int32(binary.BigEndian.Uint32(e.Data))
		known = append(known, Entity(e.ID))
	}
	slices.Sort(known)
	p.known[s.Seat], p.value[s.Seat] = known, value
	p.last[s.Seat] = len(s.Updates)
}

// stage is a room whose ticks the test runs, with players at pipes.
type stage struct {
	*Room
	game  *drift
	pipes []*pipe
	now   int64
}

func newStage(t testing.TB, game *drift, opts Options, peers, seatsEach int) *stage {
	opts.Name = "stage"
	r, err := newRoom("host", nil, game, opts)
	require.NoError(t, err)
	game.Start(&r.world)
	s := &stage{Room: r, game: game}
	for i := range peers {
		at := newPipe(t)
		v, code := r.admit(peer.ID(fmt.Sprintf("peer %d", i)), at, "")
		require.Zero(t, code)
		for n := range uint32(seatsEach) {
			body := wire.AppendJoin(nil, wire.Join{Seat: n})
			_, size := binary.Uvarint(body)
			require.NoError(t, v.post(wire.KindJoin, body[size+1:]))
		}
		s.pipes = append(s.pipes, at)
	}
	return s
}

// tick runs one tick and writes the waiting frame of each peer for which takes returns
// true. If takes is nil, it writes all of them.
func (s *stage) tick(takes func(i int) bool) {
	s.now += 50e6
	s.step(s.now, false)
	for i, v := range s.all {
		if v.writing.Load() && (takes == nil || takes(i)) {
			<-v.write
			_, _ = v.stream.Write(v.taken)
			v.writing.Store(false)
		}
	}
}

// truth checks that each player knows the current state of everything in its sight.
func (s *stage) truth(t *testing.T, radius, leave float32) {
	t.Helper()
	for i, at := range s.pipes {
		at.take()
		for _, p := range s.players {
			if p.visitor.stream != stream(at) {
				continue
			}
			value := at.value[p.number]
			for e := range Entity(s.world.Bound()) {
				if !s.world.Alive(e) {
					require.NotContains(t, value, e)
					continue
				}
				x, y := s.world.At(e)
				bx, by := s.world.At(s.game.boats[p])
				far := float32(math.Hypot(float64(x-bx), float64(y-by)))
				got, sees := value[e]
				if far <= radius || radius == 0 {
					require.True(t, sees, "peer %d, seat %d, entity %d at %v of %v", i, p.number, e, far, radius)
				} else if far > leave {
					require.False(t, sees, "peer %d, seat %d, entity %d at %v of %v", i, p.number, e, far, leave)
				}
				if sees {
					require.Equal(t, s.game.value[e], got, "peer %d, seat %d, entity %d", i, p.number, e)
				}
			}
		}
	}
}

func TestEveryPlayerComesToKnowTheTruth(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]Options{
		"everything":      {},
		"what is near":    {Radius: 10, Leave: 12},
		"in small pieces": {Radius: 10, Leave: 12, Budget: MaxRecord},
	} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(7, uint64(len(name))))
			game := &drift{random: random, side: 60, speed: 1, churn: true}
			s := newStage(t, game, opts, 4, 3)
			for range 300 {
				game.spawn()
			}
			s.framer.budget = min(s.framer.budget, 200) // 300 entities of 4 bytes take 6 ticks
			for range 400 {
				s.tick(func(i int) bool { return i == 0 || random.IntN(i+1) == 0 }) // some peers are slow
			}
			game.still, game.churn = true, false
			for range 40 {
				s.tick(nil)
			}
			s.truth(t, opts.Radius, opts.Leave)
		})
	}
}

func TestATickAllocatesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	game := &drift{random: random, side: 300, speed: 1}
	s := newStage(t, game, Options{Radius: 20}, 20, 10)
	for range 2000 {
		game.spawn()
	}
	forget := func() {
		for _, at := range s.pipes {
			at.buf = at.buf[:0]
		}
	}
	for range 400 {
		s.tick(nil)
		forget()
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { s.tick(nil); forget() }))
}
