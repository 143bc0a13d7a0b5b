package supervise_test

import (
	"bytes"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/internal/hosttest"
	"github.com/tombolo-net/tombolo/core/message"
	"github.com/tombolo-net/tombolo/core/supervise"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

func supervisor(limit time.Duration) (*supervise.Supervisor, *hosttest.Log) {
	l := new(hosttest.Log)
	return supervise.New(supervise.Options{Logger: slog.New(slog.NewTextHandler(l, nil)), Limit: limit}), l
}

var msg = &message.Message{From: "p", Type: "chat", ID: message.ID{Epoch: 7, Seq: 9}}

func TestPanicIsCaughtLoggedAndCounted(t *testing.T) {
	s, l := supervisor(0)
	boom := errors.New("boom")
	err := s.Run("greeter", msg, func() { panic(boom) })
	var p *supervise.PanicError
	require.ErrorAs(t, err, &p)
	assert.Equal(t, "greeter", p.Handler)
	assert.ErrorIs(t, err, boom)
	assert.Contains(t, string(p.Stack), "TestPanicIsCaughtLoggedAndCounted")
	for _, word := range []string{"greeter", "type=chat", "id=7.9", "boom", "supervise_test.go"} {
		assert.Contains(t, l.String(), word)
	}
	require.NoError(t, s.Run("greeter", nil, func() {}))
	st := s.Stats()
	assert.Equal(t, uint64(2), st.Runs)
	assert.Equal(t, uint64(1), st.Panics)
	assert.Zero(t, st.Running)
}

func TestPanicWithAValueThatIsNoError(t *testing.T) {
	s, _ := supervisor(0)
	err := s.Run("h", nil, func() { panic("text") })
	assert.EqualError(t, err, `handler "h" panicked: text`)
	assert.NoError(t, errors.Unwrap(err))
}

func TestGoexitOfAHandlerIsCounted(t *testing.T) {
	s, l := supervisor(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run("h", msg, runtime.Goexit)
		t.Error("Run returned")
	}()
	<-done
	st := s.Stats()
	assert.Equal(t, uint64(1), st.Panics)
	assert.Zero(t, st.Running)
	assert.Contains(t, l.String(), "Goexit")
}

func TestLateHandlerIsNamedWhileItRunsAndWhenItReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := supervisor(time.Second)
		go func() { _ = s.Run("slow", msg, func() { time.Sleep(5 * time.Second) }) }()
		time.Sleep(500 * time.Millisecond)
		go func() { _ = s.Run("slower", nil, func() { time.Sleep(5 * time.Second) }) }()
		synctest.Wait()
		assert.Empty(t, s.Stats().Overdue)
		assert.Empty(t, l.String())

		time.Sleep(600 * time.Millisecond)
		synctest.Wait()
		st := s.Stats()
		require.Len(t, st.Overdue, 1)
		assert.Equal(t, supervise.Overdue{Handler: "slow", Type: "chat", ID: msg.ID, For: 1100 * time.Millisecond}, st.Overdue[0])
		assert.Equal(t, uint64(1), st.Late)
		assert.Contains(t, l.String(), "still running")
		assert.NotContains(t, l.String(), "slower")

		time.Sleep(time.Second)
		synctest.Wait()
		assert.Len(t, s.Stats().Overdue, 2)
		assert.Contains(t, l.String(), "slower")
		assert.NotContains(t, l.String(), "returned")

		time.Sleep(10 * time.Second)
		synctest.Wait()
		st = s.Stats()
		assert.Empty(t, st.Overdue)
		assert.Equal(t, supervise.Stats{Runs: 2, Late: 2, Time: 10 * time.Second, MaxTime: 5 * time.Second}, st)
		assert.Contains(t, l.String(), "a late handler returned")
		assert.Equal(t, 4, bytes.Count([]byte(l.String()), []byte("\n")), "each is named twice, not at every check")
	})
}

func TestQuickHandlersAreNotNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := supervisor(time.Second)
		for range 10 {
			require.NoError(t, s.Run("quick", msg, func() { time.Sleep(900 * time.Millisecond) }))
		}
		time.Sleep(time.Minute)
		assert.Empty(t, l.String())
		assert.Zero(t, s.Stats().Late)
	})
}

func TestNegativeLimitIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := supervisor(-1)
		require.NoError(t, s.Run("slow", msg, func() { time.Sleep(time.Hour) }))
		assert.Empty(t, l.String())
		assert.Zero(t, s.Stats().Late)
	})
}

func TestManyHandlersAtOnce(t *testing.T) {
	s, _ := supervisor(0)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for range 100 {
				_ = s.Run("h", msg, func() {
					if i%10 == 0 {
						panic(i)
					}
				})
			}
		})
	}
	wg.Wait()
	st := s.Stats()
	assert.Equal(t, uint64(5000), st.Runs)
	assert.Equal(t, uint64(500), st.Panics)
	assert.Zero(t, st.Running)
}

func TestRunTakesNoMemory(t *testing.T) {
	s, _ := supervisor(0)
	f := func() {}
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = s.Run("h", msg, f) }))
}
