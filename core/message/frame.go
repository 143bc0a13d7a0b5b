package message

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// MaxData is the default limit of the data of a message on a link or in a broadcast,
	// in bytes.
	MaxData = 1 << 20

	// Overhead bounds what an envelope holds besides its data, in bytes. The
	// fields of this version need less than 200; the rest is for later versions.
	Overhead = 1 << 10

	// DefaultMaxFrame bounds the envelope of a message with MaxData bytes of data, in
	// bytes.
	DefaultMaxFrame = MaxData + Overhead

	// idleBuffer is the size of the buffer that a Reader uses while it waits for a frame
	// to begin, in bytes: enough for a message that comes alone.
	idleBuffer = 1 << 10

	// readBuffer is the size of the buffer that a Reader uses while more than idleBuffer
	// arrives, in bytes. A frame that fits in it is decoded in place. All Readers share
	// these buffers.
	readBuffer = 32 << 10

	// bigStep is the memory allocated at first for a frame that does not fit in a
	// readBuffer, in bytes. More is allocated as the data comes, not as the frame claims.
	bigStep = 64 << 10

	// internedTypes bounds the types that a Reader keeps one string of. The far side
	// chooses the types; further ones get a new string each time.
	internedTypes = 256

	// Messages that arrive together share memory: up to slabMessages of them, and up to
	// slabBytes of data of at most slabData bytes each. Keeping one of them keeps 4 KiB
	// at worst.
	slabMessages = 8
	slabBytes    = 2 << 10
	slabData     = 256

	// emptyReads bounds how often in a row a stream may read nothing without an error.
	emptyReads = 100
)

// ErrTooLarge is wrapped by the errors about messages beyond the limit.
var ErrTooLarge = errors.New("message is too large")

// AppendFrame appends the envelope, preceded by its length.
func (m *Message) AppendFrame(b []byte) []byte {
	return m.Append(protowire.AppendVarint(b, uint64(m.Size())))
}

// CheckSize returns an error that wraps ErrTooLarge if m has more than limit bytes of
// data.
func (m *Message) CheckSize(limit int) error {
	if len(m.Data) > limit {
		return fmt.Errorf("%w: %q has %d bytes of data; the limit is %d", ErrTooLarge, m.Type, len(m.Data), limit)
	}
	return nil
}

var readBuffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}

// Reader reads frames from a stream. Only one goroutine may use it. While it waits for a
// frame to begin, it holds about a kilobyte, or 32 of them if the last read exactly
// filled its buffer.
type Reader struct {
	src   io.Reader
	limit int   // of data
	err   error // what Next returns from now on

	idle   [idleBuffer]byte
	large  *[readBuffer]byte // from readBuffers, or nil
	buf    []byte            // one of the two
	start  int               // what was read and not yet returned is buf[start:end]
	end    int
	filled bool   // the last read left no room: there is likely more
	big    []byte // what has come of a frame that does not fit in buf

	types    map[string]string
	lastType string    // of types
	msgs     []Message // to be returned by decode
	slab     []byte
}

// NewReader returns a Reader of messages with at most limit bytes of data. If limit is
// zero, it is MaxData. An envelope may have up to Overhead bytes more.
func NewReader(src io.Reader, limit int) *Reader {
	if limit <= 0 {
		limit = MaxData
	}
	r := &Reader{src: src, limit: limit}
	r.buf = r.idle[:]
	return r
}

// Next reads the next message. It returns io.EOF if the stream ends between two frames,
// io.ErrUnexpectedEOF if it ends within one, an error that wraps ErrMalformed or
// ErrTooLarge, or the error of the stream. Further calls return the same error. If the
// length of a frame is beyond the limit, Next refuses it before it allocates memory for
// it.
//
// The caller may keep the message and its data.
func (r *Reader) Next() (*Message, error) {
	if r.err != nil {
		return nil, r.err
	}
	m, err := r.next()
	if err == nil {
		err = m.CheckSize(r.limit)
	}
	if err != nil {
		r.err = err
		r.shrink()
		r.msgs, r.slab, r.big, r.types = nil, nil, nil, nil
		return nil, err
	}
	return m, nil
}

// Buffered returns the number of bytes that were read from the stream and not yet
// returned as messages. If it is zero, the Reader is not within a frame. The stream may
// call it within Read.
func (r *Reader) Buffered() int {
	n := r.end - r.start
	if r.big != nil {
		n += 1 + len(r.big) // its length was read, in at least a byte
	}
	return n
}

func (r *Reader) next() (*Message, error) {
	for {
		head, size, err := r.length()
		if err != nil {
			return nil, err
		}
		switch {
		case head > 0 && head+size > readBuffer:
			return r.nextBig(head, size)
		case head > 0 && head+size <= r.end-r.start:
			frame := r.buf[r.start+head : r.start+head+size]
			m, err := r.decode(frame)
			r.start += head + size
			return m, err
		}
		if err := r.fill(head + size); err != nil {
			return nil, err
		}
	}
}

// length reads the length that precedes a frame from the buffer. head is the number of
// bytes that the length itself takes, or 0 if it is not complete yet.
func (r *Reader) length() (head, size int, err error) {
	b := r.buf[r.start:r.end]
	var v uint64
	for i, c := range b {
		if i == binary.MaxVarintLen32 {
			return 0, 0, fmt.Errorf("%w: the length of the frame is not a valid length", ErrMalformed)
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c >= 0x80 {
			continue
		}
		if most := uint64(r.limit) + Overhead; v > most {
			return 0, 0, fmt.Errorf("%w: a frame says it has %d bytes; the limit is %d", ErrTooLarge, v, most)
		}
		return i + 1, int(v), nil
	}
	return 0, 0, nil
}

// fill reads more into the buffer, and makes room for at least need bytes first.
func (r *Reader) fill(need int) error {
	if r.start == r.end && !r.filled {
		r.shrink()
		r.start, r.end = 0, 0
		r.msgs, r.slab = nil, nil
	}
	switch {
	case r.large == nil && (r.filled || need > idleBuffer):
		r.large = readBuffers.Get().(*[readBuffer]byte)
		r.end = copy(r.large[:], r.buf[r.start:r.end])
		r.start, r.buf = 0, r.large[:]
	case r.start > 0:
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	n, err := r.read(r.buf[r.end:])
	r.end += n
	r.filled = r.end == len(r.buf)
	return err
}

// read reads at least one byte, or fails.
func (r *Reader) read(b []byte) (int, error) {
	for range emptyReads {
		n, err := r.src.Read(b)
		switch {
		case n > 0:
			return n, nil // the stream returns an error again
		case errors.Is(err, io.EOF) && r.Buffered() > 0:
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// shrink returns the large buffer to the pool.
func (r *Reader) shrink() {
	if r.large != nil {
		readBuffers.Put(r.large)
		r.large, r.buf = nil, r.idle[:]
	}
}

// nextBig reads a frame into memory of its own, which grows as the data comes.
func (r *Reader) nextBig(head, size int) (*Message, error) {
	r.big = make([]byte, 0, min(size, bigStep))
	r.big = append(r.big, r.buf[r.start+head:r.end]...) // less than size, which is beyond the buffer
	r.start, r.end, r.filled = 0, 0, false
	r.shrink()
	for len(r.big) < size {
		if len(r.big) == cap(r.big) {
			r.big = append(make([]byte, 0, min(size, 2*cap(r.big))), r.big...)
		}
		n, err := r.read(r.big[len(r.big):cap(r.big)])
		if err != nil {
			return nil, err
		}
		r.big = r.big[:len(r.big)+n]
	}
	m := new(Message)
	err := m.Decode(r.big, r.intern)
	r.big = nil
	return m, err
}

// decode makes a message from a frame in the buffer.
func (r *Reader) decode(frame []byte) (*Message, error) {
	if len(frame) > slabData {
		m := new(Message)
		err := m.Decode(frame, r.intern)
		if m.Data != nil {
			m.Data = append(make([]byte, 0, len(m.Data)), m.Data...)
		}
		return m, err
	}
	waiting := r.end - r.start
	if len(r.msgs) == 0 {
		r.msgs = make([]Message, max(1, min(slabMessages, waiting/(len(frame)+1))))
	}
	m := &r.msgs[0]
	r.msgs = r.msgs[1:]
	if err := m.Decode(frame, r.intern); err != nil {
		return nil, err
	}
	if n := len(m.Data); n > 0 {
		if n > len(r.slab) {
			r.slab = make([]byte, max(n, min(slabBytes, waiting)))
		}
		copy(r.slab, m.Data)
		m.Data, r.slab = r.slab[:n:n], r.slab[n:]
	}
	return m, nil
}

func (r *Reader) intern(b []byte) string {
	if r.lastType == string(b) { // as most messages have the type of the one before
		return r.lastType
	}
	if s, ok := r.types[string(b)]; ok {
		r.lastType = s
		return s
	}
	s := string(b)
	if len(r.types) < internedTypes {
		if r.types == nil {
			r.types = make(map[string]string)
		}
		r.types[s] = s
	}
	return s
}
