package seat_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/world/seat"
)

func TestAClockFollowsTheTicksThatComeEarly(t *testing.T) {
	c := seat.NewClock(20)
	at := time.Unix(0, 0)
	require.Zero(t, c.At(at))
	for i := range uint32(100) {
		late := time.Duration(i%5) * 10 * time.Millisecond // each tick takes a different time to arrive
		c.Tick(1000+i, at.Add(time.Duration(i)*50*time.Millisecond+late))
	}
	require.InDelta(t, 1100, c.At(at.Add(5*time.Second)), 0.02)
	for i := range uint32(2000) { // from now on, ticks take 30 ms longer
		c.Tick(1100+i, at.Add(5*time.Second+time.Duration(i)*50*time.Millisecond+30*time.Millisecond))
	}
	require.InDelta(t, 3100-0.6, c.At(at.Add(105*time.Second)), 0.02)
}

func TestAPathIsDrawnBetweenItsTicks(t *testing.T) {
	p := seat.NewPath(func(a, b, share float64) float64 { return a + (b-a)*share })
	_, ok := p.At(5)
	require.False(t, ok)
	for tick := range uint32(20) {
		if tick%2 == 0 { // only every second tick has a value
			p.Add(tick, float64(10*tick))
		}
	}
	for at, want := range map[float64]float64{17.5: 175, 16: 160, 18: 180, 30: 180, 4: 40, 0: 40} {
		got, ok := p.At(at)
		require.True(t, ok)
		require.InDelta(t, want, got, 1e-9, "at %v", at)
	}
	p.Add(18, 190)
	got, _ := p.At(17)
	require.InDelta(t, 175, got, 1e-9, "the last value of a tick counts")
	p.Add(3, 1)
	got, _ = p.At(3)
	require.InDelta(t, 1, got, 0, "after the room began anew")
}

func TestAPredictionIsWhatTheRoomWillTell(t *testing.T) {
	p := seat.NewPrediction(0, func(at, by int) int { return at + by })
	for seq := range uint32(5) {
		p.Do(seq+1, 10)
	}
	require.Equal(t, 50, p.State())
	p.Told(20, 2)
	require.Equal(t, 50, p.State())
	p.Told(25, 3) // a wall was in the way
	require.Equal(t, 45, p.State())
	p.Told(45, 0)
	require.Equal(t, 65, p.State(), "no input is known to have been taken")
	p.Told(45, 5)
	require.Equal(t, 45, p.State())
}

func TestAClockBeginsAnewInTheRoomThatThePlayerWalkedTo(t *testing.T) {
	c, now := seat.NewClock(20), time.Now()
	for number := uint32(1000); number < 1010; number++ {
		c.Tick(number, now)
		now = now.Add(50 * time.Millisecond)
	}
	c.Tick(7, now) // the new room began later
	require.InDelta(t, 7, c.At(now), 0.01)
	c.Tick(8, now.Add(50*time.Millisecond))
	require.InDelta(t, 9, c.At(now.Add(100*time.Millisecond)), 0.01)
	c.Tick(5000, now.Add(150*time.Millisecond)) // or it began earlier
	require.InDelta(t, 5000, c.At(now.Add(150*time.Millisecond)), 0.01)
}
