//go:build js

package jsapi

import (
	"context"
	"encoding/binary"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/dispatch"
)

const (
	// batchMessages and batchBytes bound a batch, except that it has at least
	// one message.
	batchMessages = 1024
	batchBytes    = 256 << 10
)

// Flags of a message in a batch.
const (
	flagBroadcast = 1 << iota
	flagReplayed
)

// batch is messages on their way to JavaScript. A crossing costs a few
// microseconds, so that what waits crosses together:
//
//	strings: count, then length and bytes of each
//	messages, to the end: flags; from, via and type, as places in strings;
//	missed; epoch and number of the ID; length and bytes of the data
//
// Numbers are little-endian, of 32 bits, but for those of the ID, of 64.
type batch struct {
	strings []string
	places  map[any]uint32 // by type or peer ID
	records []byte
	count   int
}

// nextBatch waits for a message and takes those that wait with it.
func nextBatch(ctx context.Context, s *dispatch.Subscription) ([]byte, error) {
	d, err := s.Next(ctx)
	if err != nil {
		return nil, err
	}
	b := batch{places: make(map[any]uint32)}
	for ok := true; ok; d, ok = s.TryNext() {
		b.add(d)
		if b.count == batchMessages || len(b.records) >= batchBytes {
			break
		}
	}
	return b.bytes(), nil
}

func (b *batch) add(d dispatch.Delivery) {
	var flags uint32
	if d.Broadcast {
		flags |= flagBroadcast
	}
	if d.Replayed {
		flags |= flagReplayed
	}
	le := binary.LittleEndian
	r := le.AppendUint32(b.records, flags)
	r = le.AppendUint32(r, b.peer(d.From))
	r = le.AppendUint32(r, b.peer(d.Via))
	r = le.AppendUint32(r, b.place(d.Type, d.Type))
	r = le.AppendUint32(r, uint32(d.Missed)) // it goes no further
	r = le.AppendUint64(r, d.ID.Epoch)
	r = le.AppendUint64(r, d.ID.Seq)
	r = le.AppendUint32(r, uint32(len(d.Data)))
	b.records = append(r, d.Data...)
	b.count++
}

// peer is where the text of a peer ID is among the strings of the batch. To make
// it takes longer than all the rest of a message.
func (b *batch) peer(p peer.ID) uint32 {
	if i, ok := b.places[p]; ok {
		return i
	}
	return b.place(p, p.String())
}

func (b *batch) place(key any, s string) uint32 {
	i, ok := b.places[key]
	if !ok {
		i = uint32(len(b.strings))
		b.places[key] = i
		b.strings = append(b.strings, s)
	}
	return i
}

func (b *batch) bytes() []byte {
	le := binary.LittleEndian
	out := le.AppendUint32(nil, uint32(len(b.strings)))
	for _, s := range b.strings {
		out = append(le.AppendUint32(out, uint32(len(s))), s...)
	}
	return append(out, b.records...)
}
