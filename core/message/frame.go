package message

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// DefaultMaxFrame bounds an envelope on a link or in a broadcast, in bytes.
	DefaultMaxFrame = 1 << 20

	// readBuffer is what a Reader asks the stream for at once, in bytes. What
	// fits in it is decoded where it lies.
	readBuffer = 32 << 10

	// internedTypes bounds the types that a Reader keeps one string of. The
	// types come from the far side: those beyond are strings of their own.
	internedTypes = 256
)

// ErrTooLarge is wrapped by the error about an envelope beyond the limit.
var ErrTooLarge = errors.New("message is too large")

// AppendFrame appends the envelope with its length before it.
func (m *Message) AppendFrame(b []byte) []byte {
	return m.Append(protowire.AppendVarint(b, uint64(m.Size())))
}

// CheckSize is an ErrTooLarge if the envelope has more than limit bytes.
func (m *Message) CheckSize(limit int) error {
	if size := m.Size(); size > limit {
		return fmt.Errorf("%w: %q of %d bytes makes an envelope of %d; at most %d may be", ErrTooLarge, m.Type, len(m.Data), size, limit)
	}
	return nil
}

// Reader reads frames off a stream. It is for one goroutine.
type Reader struct {
	r     *bufio.Reader
	limit int
	types map[string]string
}

// NewReader makes a Reader of frames of at most limit bytes; if zero,
// DefaultMaxFrame.
func NewReader(r io.Reader, limit int) *Reader {
	if limit <= 0 {
		limit = DefaultMaxFrame
	}
	return &Reader{r: bufio.NewReaderSize(r, readBuffer), limit: limit, types: make(map[string]string)}
}

// Next reads the next message. It returns io.EOF where the stream ends between
// two frames, io.ErrUnexpectedEOF where it ends within one, errors that wrap
// ErrMalformed or ErrTooLarge, or what the stream fails with. A frame that says
// it is too large is refused before memory is taken for it.
//
// The message and its data are the caller's to keep.
func (r *Reader) Next() (*Message, error) {
	size, err := r.length()
	if err != nil {
		return nil, err
	}
	m := new(Message)
	if size > readBuffer {
		b := make([]byte, size)
		if _, err := io.ReadFull(r.r, b); err != nil {
			return nil, within(err)
		}
		return m, m.Decode(b, r.intern)
	}
	b, err := r.r.Peek(size)
	if err != nil {
		return nil, within(err)
	}
	if err := m.Decode(b, r.intern); err != nil {
		return nil, err
	}
	if m.Data != nil { // it lies in the buffer, which is used again
		m.Data = append(make([]byte, 0, len(m.Data)), m.Data...)
	}
	_, err = r.r.Discard(size)
	return m, err
}

// Buffered is how many bytes were read off the stream and not yet returned.
func (r *Reader) Buffered() int { return r.r.Buffered() }

func (r *Reader) length() (int, error) {
	var size uint64
	for shift := 0; ; shift += 7 {
		c, err := r.r.ReadByte()
		if err != nil {
			if shift > 0 {
				err = within(err)
			}
			return 0, err
		}
		if shift >= 7*(binary.MaxVarintLen32) {
			return 0, fmt.Errorf("%w: the length of the frame is no length", ErrMalformed)
		}
		size |= uint64(c&0x7f) << shift
		if c < 0x80 {
			break
		}
	}
	if size > uint64(r.limit) {
		return 0, fmt.Errorf("%w: a frame says it has %d bytes; at most %d may be", ErrTooLarge, size, r.limit)
	}
	return int(size), nil
}

func (r *Reader) intern(b []byte) string {
	if s, ok := r.types[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(r.types) < internedTypes {
		r.types[s] = s
	}
	return s
}

// within makes the end of a stream within a frame an error.
func within(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
