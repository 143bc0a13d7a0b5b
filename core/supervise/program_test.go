package supervise_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tombolo-net/tombolo/core/supervise"
)

func TestAllWaitForAProgramTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p supervise.Program
		end := make(chan struct{})
		stuck := func() { <-end }
		begun := time.Now()
		for range 2 { // before Closing, each call waits the whole grace period
			assert.False(t, p.Await(stuck))
		}
		assert.Equal(t, 2*supervise.CloseGrace, time.Since(begun))

		p.Closing()
		begun = time.Now()
		time.Sleep(supervise.CloseGrace / 2)
		p.Closing() // does not start the grace period again
		assert.False(t, p.Await(stuck))
		assert.Equal(t, supervise.CloseGrace, time.Since(begun))
		for range 4 {
			assert.False(t, p.Await(stuck))
		}
		assert.Less(t, time.Since(begun), 2*supervise.CloseGrace)
		assert.True(t, p.Await(func() {}), "a function that returns is noticed even after the grace period")
		close(end)
	})
}

func TestWithinIsOfTheGoroutine(t *testing.T) {
	var p supervise.Program
	assert.False(t, p.Within())
	leave := p.Enter()
	assert.True(t, p.Within())
	again := p.Enter() // a function that calls another
	again()
	assert.True(t, p.Within())
	other := make(chan bool)
	go func() { other <- p.Within() }()
	assert.False(t, <-other)
	leave()
	assert.False(t, p.Within())
}
