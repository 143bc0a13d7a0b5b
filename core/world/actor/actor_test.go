package actor_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/world"
	"github.com/tombolo-net/tombolo/core/world/actor"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

var _ actor.Player = (*world.Player)(nil)

// player is a player that the game can kick.
type player struct {
	id     peer.ID
	kicked []string
}

func (p *player) Peer() peer.ID      { return p.id }
func (p *player) Kick(reason string) { p.kicked = append(p.kicked, reason) }

// tick runs ticks until wanted returns true.
func tick(t *testing.T, as *actor.Actors, wanted func() bool) {
	t.Helper()
	for range 10_000 {
		as.Run()
		if wanted() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	require.FailNow(t, "it did not come")
}

func TestAnActorPlaysInPlainCodeAndTouchesTheWorldInTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sum, ticking := 0, false
		as := actor.New(func(ctx context.Context, a *actor.Actor) error {
			for {
				in, err := a.Next(ctx)
				if err != nil {
					return err
				}
				if err := a.Sleep(time.Minute); err != nil { // an actor may wait
					return err
				}
				if err := a.Do(func() {
					assert.True(t, ticking)
					sum += int(in[0])
				}); err != nil {
					return err
				}
			}
		}, actor.Options{})
		p := &player{id: "p"}
		as.Start(p, nil)
		for i := range 5 {
			require.True(t, as.Deliver(p, []byte{byte(i)}))
		}
		for range 10 * 60 * 20 {
			time.Sleep(50 * time.Millisecond)
			ticking = true
			as.Run()
			ticking = false
		}
		require.Equal(t, 10, sum)
		as.Stop(p)
		require.False(t, as.Deliver(p, []byte{1}))
		synctest.Wait()
		require.NoError(t, as.Close())
	})
}

func TestAnActorThatFailsIsStartedAnewFromItsLastStateAndAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		began := time.Now()
		var starts []time.Duration
		as := actor.New(func(ctx context.Context, a *actor.Actor) error {
			n := a.State().(int)
			if n < 0 { // the other player
				_, err := a.Next(ctx)
				return err
			}
			starts = append(starts, time.Since(began))
			a.Save(n + 1)
			switch n {
			case 0:
				panic("a leak")
			case 1:
				return errors.New("a torn sail")
			case 2:
				_ = a.Do(func() { panic("a reef") })
			}
			_, err := a.Next(ctx)
			return err
		}, actor.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		p, other := &player{id: "p"}, &player{id: "q"}
		as.Start(p, 0)
		as.Start(other, -1)
		for range 100 {
			as.Run()
			synctest.Wait()
			time.Sleep(50 * time.Millisecond)
		}
		require.Len(t, starts, 4)
		require.InDelta(t, 100, (starts[1] - starts[0]).Milliseconds(), 60)
		require.InDelta(t, 200, (starts[2] - starts[1]).Milliseconds(), 60)
		require.InDelta(t, 400, (starts[3] - starts[2]).Milliseconds(), 110)
		require.Empty(t, p.kicked)
		require.True(t, as.Deliver(other, []byte{1}), "the other actor continues")
		require.Contains(t, log.String(), "a leak")
		require.Contains(t, log.String(), "actor_test.go")
		require.NoError(t, as.Close())
		synctest.Wait()
	})
}

func TestAnActorThatFailsTooOftenPutsItsPlayerOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		as := actor.New(func(context.Context, *actor.Actor) error {
			runs++
			return errors.New("no wind")
		}, actor.Options{Failures: 3})
		p := &player{id: "p"}
		as.Start(p, nil)
		for range 400 {
			as.Run()
			synctest.Wait()
			time.Sleep(50 * time.Millisecond)
		}
		require.Equal(t, 4, runs)
		require.Equal(t, []string{"what plays for it failed 4 times in 30s: no wind"}, p.kicked)
		require.NoError(t, as.Close())
	})
}

func TestAFullMailboxIsTold(t *testing.T) {
	missed := make(chan uint64, 1)
	as := actor.New(func(ctx context.Context, a *actor.Actor) error {
		if err := a.Do(func() {}); err != nil {
			return err
		}
		missed <- a.Missed()
		_, err := a.Next(ctx)
		return err
	}, actor.Options{Mailbox: 2})
	p := &player{id: "p"}
	as.Start(p, nil)
	require.True(t, as.Deliver(p, []byte{1}))
	require.True(t, as.Deliver(p, []byte{2}))
	require.False(t, as.Deliver(p, []byte{3}))
	require.False(t, as.Deliver(p, []byte{4}))
	var got uint64
	tick(t, as, func() bool {
		select {
		case got = <-missed:
			return true
		default:
			return false
		}
	})
	require.EqualValues(t, 2, got)
	require.NoError(t, as.Close())
}

// spin is the function in which an actor is stuck.
func spin(stop *atomic.Bool) {
	for !stop.Load() {
	}
}

func TestAnActorThatIsStuckIsNamedAbandonedAndReplaced(t *testing.T) {
	if runtime.GOOS == "js" {
		t.Skip("there is one thread: a goroutine that does not wait stops the test")
	}
	var stop atomic.Bool
	var starts atomic.Int64
	var mu sync.Mutex
	var log bytes.Buffer
	as := actor.New(func(ctx context.Context, a *actor.Actor) error {
		if starts.Add(1) == 1 {
			spin(&stop)
		}
		_, err := a.Next(ctx)
		return err
	}, actor.Options{Limit: 50 * time.Millisecond, Abandoned: 2, Logger: slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil))})
	p := &player{id: "p"}
	as.Start(p, nil)
	tick(t, as, func() bool { return starts.Load() == 2 })
	mu.Lock()
	assert.Contains(t, log.String(), "actor_test.spin")
	mu.Unlock()
	require.True(t, as.Deliver(p, []byte{1}))

	q := &player{id: "q"}
	starts.Store(0) // the next actor is stuck, too
	as.Start(q, nil)
	require.PanicsWithError(t, "too many actors are stuck: 2 of them", func() {
		tick(t, as, func() bool { return false })
	})
	stop.Store(true)
	require.NoError(t, as.Close())
}

type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(b)
}
