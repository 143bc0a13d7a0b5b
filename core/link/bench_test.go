package link_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/tombolo-net/tombolo/core/link"
)

// Requests of 128 bytes and their replies, over TCP on the loopback.
func BenchmarkRequest(b *testing.B) {
	for _, askers := range []int{1, 32} {
		b.Run(fmt.Sprintf("at-once-%d", askers), func(b *testing.B) {
			from, to := newNode(b, link.Options{}), newNode(b, link.Options{})
			know(from, to)
			remove, err := to.Respond("stat", echo)
			if err != nil {
				b.Fatal(err)
			}
			defer remove()
			data := make([]byte, 128)
			b.ResetTimer()
			var asking sync.WaitGroup
			for range askers {
				asking.Go(func() {
					for range b.N / askers {
						if _, err := from.Request(b.Context(), to.id(), "stat", data); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			asking.Wait()
		})
	}
}
