//go:build js

package jsapi

import (
	"context"
	"encoding/binary"
	"runtime"
	"sync"

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
//	the number of messages; where the strings begin, in bytes
//	messages: flags; from, via and type, as places in strings; missed; epoch and
//	number of the ID; length and bytes of the data
//	strings: count, then length and bytes of each
//
// Numbers are little-endian, of 32 bits, but for those of the ID, of 64. A batch is
// used again: see batches.
type batch struct {
	data    []byte
	count   int
	strings []string
	peers   named[peer.ID]
	types   named[string]
}

// named are the keys of a batch that have a place among its strings. Most messages
// have the key of the one before.
type named[K ~string] struct {
	places map[K]uint32
	last   K
	at     uint32 // of last; unless places is empty
}

// batches keeps the memory of batches for those to come: a batch that grew anew
// would cost more garbage than its messages.
var batches = sync.Pool{New: func() any {
	return &batch{
		peers: named[peer.ID]{places: make(map[peer.ID]uint32)},
		types: named[string]{places: make(map[string]uint32)},
	}
}}

// batchHead is what comes before the messages, in bytes.
const batchHead = 8

// nextBatch waits for a message, takes those that wait with it, and has take copy
// them all.
func nextBatch(ctx context.Context, s *dispatch.Subscription, take func([]byte)) error {
	d, err := s.Next(ctx)
	if err != nil {
		return err
	}
	b := batches.Get().(*batch)
	b.begin()
	for {
		b.add(d)
		if b.count == batchMessages || len(b.data) >= batchBytes {
			break
		}
		var ok bool
		if d, ok = s.TryNext(); ok {
			continue
		}
		runtime.Gosched() // whoever reads them off the network may have more at hand
		if d, ok = s.TryNext(); !ok {
			break
		}
	}
	take(b.end())
	if cap(b.data) <= 2*batchBytes {
		batches.Put(b)
	}
	return nil
}

func (b *batch) begin() {
	b.data, b.count, b.strings = append(b.data[:0], make([]byte, batchHead)...), 0, b.strings[:0]
	clear(b.peers.places)
	clear(b.types.places)
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
	r := le.AppendUint32(b.data, flags)
	r = le.AppendUint32(r, place(b, &b.peers, d.From))
	r = le.AppendUint32(r, place(b, &b.peers, d.Via))
	r = le.AppendUint32(r, place(b, &b.types, d.Type))
	r = le.AppendUint32(r, uint32(d.Missed)) // it goes no further
	r = le.AppendUint64(r, d.ID.Epoch)
	r = le.AppendUint64(r, d.ID.Seq)
	r = le.AppendUint32(r, uint32(len(d.Data)))
	b.data = append(r, d.Data...)
	b.count++
}

// place is where the text of a key is among the strings of the batch. To make that of
// a peer ID takes longer than all the rest of a message.
func place[K ~string](b *batch, n *named[K], key K) uint32 {
	if key == n.last && len(n.places) > 0 {
		return n.at
	}
	at, ok := n.places[key]
	if !ok {
		at = uint32(len(b.strings))
		n.places[key] = at
		text := string(key)
		if id, ok := any(key).(peer.ID); ok {
			text = id.String()
		}
		b.strings = append(b.strings, text)
	}
	n.last, n.at = key, at
	return at
}

// end completes the batch: what it returns is good until the next begin.
func (b *batch) end() []byte {
	le := binary.LittleEndian
	le.PutUint32(b.data, uint32(b.count))
	le.PutUint32(b.data[4:], uint32(len(b.data)))
	b.data = le.AppendUint32(b.data, uint32(len(b.strings)))
	for _, s := range b.strings {
		b.data = append(le.AppendUint32(b.data, uint32(len(s))), s...)
	}
	return b.data
}
