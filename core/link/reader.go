package link

import (
	"errors"
	"io"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/tombolo-net/tombolo/core/message"
)

// errRules is wrapped by the errors about envelopes that no honest peer sends.
var errRules = errors.New("broken rule of links")

// reader reads the messages of a stream. Only the reading goroutine uses it, except for
// stall.
type reader struct {
	counters *counters
	stream   network.Stream
	frames   *message.Reader
	stall    stall

	sumSteps int    // the pieces of 64 KiB seen of the current frame
	messages uint64 // not yet counted
	bytes    uint64
}

// open begins to read a stream.
func (r *reader) open(l *Links, s network.Stream) {
	r.counters, r.stream = &l.count, s
	r.frames = message.NewReader(r, l.opts.MaxData)
}

// next returns the next message, without its sender.
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

// Read reads from the stream for frames, and watches for stalls within a frame.
func (r *reader) Read(b []byte) (int, error) {
	r.count()
	if within := r.frames.Buffered(); within > 0 {
		r.watch(within)
	}
	n, err := r.stream.Read(b)
	r.bytes += uint64(n)
	return n, err
}

// count counts what was received since the last call: once per read rather than once per
// message.
func (r *reader) count() {
	if r.messages > 0 || r.bytes > 0 {
		r.counters.received.Add(r.messages)
		r.counters.receivedBytes.Add(r.bytes)
		r.messages, r.bytes = 0, 0
	}
}

// watch counts as progress the beginning of a frame and each 64 KiB of it, but not each
// byte. Otherwise a peer could send a byte now and then for ever.
func (r *reader) watch(within int) {
	resting := r.stall.mark.Load()&1 == 0
	if steps := within / writeBuffer; resting || steps != r.sumSteps {
		r.sumSteps = steps
		r.stall.step()
	}
}

// ended reports whether a stream ended between two messages.
func ended(err error) bool {
	return errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
}
