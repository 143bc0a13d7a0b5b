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
	// batchMessages and batchBytes bound a batch: no message is added to one that
	// has reached either.
	batchMessages = 1024
	batchBytes    = 256 << 10
)

// Flags of a message in a batch.
const (
	flagBroadcast = 1 << iota
	flagReplayed
)

// batch holds messages on their way to JavaScript. Each crossing costs a few
// microseconds, so waiting messages cross together:
//
//	the number of messages; the offset of the strings, in bytes
//	messages: flags; from, via and type, as indexes of strings; missed; epoch and
//	number of the ID; length and bytes of the data
//	strings: count, then length and bytes of each
//
// Numbers are little-endian and have 32 bits, except for the 64-bit numbers of the ID. A
// batch is reused: see batches.
type batch struct {
	data    []byte
	count   int
	strings []string
	peers   named[peer.ID]
	types   named[string]
}

// named maps the keys of a batch to indexes of its strings. Most messages have the same
// key as the message before.
type named[K ~string] struct {
	places map[K]uint32
	last   K
	at     uint32 // the index of last; not valid while places is empty
}

// batches keeps the memory of batches for later ones: growing each batch anew would
// make more garbage than the messages do.
var batches = sync.Pool{New: func() any {
	return &batch{
		peers: named[peer.ID]{places: make(map[peer.ID]uint32)},
		types: named[string]{places: make(map[string]uint32)},
	}
}}

// batchHead is the length of the header before the messages, in bytes.
const batchHead = 8

// nextBatch waits for a message, adds the messages that wait behind it, and passes the
// batch to take, which must copy it.
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
		runtime.Gosched() // the goroutine that reads from the network may have more at hand
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
	r = le.AppendUint32(r, uint32(d.Missed)) // it does not reach 1<<32
	r = le.AppendUint64(r, d.ID.Epoch)
	r = le.AppendUint64(r, d.ID.Seq)
	r = le.AppendUint32(r, uint32(len(d.Data)))
	b.data = append(r, d.Data...)
	b.count++
}

// place returns the index of a key's text among the strings of the batch. Encoding a
// peer ID takes longer than everything else done for a message.
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

// end completes the batch. The returned slice is valid until the next begin.
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
