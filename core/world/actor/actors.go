package actor

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	DefaultMailbox  = 64
	DefaultLimit    = time.Second
	DefaultFailures = 5
	DefaultWithin   = 30 * time.Second

	// firstPause is the pause before the second run; each pause is twice the one before,
	// up to longPause.
	firstPause = 100 * time.Millisecond
	longPause  = 10 * time.Second
	// closeGrace is how long Close waits for actors that do not return.
	closeGrace = 3 * time.Second
)

// Options configure actors. The zero value is usable.
type Options struct {
	// Mailbox is how many inputs may wait for an actor. If zero, DefaultMailbox.
	Mailbox int
	// Limit is how long an actor may be busy, that is, outside of Next, Do and Sleep. If
	// zero, DefaultLimit.
	Limit time.Duration
	// Failures is how many failures an actor may have within Within before its player is
	// removed. If zero, DefaultFailures and DefaultWithin.
	Failures int
	Within   time.Duration
	// Abandoned is the number of abandoned actors still running at which Run panics with
	// ErrStuck, which ends the room. If zero, GOMAXPROCS minus one, and at least one.
	Abandoned int
	// Logger receives panics and stuck actors. If nil, nothing is logged.
	Logger *slog.Logger
}

// Player is the player of an actor: *world.Player, or another pointer.
type Player interface {
	Peer() peer.ID
	Kick(reason string)
}

// ErrStuck is wrapped by the error with which Run panics when too many abandoned actors
// keep running. The program should then exit, because nothing else ends them.
var ErrStuck = errors.New("too many actors are stuck")

// Actors holds the actors of a room. Its methods must be called from the game's methods,
// and so by the room's tick, except for Close, which anyone may call.
type Actors struct {
	act       Func
	opts      Options
	log       *slog.Logger
	seats     map[Player]*seat
	running   atomic.Int64
	abandoned atomic.Int64

	mu       sync.Mutex
	commands []*command
	spare    []*command
	closed   bool
}

// New makes actors that each run act.
func New(act Func, opts Options) *Actors {
	opts.Mailbox = cmp.Or(opts.Mailbox, DefaultMailbox)
	opts.Limit = cmp.Or(opts.Limit, DefaultLimit)
	opts.Failures = cmp.Or(opts.Failures, DefaultFailures)
	opts.Within = cmp.Or(opts.Within, DefaultWithin)
	opts.Abandoned = cmp.Or(opts.Abandoned, max(1, runtime.GOMAXPROCS(0)-1))
	as := &Actors{act: act, opts: opts, log: opts.Logger, seats: make(map[Player]*seat)}
	if as.log == nil {
		as.log = slog.New(slog.DiscardHandler)
	}
	return as
}

// Start starts the actor of a player, with a state that Actor.State returns.
func (as *Actors) Start(p Player, state any) {
	s := &seat{actors: as, player: p, mailbox: make(chan []byte, as.opts.Mailbox), state: state}
	as.seats[p] = s
	s.start()
}

// Deliver passes an input to the player's actor. It keeps a copy. If the mailbox is full,
// it drops the input, returns false, and Actor.Missed counts it.
func (as *Actors) Deliver(p Player, data []byte) bool {
	s := as.seats[p]
	if s == nil {
		return false
	}
	select {
	case s.mailbox <- append([]byte(nil), data...):
		return true
	default:
		s.missed.Add(1)
		return false
	}
}

// Stop ends the actor of a player. It does not wait for it.
func (as *Actors) Stop(p Player) {
	if s := as.seats[p]; s != nil {
		delete(as.seats, p)
		if a := s.take(); a != nil {
			a.cancel()
		}
	}
}

// Run calls the functions that actors passed to Do, restarts actors that have failed, and
// abandons those that are stuck. It must be called once a tick.
func (as *Actors) Run() {
	as.mu.Lock()
	as.commands, as.spare = as.spare[:0], as.commands
	as.mu.Unlock()
	for i, c := range as.spare {
		c.run()
		as.spare[i] = nil
	}
	now := time.Now()
	for _, s := range as.seats {
		as.check(s, now)
	}
	if n := as.abandoned.Load(); n >= int64(as.opts.Abandoned) {
		panic(fmt.Errorf("%w: %d of them", ErrStuck, n))
	}
}

// check checks on one actor.
func (as *Actors) check(s *seat, now time.Time) {
	a := s.take()
	switch {
	case s.done:
	case a == nil:
		if !now.Before(s.startAt) {
			s.start()
		}
	case isClosed(a.returned):
		s.clear()
		if s.done = a.err == nil || errors.Is(a.err, ErrStopped); !s.done {
			as.failed(s, now, a.err)
		}
	case as.isStuck(a, now):
		as.abandon(s, a)
		as.failed(s, now, fmt.Errorf("it was busy for over %s", as.opts.Limit))
	}
}

func (as *Actors) isStuck(a *Actor, now time.Time) bool {
	busy := a.busy.Load()
	return busy > 0 && now.UnixNano()-busy > int64(as.opts.Limit)
}

// abandon gives up an actor that cannot be ended.
func (as *Actors) abandon(s *seat, a *Actor) {
	a.cancel()
	s.clear()
	as.abandoned.Add(1)
	as.log.Error("an actor is stuck and abandoned", "player", s.player.Peer(), "limit", as.opts.Limit, "stack", string(stackOf(a.id.Load())))
	go func() {
		<-a.returned
		as.abandoned.Add(-1)
	}()
}

// failed schedules the next run of an actor, after a pause. An actor that fails too often
// gets none, and its player is removed.
func (as *Actors) failed(s *seat, now time.Time, err error) {
	recent := s.failures[:0]
	for _, at := range s.failures {
		if now.Sub(at) < as.opts.Within {
			recent = append(recent, at)
		}
	}
	s.failures = append(recent, now)
	if len(s.failures) > as.opts.Failures {
		s.done = true
		s.player.Kick(fmt.Sprintf("what plays for it failed %d times in %s: %v", len(s.failures), as.opts.Within, err))
		return
	}
	s.startAt = now.Add(min(firstPause<<(len(s.failures)-1), longPause))
}

// Close ends all actors and waits up to three seconds for them; those that have not
// returned by then are left. The room must have ended, or be ending.
func (as *Actors) Close() error {
	as.mu.Lock()
	again := as.closed
	as.closed = true
	as.mu.Unlock()
	if again {
		return nil
	}
	late := time.NewTimer(closeGrace)
	defer late.Stop()
	for _, s := range as.seats {
		if a := s.take(); a != nil {
			a.cancel()
		}
	}
	for _, s := range as.seats {
		a := s.take()
		if a == nil {
			continue
		}
		select {
		case <-a.returned:
		case <-late.C:
			as.log.Error("closed without actors that do not return", "actors", as.running.Load())
			return nil
		}
	}
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
