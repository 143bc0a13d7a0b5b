package link

import (
	"io"
	"sync"
)

// writeBuffer bounds what leaves in one write, in bytes.
const writeBuffer = 64<<10 - 64

var writeBuffers = sync.Pool{New: func() any { return new([writeBuffer]byte) }}

// writer writes what is queued for a stream, in batches. Only the writing goroutine uses
// it, except for stall.
type writer struct {
	count  *counters
	stall  stall
	batch  []item
	buffer *[writeBuffer]byte // from writeBuffers, or nil
}

// take makes a batch: as many queued items as fit into one write, and at least one
// if any is queued.
func (w *writer) take(qs *queues) bool {
	for bytes := 0; ; {
		p, ok := qs.next()
		if !ok {
			break
		}
		bytes += len(qs[p].at(0).frame)
		if bytes > writeBuffer && len(w.batch) > 0 {
			break // the item will be the first of the next batch
		}
		w.batch = append(w.batch, qs.take(p))
	}
	return len(w.batch) > 0
}

// flush writes the batch and reports to its items. After an error, they are still in the
// batch, and nothing has been reported to them.
func (w *writer) flush(s io.Writer) error {
	bytes, err := w.writeBatch(s)
	if err != nil {
		return err
	}
	w.count.batches.Add(1)
	w.count.sent.Add(uint64(len(w.batch)))
	w.count.sentBytes.Add(uint64(bytes))
	w.tell(nil)
	return nil
}

// tell reports to the items of the batch, and empties it.
func (w *writer) tell(err error) {
	for i, it := range w.batch {
		it.tell(err)
		w.batch[i] = item{}
	}
	w.batch = w.batch[:0]
}

// writeBatch writes the batch. It copies several frames together, and writes a single one
// as it is.
func (w *writer) writeBatch(s io.Writer) (bytes int, err error) {
	if len(w.batch) == 1 {
		frame := w.batch[0].frame
		return len(frame), w.writeAll(s, frame)
	}
	if w.buffer == nil {
		w.buffer = writeBuffers.Get().(*[writeBuffer]byte)
	}
	b := w.buffer[:0]
	for _, it := range w.batch {
		b = append(b, it.frame...)
	}
	return len(b), w.writeAll(s, b)
}

// writeAll writes in steps whose progress can be watched.
func (w *writer) writeAll(s io.Writer, b []byte) error {
	defer w.stall.rest()
	for len(b) > 0 {
		w.stall.step()
		step := b[:min(len(b), writeBuffer)]
		if _, err := s.Write(step); err != nil {
			return err
		}
		b = b[len(step):]
	}
	return nil
}

// release frees the memory that a writer does not need while it has nothing to write.
func (w *writer) release() {
	if w.buffer != nil {
		writeBuffers.Put(w.buffer)
		w.buffer = nil
	}
	if cap(w.batch) > smallQueue && len(w.batch) == 0 {
		w.batch = nil
	}
}
