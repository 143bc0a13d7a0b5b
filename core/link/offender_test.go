package link

import (
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/assert"
)

func TestOffenderIsRefusedForLongerEachTimeAndForgottenInTheEnd(t *testing.T) {
	os := make(offenders)
	now := time.Unix(1e9, 0)
	for range offencesAllowed - 1 {
		assert.Zero(t, os.add("p", now))
		assert.False(t, os.refused("p", now))
	}
	for want := refuseFirst; want <= 2*refuseMost; want *= 2 {
		refused := os.add("p", now)
		assert.Equal(t, min(want, refuseMost), refused)
		assert.True(t, os.refused("p", now.Add(refused-1)))
		now = now.Add(refused)
		assert.False(t, os.refused("p", now))
	}
	os.forget(now.Add(offenceMemory))
	assert.NotEmpty(t, os)
	os.forget(now.Add(offenceMemory + 1))
	assert.Empty(t, os)
}

func TestOffencesFarApartAreNoReasonToRefuse(t *testing.T) {
	os := make(offenders)
	now := time.Unix(1e9, 0)
	for range 20 {
		assert.Zero(t, os.add("p", now))
		now = now.Add(offenceWindow/2 + 1)
	}
}

func TestOffendersAreBoundedAndTheOldestIsForgottenFirst(t *testing.T) {
	os := make(offenders)
	now := time.Unix(1e9, 0)
	for i := range offendersKept + 50 {
		os.add(peer.ID(fmt.Sprint(i)), now.Add(time.Duration(i)))
	}
	assert.Len(t, os, offendersKept)
	assert.NotContains(t, os, peer.ID("0"))
	assert.Contains(t, os, peer.ID(fmt.Sprint(offendersKept+49)))
}
