package dispatch_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/message"
)

// Once a mailbox has its final size, a delivery allocates nothing, however it is read.
func TestDeliveryAllocatesNothing(t *testing.T) {
	sender := func(m *message.Message) string { return string(m.From) }
	for name, tc := range map[string]struct {
		pattern string
		opts    []dispatch.Option
		handler bool
		dedup   bool
		ahead   uint64 // how many messages are in the mailbox before
	}{
		"exact":                      {pattern: "room/1"},
		"prefix":                     {pattern: "room/*"},
		"handler":                    {pattern: "room/1", handler: true},
		"de-duplicated":              {pattern: "room/1", dedup: true},
		"drop-newest, full":          {pattern: "room/1", opts: []dispatch.Option{dispatch.Buffer(8)}, ahead: 8},
		"drop-oldest, full":          {pattern: "room/1", opts: []dispatch.Option{dispatch.Buffer(8), dispatch.DropOldest}, ahead: 8},
		"latest-per-key":             {pattern: "room/1", opts: []dispatch.Option{dispatch.LatestPerKey(sender)}},
		"latest-per-key, superseded": {pattern: "room/1", opts: []dispatch.Option{dispatch.LatestPerKey(sender)}, ahead: 1},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDispatcher(t, dispatch.Options{})
			if tc.dedup {
				require.NoError(t, d.Deduplicate(tc.pattern, dispatch.Window{Count: 8}))
			}
			m := event("room/1", "a", 0)
			seq := uint64(0)
			offer(t, d, "nobody", "a", 1, 1)
			one := func() {
				seq++
				m.ID.Seq = seq // m can be reused: nobody holds it any more
				if d.Offer(m) != nil {
					panic("not taken")
				}
			}
			if tc.handler {
				handled := make(chan struct{})
				_, err := d.Handle(tc.pattern, func(context.Context, dispatch.Delivery) { handled <- struct{}{} }, tc.opts...)
				require.NoError(t, err)
				publish := one
				one = func() { publish(); <-handled }
			} else {
				s := subscribe(t, d, tc.pattern, tc.opts...)
				offer(t, d, "room/1", "a", 1, tc.ahead)
				publish := one
				one = func() {
					publish()
					if tc.ahead == 0 {
						s.TryNext()
					}
				}
			}
			for range 100 {
				one()
			}
			assert.Zero(t, testing.AllocsPerRun(100, one))
		})
	}
}
