package seat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tombolo-net/tombolo/core/world/wire"
)

// Node is the part of a node that a player needs. *core.Node implements it.
type Node interface {
	ID() peer.ID
	Open(ctx context.Context, p peer.ID, proto protocol.ID) (network.Stream, error)
}

const (
	// DefaultReconnect is how long a seat tries to restore a lost connection to its room.
	DefaultReconnect = 30 * time.Second
	// firstPause is the pause before the second try. Each pause is twice the one before
	// and firstPause more, up to longPause.
	firstPause = 100 * time.Millisecond
	longPause  = 2 * time.Second
	// ackEvery is the number of ticks after which a peer that sends no inputs
	// acknowledges what it has seen.
	ackEvery = 4
	// maxWaiting bounds the messages that wait to be sent, in bytes, before Input returns
	// ErrBehind.
	maxWaiting = 16 << 10
	// ticksAhead is how many ticks wait for a player that reads late.
	ticksAhead = 8
)

// Visit is a peer's connection to a room, which several seats may share. All methods may
// be called concurrently.
type Visit struct {
	node   Node
	host   peer.ID
	opts   Options
	single bool // it ends with its last seat

	mu     sync.Mutex
	room   string         // changes after a walk
	stream network.Stream // nil while the connection is lost
	out    []byte
	loose  loose
	seats  map[uint32]*Seat
	err    error
	// seated is set if this stream has had a seat, and returning if an earlier stream
	// has.
	seated, returning bool
	line              wire.Line // of the room; empty until standbys are known
	seatsAt           uint64    // counts the changes of the seats and standbys
	waitsAt           peer.ID   // the standby that has a stream of this visit, if any
	heir              *heir     // to which the visit is moving
	walk              *walking  // to another room, if the player is walking
	walkedAt          time.Time // when the host last sent the player to another room
	before            room      // the room that it last left by a walk
	enteredAt         time.Time // when it entered this room by a walk
	ahead             *ahead    // a stream to a room to which it may walk

	walks   sync.WaitGroup
	waits   chan struct{} // the seats or standbys have changed
	moved   chan struct{} // there is an heir
	kick    chan struct{} // there is something to write
	closing chan struct{}
	done    chan struct{}
	once    sync.Once

	seen, acked uint32 // guarded by mu

	taking sync.Mutex // held while a tick is taken
	tick   wire.Tick
}

// Connect opens a stream to a room of version opts.Version that the peer opts.Host holds.
// Of the other options it uses Reconnect and StreamOnly. ctx bounds the opening.
func Connect(ctx context.Context, node Node, room string, opts Options) (*Visit, error) {
	opts.Reconnect = cmp.Or(opts.Reconnect, DefaultReconnect)
	v := &Visit{
		node: node, host: opts.Host, room: room, opts: opts,
		seats:   make(map[uint32]*Seat),
		waits:   make(chan struct{}, 1),
		moved:   make(chan struct{}, 1),
		kick:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	c, err := v.open(ctx, opts.Host)
	if err != nil {
		return nil, err
	}
	go v.run(c)
	return v, nil
}

// current is a visit's stream to a host.
type current struct {
	stream   network.Stream
	messages *wire.Reader
	first    []byte // a Welcome that was read already, or nil
}

func (v *Visit) open(ctx context.Context, host peer.ID) (*current, error) {
	s, err := v.node.Open(ctx, host, wire.Protocol)
	if err != nil {
		return nil, fmt.Errorf("join room %q of %s: %w", v.room, host, err) // only this goroutine changes it
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stream, v.host = s, host
	v.out = v.appendHello(v.out[:0])
	v.openLane(s)
	v.out = v.appendJoins(v.out, host)
	v.resend()
	return &current{stream: s, messages: wire.NewReader(s, wire.MaxToPlayer)}, nil
}

func (v *Visit) appendHello(dst []byte) []byte {
	return wire.AppendHello(dst, wire.Hello{Room: v.room, Version: v.opts.Version})
}

// appendJoins asks a host for the seats of the visit; mu is held.
func (v *Visit) appendJoins(dst []byte, host peer.ID) []byte {
	for _, seat := range v.seats {
		dst = seat.appendJoin(dst, host)
	}
	return dst
}

// Sit takes a seat. No other seat of this peer may have the same number.
func (v *Visit) Sit(ctx context.Context, number uint32, opts Options) (*Seat, error) {
	s := &Seat{visit: v, opts: opts, number: number, program: rand.Uint32(), joined: make(chan struct{}), ended: make(chan struct{})}
	if opts.Each == nil {
		s.ticks = make(chan *Tick, ticksAhead)
	}
	v.mu.Lock()
	_, taken := v.seats[number]
	switch {
	case v.err != nil:
		defer v.mu.Unlock()
		return nil, v.err
	case taken:
		v.mu.Unlock()
		return nil, fmt.Errorf("join %s: this peer has a seat %d already", v.place(), number)
	case len(opts.Data) > 32<<10:
		v.mu.Unlock()
		return nil, fmt.Errorf("join %s: %d bytes for the game; at most %d may be", v.place(), len(opts.Data), 32<<10)
	}
	v.seats[number] = s
	v.out = s.appendJoin(v.out, v.host)
	v.changed()
	v.mu.Unlock()
	v.nudge()
	select {
	case <-s.joined:
		return s, nil
	case <-s.ended:
		return nil, fmt.Errorf("join %s: %w", v.place(), s.Err())
	case <-ctx.Done():
		_ = v.leave(s)
		return nil, fmt.Errorf("join %s: %w", v.place(), ctx.Err())
	}
}

func (s *Seat) appendJoin(dst []byte, host peer.ID) []byte {
	v := s.visit
	return wire.AppendJoin(dst, wire.Join{
		Seat: s.number, Spectator: s.opts.Spectator, Program: s.program, Data: s.opts.Data,
		Proof: wire.Proof(s.opts.Password, v.room, host, v.node.ID()),
	})
}

// Close gives the seats up, ends the visit, and waits for its goroutines.
func (v *Visit) Close() error {
	v.once.Do(func() {
		v.mu.Lock()
		for _, s := range v.seats {
			v.out = wire.AppendLeave(v.out, wire.Leave{Seat: s.number})
		}
		v.mu.Unlock()
		close(v.closing)
	})
	<-v.done
	return nil
}

// run reads and writes the stream, and opens another when it is lost.
func (v *Visit) run(c *current) {
	defer close(v.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer v.dropHeir()
	defer v.walks.Wait()
	var awaiting sync.WaitGroup
	defer awaiting.Wait()
	defer cancel()
	awaiting.Go(func() { v.await(ctx) })
	lost, pause := time.Now(), time.Duration(0)
	for {
		err := v.serve(ctx, c)
		if v.wasSeated() {
			lost, pause = time.Now(), 0
		}
		if v.isClosing() {
			v.end(cmp.Or(err, ErrLeft))
			return
		}
		if c = v.takeHeir(); c != nil {
			continue
		}
		if errors.Is(err, errBack) {
			v.goBack()
		} else if v.isOver(err) {
			v.end(cmp.Or(err, ErrLeft))
			return
		}
		if c = v.reopen(lost.Add(v.opts.Reconnect), &pause); c == nil {
			v.end(fmt.Errorf("the connection to %s was lost: %w", v.place(), err))
			return
		}
	}
}

// place names the room and its host, for errors.
func (v *Visit) place() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return fmt.Sprintf("room %q of %s", v.room, v.host)
}

// wasSeated reports whether the stream that has ended had a seat.
func (v *Visit) wasSeated() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	was := v.seated
	v.seated, v.returning = false, v.returning || was
	return was
}

// isOver reports whether the visit must end, because the host refuses this peer or no
// seat is left.
func (v *Visit) isOver(err error) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out *Out
	if errors.As(err, &out) {
		// A host that was restarted may soon have its room again.
		return (out.Code != wire.NoRoom || !v.returning) && (out.Code != wire.Moved || len(v.line) == 0)
	}
	if errors.Is(err, wire.ErrMalformed) {
		return true
	}
	return v.single && len(v.seats) == 0
}

// serve runs one stream until it is lost.
func (v *Visit) serve(ctx context.Context, c *current) error {
	s := c.stream
	var writing, reading sync.WaitGroup
	stop := make(chan struct{})
	writing.Go(func() { v.write(s, stop) })
	var malformed error
	if came := v.loose.came; came != nil { // only this goroutine sets it
		reading.Go(func() { malformed = v.readLoose(s, came, stop) })
	}
	v.nudge()
	err := v.read(ctx, c)
	v.mu.Lock()
	v.stream = nil
	v.closeLane()
	walk := v.leaving()
	v.mu.Unlock()
	close(stop)
	reading.Wait()
	if walk != nil {
		v.walks.Go(func() { v.part(s, walk, &writing) })
		return err
	}
	_ = s.Reset()
	writing.Wait()
	return cmp.Or(malformed, err)
}

// reopen tries to open a stream again, to the host or, if the room has moved, to another
// one. After the deadline it returns nil. The pauses grow until there is a seat.
func (v *Visit) reopen(deadline time.Time, pause *time.Duration) *current {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	moved, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-v.closing:
			cancel()
		case <-v.moved:
			stop()
		case <-ctx.Done():
		}
	}()
	for {
		wait := *pause
		*pause = min(2*wait+firstPause, longPause) // reset when there is a seat
		host, awaited := v.holder()
		if awaited {
			wait = max(wait, heirFirst)
		}
		select {
		case <-time.After(wait):
		case <-moved.Done():
		}
		if c := v.takeHeir(); c != nil {
			return c
		}
		if ctx.Err() != nil {
			return nil
		}
		if c, err := v.open(moved, host); err == nil {
			return c
		}
	}
}

func (v *Visit) isClosing() bool {
	select {
	case <-v.closing:
		return true
	default:
		return false
	}
}
