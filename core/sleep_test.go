package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestASleepIsToldFromALateTick(t *testing.T) {
	assert.False(t, slept(sleepTick, sleepTick))
	assert.False(t, slept(time.Minute, time.Minute), "a hidden tab's timers run once a minute")
	assert.False(t, slept(-time.Hour, sleepTick), "the wall clock was set back")
	assert.True(t, slept(2*time.Minute, 2*time.Minute), "both clocks ran on")
	assert.True(t, slept(time.Minute, sleepTick), "the monotonic clock stood still")
}
