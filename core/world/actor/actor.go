// Package actor gives each player of a room a goroutine of its own, for games that wait in
// plain code instead of keeping the state of every player between ticks.
//
// An actor takes inputs from a mailbox, and touches the world only in functions that it
// passes to [Actor.Do], which the tick runs. A game starts actors in Join, passes them
// inputs in Input, stops them in Leave, and calls [Actors.Run] in Tick.
//
// An actor that panics does not affect the others. It is restarted from the state that it
// saved last, after a pause that grows, and if it fails too often, its player is removed.
// An actor that is busy for too long is logged with its stack, abandoned and replaced: Go
// cannot end a goroutine, so it keeps a core busy. When so many have been abandoned that
// the room has one core left, the room ends. Under GOOS=js there is one thread, and a
// goroutine that does not wait stops all others, so this package cannot notice it. There
// the page ends the worker instead.
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

// Func is the code of an actor. It returns when ctx ends, or when it is done: the player
// then continues without an actor. Both an error and a panic are failures.
type Func func(ctx context.Context, a *Actor) error

// ErrStopped is returned to an actor that was stopped or abandoned.
var ErrStopped = errors.New("the actor was stopped")

// Actor is one run of a Func. Its methods must be called by the goroutine that runs the
// Func.
type Actor struct {
	seat     *seat
	ctx      context.Context
	cancel   context.CancelFunc
	busy     atomic.Int64 // since when, in ns since 1970; 0 while it waits
	id       atomic.Uint64
	returned chan struct{}
	err      error // valid once it has returned
}

// Next waits for the next input of the player. It returns ErrStopped when the actor has
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
// world, as the methods of a game may, and must not wait. A panic in f counts as a panic
// of the actor.
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

// Sleep waits for d. It returns ErrStopped if the actor has to end before.
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

// Save keeps a state from which the actor is restarted after a failure. The state must
// not be changed afterwards.
func (a *Actor) Save(state any) {
	a.seat.mu.Lock()
	defer a.seat.mu.Unlock()
	if a.seat.running == a {
		a.seat.state = state
	}
}

// State returns the state that was saved last, or the one that Actors.Start was given.
func (a *Actor) State() any {
	a.seat.mu.Lock()
	defer a.seat.mu.Unlock()
	return a.seat.state
}

func (a *Actor) begin() { a.busy.Store(time.Now().UnixNano()) }

// seat is what a player's actor keeps from one run to the next.
type seat struct {
	actors  *Actors
	player  Player
	mailbox chan []byte
	missed  atomic.Uint64

	mu      sync.Mutex
	running *Actor // nil between two runs
	state   any

	// The following fields belong to the tick.
	done     bool // it returned without an error, was stopped or failed too often
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

// run calls f in the tick, and lets the actor continue.
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

// start starts a run. It is called by the tick.
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

// take returns the current run, or nil.
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
