package bridge_test

import (
	"syscall/js"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/bridge"
)

// stepClock moves the wall clock by d, forward or back, for the rest of the test. In
// Node.js it can replace the clock that Go's time reads; natively, that needs root.
func stepClock(t *testing.T, d time.Duration) {
	real := js.Global().Get("Date")
	step := js.Global().Call("eval", `(Real, step) => class extends Real {
		constructor(...args) { args.length ? super(...args) : super(Real.now() + step) }
		static now() { return Real.now() + step }
	}`)
	js.Global().Set("Date", step.Invoke(real, d.Milliseconds()))
	t.Cleanup(func() { js.Global().Set("Date", real) })
}

func TestSilenceIsNotMeasuredByTheClockOnTheWall(t *testing.T) {
	for name, step := range map[string]time.Duration{"set forward": time.Hour, "set back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			const idle = time.Second
			here, _, from, dialled := pipes(t, bridge.Timeouts{Idle: idle})
			client, target := joined(t, from, dialled)
			time.Sleep(idle / 2) // well before the silence is first checked
			begun := time.Now()
			_, err := client.Write([]byte{1})
			require.NoError(t, err)
			_, err = target.PipeReader.Read(make([]byte, 1))
			require.NoError(t, err)
			stepClock(t, step)
			require.GreaterOrEqual(t, time.Now().Round(0).Sub(begun.Round(0)).Abs(), 50*time.Minute, "the clock is set")
			ended := make(chan struct{})
			go func() {
				_, _ = target.PipeReader.Read(make([]byte, 1))
				close(ended)
			}()
			select {
			case <-ended:
			case <-time.After(patience):
				t.Fatal("it never ends")
			}
			assert.GreaterOrEqual(t, time.Since(begun), idle)
			info := endedWith(t, here)
			assert.Contains(t, []bridge.Reason{bridge.TimedOut, bridge.PeerReset}, info.Reason)
		})
	}
}
