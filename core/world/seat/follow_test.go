package seat

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// If a host never confirms an input, the player keeps only the newest inputs to send again.
func TestWhatMayBeSentAgainIsBounded(t *testing.T) {
	for _, size := range []int{0, 1, 256} {
		s := new(Seat)
		for seq := uint32(1); seq < 50_000; seq++ {
			s.note(seq, make([]byte, size))
		}
		assert.LessOrEqual(t, len(s.sent)*(size+sentCost), maxSent)
		assert.Equal(t, uint32(49_999), s.sent[len(s.sent)-1].seq, "the newest are kept")
		s.took(49_998)
		assert.Len(t, s.sent, 1)
		assert.Equal(t, size+sentCost, s.sentBytes)
		s.took(60_000)
		assert.Zero(t, s.sentBytes)
	}
}
