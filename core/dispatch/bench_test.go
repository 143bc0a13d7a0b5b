package dispatch_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/message"
)

// BenchmarkPublishAndNext measures the cost of a message without a second goroutine;
// native/bench measures the exchange between two.
func BenchmarkPublishAndNext(b *testing.B) {
	d := dispatch.New(dispatch.Options{})
	s, err := d.Subscribe("chat")
	require.NoError(b, err)
	m := &message.Message{Type: "chat"}
	b.ReportAllocs()
	for b.Loop() {
		for range 32 {
			_ = d.Offer(m)
		}
		n := 0
		for range s.All() {
			if n++; n == 32 {
				break
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/32, "ns/delivery")
}
