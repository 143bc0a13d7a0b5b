package replay

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tombolo-net/tombolo/core/message"
)

// errMalformed is wrapped by the errors about bytes that are not what replay.proto
// describes.
var errMalformed = errors.New("malformed")

const (
	// maxPublishers bounds the publishers of a history, and so those in one Ask or
	// answer.
	maxPublishers = 4096
	// maxPublisherID bounds a peer ID, in bytes. The ID of a key has 34 to 42.
	maxPublisherID = 64
	// maxCount bounds the entries of a history, and so the ranges of them in an answer.
	maxCount = 1 << 17
)

// wireAsk is the Ask of replay.proto.
type wireAsk struct {
	typ      string
	have     []Cursor
	messages uint64
	bytes    uint64
	age      time.Duration
	entry    uint64
}

// wireFrame is a Frame: exactly one field is set.
type wireFrame struct {
	entry *wireEntry
	known *Known
	end   *wireEnd
}

type wireEntry struct {
	signed []byte
	age    time.Duration
}

type status uint64

const (
	answered status = iota
	busy
	noHistory
	badAsk
)

type wireEnd struct {
	status     status
	more       bool
	forgotten  uint64
	retryAfter time.Duration
}

func appendNumber(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

func appendString(b []byte, num protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
}

// millis rounds up, so that a short duration does not become zero.
func millis(d time.Duration) uint64 {
	if d <= 0 {
		return 0
	}
	return uint64((d-1)/time.Millisecond) + 1
}

func fromMillis(ms uint64) time.Duration {
	return time.Duration(min(ms, math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}

func appendRanges(b []byte, num protowire.Number, set Ranges) []byte {
	if len(set) == 0 {
		return b
	}
	var packed []byte
	last := uint64(0)
	for _, r := range set {
		packed = protowire.AppendVarint(packed, r.From-last)
		packed = protowire.AppendVarint(packed, r.To-r.From)
		last = r.To
	}
	return appendBytes(b, num, packed)
}

func (a *wireAsk) append(b []byte) []byte {
	b = appendString(b, 1, a.typ)
	for _, c := range a.have {
		b = appendBytes(b, 2, c.append(nil))
	}
	b = appendNumber(b, 3, a.messages)
	b = appendNumber(b, 4, a.bytes)
	b = appendNumber(b, 5, millis(a.age))
	return appendNumber(b, 6, a.entry)
}

func (c *Cursor) append(b []byte) []byte {
	b = appendString(b, 1, string(c.Publisher))
	b = appendNumber(b, 2, c.Floor)
	for _, e := range c.Epochs {
		b = appendBytes(b, 3, appendRanges(appendNumber(nil, 1, e.Epoch), 2, e.Had))
	}
	return b
}

func (f *wireFrame) append(b []byte) []byte {
	switch {
	case f.entry != nil:
		return appendBytes(b, 1, appendNumber(appendBytes(nil, 1, f.entry.signed), 2, millis(f.entry.age)))
	case f.known != nil:
		return appendBytes(b, 2, f.known.append(nil))
	}
	e := appendNumber(nil, 1, uint64(f.end.status))
	if f.end.more {
		e = appendNumber(e, 2, 1)
	}
	e = appendNumber(e, 3, f.end.forgotten)
	return appendBytes(b, 3, appendNumber(e, 4, millis(f.end.retryAfter)))
}

func (k *Known) append(b []byte) []byte {
	b = appendString(b, 1, string(k.Publisher))
	b = appendNumber(b, 2, k.Old.Epoch)
	b = appendNumber(b, 3, k.Old.Seq)
	for _, e := range k.Epochs {
		b = appendBytes(b, 4, appendRanges(appendNumber(appendNumber(nil, 1, e.Epoch), 2, e.High), 3, e.Held))
	}
	return b
}

// field is one field of a message on the wire.
type field struct {
	num    protowire.Number
	typ    protowire.Type
	number uint64
	data   []byte
}

// fields calls f with each field that has a number or bytes, and skips the others.
func fields(b []byte, f func(field) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
		}
		b = b[n:]
		x := field{num: num, typ: typ}
		switch typ {
		case protowire.VarintType:
			x.number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			x.data, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return fmt.Errorf("%w: field %d: %w", errMalformed, num, protowire.ParseError(n))
		}
		b = b[n:]
		if err := f(x); err != nil {
			return err
		}
	}
	return nil
}

// want checks the wire type of a known field.
func (x field) want(typ protowire.Type) error {
	if x.typ != typ {
		return fmt.Errorf("%w: field %d has wire type %d", errMalformed, x.num, x.typ)
	}
	return nil
}

// numbers and messages decode the known fields of a message. They map the number of a
// field to its destination, or to the function that decodes it.
type (
	numbers  map[protowire.Number]*uint64
	messages map[protowire.Number]func([]byte) error
)

func decode(b []byte, ns numbers, ms messages) error {
	return fields(b, func(x field) error {
		if to, ok := ns[x.num]; ok {
			*to = x.number
			return x.want(protowire.VarintType)
		}
		if f, ok := ms[x.num]; ok {
			if err := x.want(protowire.BytesType); err != nil {
				return err
			}
			return f(x.data)
		}
		return nil
	})
}

func decodeAsk(b []byte) (*wireAsk, error) {
	a := new(wireAsk)
	var age uint64
	seen := make(map[peer.ID]bool)
	err := decode(b, numbers{3: &a.messages, 4: &a.bytes, 5: &age, 6: &a.entry}, messages{
		1: func(v []byte) error {
			if len(v) > message.MaxType {
				return fmt.Errorf("%w: the type has %d bytes; at most %d may be", errMalformed, len(v), message.MaxType)
			}
			a.typ = string(v)
			return nil
		},
		2: func(v []byte) error {
			c, err := decodeCursor(v)
			if err != nil {
				return err
			}
			if len(a.have) == maxPublishers {
				return fmt.Errorf("%w: more than %d publishers", errMalformed, maxPublishers)
			}
			if seen[c.Publisher] {
				return fmt.Errorf("%w: %s comes twice", errMalformed, c.Publisher)
			}
			seen[c.Publisher] = true
			a.have = append(a.have, c)
			return nil
		},
	})
	a.age = fromMillis(age)
	return a, err
}

func decodePublisher(to *peer.ID) func([]byte) error {
	return func(v []byte) (err error) {
		if *to, err = peer.IDFromBytes(v); err != nil {
			return fmt.Errorf("%w: publisher: %w", errMalformed, err)
		}
		if len(v) > maxPublisherID {
			return fmt.Errorf("%w: a publisher's ID of %d bytes; at most %d may be", errMalformed, len(v), maxPublisherID)
		}
		return nil
	}
}

func decodeCursor(b []byte) (c Cursor, err error) {
	err = decode(b, numbers{2: &c.Floor}, messages{
		1: decodePublisher(&c.Publisher),
		3: func(v []byte) error {
			var e EpochCursor
			if err := decode(v, numbers{1: &e.Epoch}, messages{2: decodeRanges(&e.Had, MaxRanges)}); err != nil {
				return err
			}
			if len(c.Epochs) == MaxEpochs {
				return fmt.Errorf("%w: more than %d epochs", errMalformed, MaxEpochs)
			}
			c.Epochs = append(c.Epochs, e)
			return nil
		},
	})
	last := c.Floor
	for _, e := range c.Epochs {
		if e.Epoch <= last && err == nil {
			err = fmt.Errorf("%w: the epochs are not in order", errMalformed)
		}
		last = e.Epoch
	}
	if c.Publisher == "" && err == nil {
		err = fmt.Errorf("%w: a cursor of nobody", errMalformed)
	}
	return c, err
}

// decodeRanges decodes a set of at most limit ranges.
func decodeRanges(to *Ranges, limit int) func([]byte) error {
	return func(b []byte) error {
		*to = nil
		last := uint64(0)
		for len(b) > 0 {
			skip, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return fmt.Errorf("%w: set: %w", errMalformed, protowire.ParseError(n))
			}
			length, m := protowire.ConsumeVarint(b[n:])
			if m < 0 {
				return fmt.Errorf("%w: set: %w", errMalformed, protowire.ParseError(m))
			}
			b = b[n+m:]
			switch {
			case skip == 0, skip == 1 && last != 0, skip > math.MaxUint64-last, length > math.MaxUint64-last-skip:
				return fmt.Errorf("%w: a set out of order", errMalformed)
			case len(*to) == limit:
				return fmt.Errorf("%w: a set of more than %d ranges", errMalformed, limit)
			}
			r := Range{From: last + skip, To: last + skip + length}
			*to = append(*to, r)
			last = r.To
		}
		return nil
	}
}

func decodeFrame(b []byte) (f wireFrame, err error) {
	err = decode(b, nil, messages{
		1: func(v []byte) error {
			f = wireFrame{entry: new(wireEntry)}
			var age uint64
			err := decode(v, numbers{2: &age}, messages{1: func(v []byte) error {
				f.entry.signed = v
				return nil
			}})
			f.entry.age = fromMillis(age)
			return err
		},
		2: func(v []byte) (err error) {
			f = wireFrame{known: new(Known)}
			return decodeKnown(v, f.known)
		},
		3: func(v []byte) error {
			f = wireFrame{end: new(wireEnd)}
			var state, more, retry uint64
			err := decode(v, numbers{1: &state, 2: &more, 3: &f.end.forgotten, 4: &retry}, nil)
			f.end.status, f.end.more, f.end.retryAfter = status(state), more != 0, fromMillis(retry)
			return err
		},
	})
	if err == nil && f == (wireFrame{}) {
		err = fmt.Errorf("%w: an empty frame", errMalformed)
	}
	return f, err
}

// decodeKnown also checks that what the peer says is possible.
func decodeKnown(b []byte, k *Known) error {
	err := decode(b, numbers{2: &k.Old.Epoch, 3: &k.Old.Seq}, messages{
		1: decodePublisher(&k.Publisher),
		4: func(v []byte) error {
			var e EpochKnown
			if err := decode(v, numbers{1: &e.Epoch, 2: &e.High}, messages{3: decodeRanges(&e.Held, maxCount)}); err != nil {
				return err
			}
			if len(k.Epochs) == MaxEpochs {
				return fmt.Errorf("%w: more than %d epochs", errMalformed, MaxEpochs)
			}
			k.Epochs = append(k.Epochs, e)
			return nil
		},
	})
	if err != nil {
		return err
	}
	if k.Publisher == "" {
		return fmt.Errorf("%w: knowledge of nobody", errMalformed)
	}
	last, oldFits := uint64(0), k.Old == message.ID{}
	for _, e := range k.Epochs {
		switch {
		case e.Epoch <= last:
			return fmt.Errorf("%w: the epochs are not in order", errMalformed)
		case e.Held.Last() > e.High:
			return fmt.Errorf("%w: number %d is held, and %d is the highest", errMalformed, e.Held.Last(), e.High)
		}
		oldFits = oldFits || e.Epoch == k.Old.Epoch && k.Old.Seq <= e.High
		last = e.Epoch
	}
	if !oldFits {
		return fmt.Errorf("%w: %s is old, and beyond what is known", errMalformed, k.Old)
	}
	return nil
}

// appendFrame appends a message, preceded by its length.
func appendFrame(b, message []byte) []byte {
	return append(protowire.AppendVarint(b, uint64(len(message))), message...)
}

// readFrame reads a message of at most limit bytes. It allocates memory only after it has
// checked the length.
func readFrame(r *bufio.Reader, limit int) ([]byte, error) {
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if size > uint64(limit) {
		return nil, fmt.Errorf("%w: a frame says it has %d bytes; at most %d may be", message.ErrTooLarge, size, limit)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}
