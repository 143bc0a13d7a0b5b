package message

import (
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of the envelope; see envelope.proto, which says what each means.
const (
	fieldSeq     protowire.Number = 1
	fieldType    protowire.Number = 2
	fieldKind    protowire.Number = 3
	fieldData    protowire.Number = 4
	fieldEpoch   protowire.Number = 5
	fieldTimeout protowire.Number = 6
	fieldCode    protowire.Number = 7
	fieldLast                     = fieldCode
)

// ErrMalformed is wrapped by the errors about bytes that are not a valid envelope.
var ErrMalformed = errors.New("malformed envelope")

// maxTimeout is the longest timeout that fits a time.Duration, in milliseconds.
const maxTimeout = math.MaxInt64 / uint64(time.Millisecond)

// Size returns the number of bytes that Append appends.
func (m *Message) Size() int {
	n := 0
	if m.ID.Seq != 0 {
		n += 1 + protowire.SizeVarint(m.ID.Seq)
	}
	if m.Type != "" {
		n += 1 + protowire.SizeBytes(len(m.Type))
	}
	if m.Kind != Event {
		n += 1 + protowire.SizeVarint(uint64(m.Kind))
	}
	if len(m.Data) != 0 {
		n += 1 + protowire.SizeBytes(len(m.Data))
	}
	if m.ID.Epoch != 0 {
		n += 1 + protowire.SizeVarint(m.ID.Epoch)
	}
	if ms := m.timeoutMillis(); ms != 0 {
		n += 1 + protowire.SizeVarint(ms)
	}
	if m.Code != 0 {
		n += 1 + protowire.SizeVarint(uint64(m.Code))
	}
	return n
}

// Append appends the envelope to b.
func (m *Message) Append(b []byte) []byte {
	if m.ID.Seq != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, fieldSeq, protowire.VarintType), m.ID.Seq)
	}
	if m.Type != "" {
		b = protowire.AppendString(protowire.AppendTag(b, fieldType, protowire.BytesType), m.Type)
	}
	if m.Kind != Event {
		b = protowire.AppendVarint(protowire.AppendTag(b, fieldKind, protowire.VarintType), uint64(m.Kind))
	}
	if len(m.Data) != 0 {
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldData, protowire.BytesType), m.Data)
	}
	if m.ID.Epoch != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, fieldEpoch, protowire.VarintType), m.ID.Epoch)
	}
	if ms := m.timeoutMillis(); ms != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, fieldTimeout, protowire.VarintType), ms)
	}
	if m.Code != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, fieldCode, protowire.VarintType), uint64(m.Code))
	}
	return b
}

// timeoutMillis rounds up, so that a short timeout does not become zero.
func (m *Message) timeoutMillis() uint64 {
	if m.Timeout <= 0 {
		return 0
	}
	return uint64((m.Timeout-1)/time.Millisecond) + 1
}

// Decode sets the fields of the envelope from b and leaves the others. Data refers to b.
// Type is the result of intern, or a new string if intern is nil. The error wraps
// ErrMalformed; m is then partly set.
func (m *Message) Decode(b []byte, intern func([]byte) string) error {
	m.ID, m.Type, m.Kind, m.Code, m.Data, m.Timeout = ID{}, "", Event, 0, nil, 0
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(n))
		}
		b = b[n:]
		switch {
		case typ == protowire.VarintType && num != fieldType && num != fieldData && num <= fieldLast:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return fmt.Errorf("%w: field %d: %w", ErrMalformed, num, protowire.ParseError(n))
			}
			b = b[n:]
			if err := m.setNumber(num, v); err != nil {
				return err
			}
		case typ == protowire.BytesType && (num == fieldType || num == fieldData):
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return fmt.Errorf("%w: field %d: %w", ErrMalformed, num, protowire.ParseError(n))
			}
			b = b[n:]
			if err := m.setBytes(num, v, intern); err != nil {
				return err
			}
		case num <= fieldLast:
			return fmt.Errorf("%w: field %d has wire type %d", ErrMalformed, num, typ)
		default: // of a later version
			n := protowire.ConsumeFieldValue(num, typ, b)
			if n < 0 {
				return fmt.Errorf("%w: field %d: %w", ErrMalformed, num, protowire.ParseError(n))
			}
			b = b[n:]
		}
	}
	return nil
}

func (m *Message) setNumber(num protowire.Number, v uint64) error {
	switch num {
	case fieldSeq:
		m.ID.Seq = v
	case fieldEpoch:
		m.ID.Epoch = v
	case fieldKind:
		if v >= kinds {
			return fmt.Errorf("%w: kind %d is not known", ErrMalformed, v)
		}
		m.Kind = Kind(v)
	case fieldTimeout:
		m.Timeout = time.Duration(min(v, maxTimeout)) * time.Millisecond
	case fieldCode:
		m.Code = Code(min(v, math.MaxUint8)) // codes of a later version have no name here anyway
	}
	return nil
}

func (m *Message) setBytes(num protowire.Number, v []byte, intern func([]byte) string) error {
	switch {
	case num == fieldData && len(v) == 0:
		m.Data = nil
	case num == fieldData:
		m.Data = v
	case len(v) > MaxType:
		return fmt.Errorf("%w: the type has %d bytes; at most %d may be", ErrMalformed, len(v), MaxType)
	case !utf8.Valid(v):
		return fmt.Errorf("%w: the type is not UTF-8", ErrMalformed)
	case intern != nil:
		m.Type = intern(v)
	default:
		m.Type = string(v)
	}
	return nil
}
