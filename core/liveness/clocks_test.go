package liveness

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestASleepIsToldFromALateTick(t *testing.T) {
	assert.False(t, isSleep(sleepTick, sleepTick))
	assert.False(t, isSleep(time.Minute, time.Minute), "a hidden tab's timers run once a minute")
	assert.False(t, isSleep(-time.Hour, sleepTick), "the wall clock was set back")
	assert.True(t, isSleep(2*time.Minute, 2*time.Minute), "both clocks ran on")
	assert.True(t, isSleep(time.Minute, sleepTick), "the monotonic clock stood still")
}
