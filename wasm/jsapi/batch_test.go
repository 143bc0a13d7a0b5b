//go:build js

package jsapi

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/test"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/message"
)

// readBatch reads a batch as the TypeScript package does; see Batch in web/src/messages.ts.
func readBatch(b []byte) (got []dispatch.Delivery) {
	le := binary.LittleEndian
	var strings []string
	s := b[le.Uint32(b[4:]):]
	for n := le.Uint32(s); n > 0; n-- {
		size := le.Uint32(s[4:])
		strings = append(strings, string(s[8:8+size]))
		s = s[4+size:]
	}
	r := b[batchHead:]
	for range le.Uint32(b) {
		size := le.Uint32(r[36:])
		m := &message.Message{
			From: peer.ID(strings[le.Uint32(r[4:])]), Via: peer.ID(strings[le.Uint32(r[8:])]), Type: strings[le.Uint32(r[12:])],
			ID: message.ID{Epoch: le.Uint64(r[20:]), Seq: le.Uint64(r[28:])}, Data: r[40 : 40+size],
			Broadcast: r[0]&flagBroadcast != 0, Replayed: r[0]&flagReplayed != 0,
		}
		got = append(got, dispatch.Delivery{Message: m, Missed: uint64(le.Uint32(r[16:]))})
		r = r[40+size:]
	}
	return got
}

func TestEveryMessageCrossesOnceAndInOrder(t *testing.T) {
	for name, size := range map[string]int{"of more messages than a batch has": 1, "of more bytes than a batch has": batchBytes / 4} {
		t.Run(name, func(t *testing.T) {
			const count = 2*batchMessages + 10
			total := count
			if size > 1 {
				total = 21
			}
			d := dispatch.New(dispatch.Options{})
			defer d.Close()
			s, err := d.Subscribe("room/*", dispatch.Block)
			require.NoError(t, err)
			senders := []peer.ID{test.RandPeerIDFatal(t), test.RandPeerIDFatal(t)}
			types := []string{"room/a", "room/b", "room/c"}
			sent := func(i int) *message.Message {
				return &message.Message{
					From: senders[i/3%2], Via: senders[i%2], Type: types[i%3], ID: message.ID{Epoch: 1 << 50, Seq: uint64(i)},
					Data: make([]byte, size), Broadcast: i%5 == 0, Replayed: i%7 == 0,
				}
			}
			go func() {
				for i := range total {
					_ = d.Publish(context.Background(), sent(i)) // messages that are refused are missing below
				}
			}()
			for i := 0; i < total; {
				require.NoError(t, nextBatch(t.Context(), s, func(b []byte) {
					for _, got := range readBatch(b) {
						want := sent(i)
						want.From, want.Via = peer.ID(want.From.String()), peer.ID(want.Via.String())
						require.Equal(t, dispatch.Delivery{Message: want}, got)
						i++
					}
				}))
			}
		})
	}
}

func TestABatchIsOfWhatAMailboxHoldsAndOfWhatComesMeanwhile(t *testing.T) {
	d := dispatch.New(dispatch.Options{})
	defer d.Close()
	s, err := d.Subscribe("a", dispatch.Block, dispatch.Buffer(4))
	require.NoError(t, err)
	publishing := make(chan struct{})
	go func() {
		for range 4 {
			_ = d.Publish(context.Background(), &message.Message{Type: "a"})
		}
		close(publishing) // the mailbox is full
		for range 96 {
			_ = d.Publish(context.Background(), &message.Message{Type: "a"})
		}
	}()
	<-publishing
	batches, messages := 0, 0
	for messages < 100 { // the scheduler may run something else than the publisher, and end a batch
		require.NoError(t, nextBatch(t.Context(), s, func(b []byte) { messages += len(readBatch(b)) }))
		batches++
	}
	require.Equal(t, 100, messages)
	require.Less(t, batches, 100/4/2, "a batch has more than the mailbox holds")
}
