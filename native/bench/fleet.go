package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"
)

// steerEvery is how many inputs keep the same course, as with demo.Bots.
const steerEvery = 20

// offshore is the distance from the walls, in demo.Units, at which a boat surely does not
// reach one while it keeps a course.
const offshore = 256

// fleet is the players of a rival's room, each with its own WebSocket. They steer as
// demo.Bots do.
type fleet struct {
	sailors []*sailor
	reading sync.WaitGroup
	updates atomic.Uint64
	bytes   atomic.Uint64 // of messages, without the headers of WebSocket frames
	times   durations
}

// wire encodes and decodes a rival's messages for one player.
type wire interface {
	// steer returns the input that sets the speed of the player's boat, in demo.Units per
	// tick.
	steer(vx, vy int8) ([]byte, error)
	// read returns for how many boats in the player's sight the message has a position.
	read(message []byte) (updates int, err error)
	// boat returns the last known position of the player's boat, in demo.Units; afloat
	// is false if none is known yet.
	boat() (x, y int32, afloat bool)
}

// sailor is one player.
type sailor struct {
	fleet *fleet
	conn  *websocket.Conn
	wire  wire
	ended chan struct{} // closed when err is set, because nothing can be read any more
	err   error

	mu     sync.Mutex
	x, y   int32
	afloat bool
	vx, vy int8
	asked  time.Time // when the player set vx and vy; zero once the boat moves so
}

// newFleet calls dial once for each player. dial returns when the player has joined the
// room.
func newFleet(players int, dial func() (*websocket.Conn, wire, error)) (crew, error) {
	f := new(fleet)
	for i := range players {
		conn, wire, err := dial()
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("player %d: %w", i+1, err)
		}
		s := &sailor{fleet: f, conn: conn, wire: wire, ended: make(chan struct{})}
		f.sailors = append(f.sailors, s)
		f.reading.Go(func() {
			s.err = s.read()
			close(s.ended)
		})
	}
	return f, nil
}

// Play implements crew.
func (f *fleet) Play(ctx context.Context, inputs int) error {
	playing, ctx := errgroup.WithContext(ctx)
	for _, s := range f.sailors {
		playing.Go(func() error { return s.play(ctx, time.Second/time.Duration(inputs)) })
	}
	return playing.Wait()
}

func (f *fleet) seen() time.Duration { return f.times.take(0.99) }

func (f *fleet) count(s *roomState) { s.Updates, s.Bytes = f.updates.Load(), f.bytes.Load() }

// Close closes all connections and waits for the goroutines that read from them.
func (f *fleet) Close() error {
	for _, s := range f.sailors {
		_ = s.conn.Close()
	}
	f.reading.Wait()
	return nil
}

// read reads until the connection ends.
func (s *sailor) read() error {
	var message bytes.Buffer
	for {
		_, r, err := s.conn.NextReader()
		if err != nil {
			return err
		}
		message.Reset()
		if _, err := message.ReadFrom(r); err != nil {
			return err
		}
		updates, err := s.wire.read(message.Bytes())
		if err != nil {
			return err
		}
		s.fleet.bytes.Add(uint64(message.Len()))
		s.fleet.updates.Add(uint64(updates))
		s.look()
	}
}

// look notes the delay if the boat has now moved as its player asked.
func (s *sailor) look() {
	x, y, afloat := s.wire.boat()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.asked.IsZero() && x-s.x == int32(s.vx) && y-s.y == int32(s.vy) {
		s.fleet.times.add(time.Since(s.asked))
		s.asked = time.Time{}
	}
	s.x, s.y, s.afloat = x, y, afloat
}

// expect makes look note when the boat first moves at the new speed. Nothing is noted if
// the boat is to stop, has that speed already, or may bounce off a wall.
func (s *sailor) expect(vx, vy int8) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tells := (vx != 0 || vy != 0) && (vx != s.vx || vy != s.vy) && s.afloat &&
		min(s.x, s.y) > offshore && max(s.x, s.y) < roomSize*unitsPerMetre-offshore
	s.vx, s.vy, s.asked = vx, vy, time.Time{}
	if tells {
		s.asked = time.Now()
	}
}

// play sends an input each period.
func (s *sailor) play(ctx context.Context, period time.Duration) error {
	next := time.Now().Add(rand.N(period)) // not all at once
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	var input []byte
	for n := 0; ; n++ {
		select {
		case <-timer.C:
		case <-s.ended:
			return s.err
		case <-ctx.Done():
			return nil
		}
		if n%steerEvery == 0 {
			vx, vy := int8(rand.IntN(9)-4), int8(rand.IntN(9)-4)
			var err error
			if input, err = s.wire.steer(vx, vy); err != nil {
				return err
			}
			s.expect(vx, vy)
		}
		if err := s.conn.WriteMessage(websocket.BinaryMessage, input); err != nil {
			return err
		}
		next = next.Add(period)
		if now := time.Now(); next.Before(now) {
			next = now
		}
		timer.Reset(time.Until(next))
	}
}

// durations collects durations from many goroutines.
type durations struct {
	mu  sync.Mutex
	all []time.Duration
}

func (d *durations) add(one time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, one)
}

// take returns the quantile of the durations since the last call, or zero if there are
// none.
func (d *durations) take(q float64) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.all
	d.all = nil
	return time.Duration(quantile(all, q) * 1e6)
}

// errShort is returned by a wire for a message that ends too early.
var errShort = errors.New("a message ends too early")
