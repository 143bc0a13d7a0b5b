// Package actor gives each player of a room a goroutine of its own, for games that wait in
// plain code instead of keeping the state of every player between ticks.
//
// An actor takes inputs from a mailbox, and touches the world only in functions that
// it gives to [Actor.Do], which the tick runs. A game starts actors in Join, hands them
// inputs in Input, stops them in Leave, and calls [Actors.Run] in Tick.
//
// An actor that panics ends alone. It is started anew from the state that it saved last,
// later each time, and one that fails too often puts its player out. One that is busy for
// too long is named with its stack, abandoned and replaced: Go cannot end a goroutine, so
// it keeps a core busy. When as many have been abandoned as leave the room one core, the
// room ends. Under GOOS=js there is one thread, and a goroutine that does not wait stops
// all others, so this package cannot notice it. The page ends the worker instead.
package actor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Func is what an actor does. It returns when ctx ends, or when it is done: then the
// player continues without one. An error is a failure, as a panic is.
type Func func(ctx context.Context, a *Actor) error

// ErrStopped is returned to an actor that was stopped or abandoned.
var ErrStopped = errors.New("the actor was stopped")

// Actor is one run of a Func. Its methods are for the goroutine that the Func runs in.
type Actor struct {
	seat     *seat
	ctx      context.Context
	cancel   context.CancelFunc
	busy     atomic.Int64 // since when, in ns since 1970; 0 while it waits
	id       atomic.Uint64
	returned chan struct{}
	err      error // once returned
}

// Next waits for the next input of the player. It returns ErrStopped when the actor is
// to end.
func (a *Actor) Next(ctx context.Context) ([]byte, error) {
	a.busy.Store(0)
	defer a.begin()
	select {
	case data := <-a.seat.mailbox:
		return data, nil
	case <-a.ctx.Done():
		return nil, ErrStopped
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Missed returns how many inputs were dropped since the last call because the mailbox was
// full.
func (a *Actor) Missed() uint64 { return a.seat.missed.Swap(0) }

// Do makes the next tick call f, and waits until it has. In f the actor may touch the
// world, as the methods of a game may, and must not wait. A panic in f counts as one of the
// actor.
func (a *Actor) Do(f func()) error {
	c := &command{actor: a, f: f, done: make(chan struct{})}
	as := a.seat.actors
	as.mu.Lock()
	as.commands = append(as.commands, c)
	as.mu.Unlock()
	a.busy.Store(0)
	defer a.begin()
	select {
	case <-c.done:
		if c.panicked != nil {
			panic(c.panicked)
		}
		return c.err
	case <-a.ctx.Done():
		return ErrStopped
	}
}

// Sleep waits. It returns ErrStopped when the actor is to end before.
func (a *Actor) Sleep(d time.Duration) error {
	a.busy.Store(0)
	defer a.begin()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-a.ctx.Done():
		return ErrStopped
	}
}

// Save keeps a state, from which the actor is started anew after a failure. It must
// not be changed afterwards.
func (a *Actor) Save(state any) {
	a.seat.mu.Lock()
	defer a.seat.mu.Unlock()
	if a.seat.running == a {
		a.seat.state = state
	}
}

// State returns the state that was saved last, or the one that the actor was started with.
func (a *Actor) State() any {
	a.seat.mu.Lock()
	defer a.seat.mu.Unlock()
	return a.seat.state
}

func (a *Actor) begin() { a.busy.Store(time.Now().UnixNano()) }

// seat is what stays of a player's actor from one run to the next.
type seat struct {
	actors  *Actors
	player  Player
	mailbox chan []byte
	missed  atomic.Uint64

	mu      sync.Mutex
	running *Actor // nil between two
	state   any

	// Of the tick.
	done     bool // it returned without an error
	failures []time.Time
	startAt  time.Time
}

type command struct {
	actor    *Actor
	f        func()
	done     chan struct{}
	err      error
	panicked any
}

// run calls f for the tick, and lets the actor go on.
func (c *command) run() {
	defer close(c.done)
	if c.actor.ctx.Err() != nil {
		c.err = ErrStopped
		return
	}
	defer func() {
		if v := recover(); v != nil {
			c.panicked = v
		}
	}()
	c.f()
}

// start begins a run. It is called by the tick.
func (s *seat) start() {
	a := &Actor{seat: s, returned: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	s.mu.Lock()
	s.running = a
	s.mu.Unlock()
	a.begin()
	s.actors.running.Add(1)
	go func() {
		defer s.actors.running.Add(-1)
		defer close(a.returned)
		defer a.cancel()
		defer func() {
			if v := recover(); v != nil {
				a.err = fmt.Errorf("it panicked: %v", v)
				s.actors.log.Error("an actor panicked", "player", s.player.Peer(), "panic", v, "stack", string(debug.Stack()))
			}
		}()
		a.id.Store(goroutineID())
		a.err = s.actors.act(a.ctx, a)
	}()
}

// take returns the run of now, if there is one.
func (s *seat) take() *Actor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// clear forgets the run, which has ended or was abandoned.
func (s *seat) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = nil
}
