package link

import (
	"errors"
	"io"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/tombolo-net/tombolo/core/message"
)

// errRules is wrapped by the errors about envelopes that no honest peer sends.
var errRules = errors.New("broken rule of links")

// reader reads the messages of a stream. All but stall is of the goroutine that
// reads.
type reader struct {
	counters *counters
	stream   network.Stream
	frames   *message.Reader
	stall    stall

	sumSteps int    // of stall: the sixty-fourths of a frame seen
	messages uint64 // not yet counted
	bytes    uint64
}

// open begins to read a stream.
func (r *reader) open(l *Links, s network.Stream) {
	r.counters, r.stream = &l.count, s
	r.frames = message.NewReader(r, l.opts.MaxData)
}

// next returns the next message, which says nothing of who sent it.
func (r *reader) next() (*message.Message, error) {
	m, err := r.frames.Next()
	r.stall.rest()
	if err != nil {
		r.count()
		return nil, err
	}
	r.messages++
	return m, nil
}

// Read is what frames reads from: the stream, watched for stalls within a frame.
func (r *reader) Read(b []byte) (int, error) {
	r.count()
	if within := r.frames.Buffered(); within > 0 {
		r.watch(within)
	}
	n, err := r.stream.Read(b)
	r.bytes += uint64(n)
	return n, err
}

// count adds up what was received since the last time: once per read rather
// than once per message.
func (r *reader) count() {
	if r.messages > 0 || r.bytes > 0 {
		r.counters.received.Add(r.messages)
		r.counters.receivedBytes.Add(r.bytes)
		r.messages, r.bytes = 0, 0
	}
}

// watch makes progress of the beginning of a frame and of each 64 KiB of it,
// but not of each byte: a peer could send one now and then for ever.
func (r *reader) watch(within int) {
	resting := r.stall.mark.Load()&1 == 0
	if steps := within / writeBuffer; resting || steps != r.sumSteps {
		r.sumSteps = steps
		r.stall.step()
	}
}

// ended says whether a stream ended between two messages.
func ended(err error) bool {
	return errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
}
