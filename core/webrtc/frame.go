package webrtc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// A flag is a change of state that a frame signals for its stream. The numbers are the
// specification's.
type flag int8

const (
	flagNone        flag = -1
	flagFin         flag = 0 // no more data follows
	flagStopSending flag = 1 // no more data will be read
	flagReset       flag = 2 // the stream has ended in both directions
	flagFinAck      flag = 3 // all data before the FIN has arrived
)

// A frame is one of the length-prefixed messages that make up a stream. Field 3 is
// go-libp2p's. Field 16 is ours; it is sent only to ends that announced it, and other
// ends do not know it.
type frame struct {
	flag   flag
	data   []byte
	code   uint32 // of a flagReset or flagStopSending
	credit uint64 // further bytes of data that the remote end may send
}

const (
	fieldFlag   protowire.Number = 1
	fieldData   protowire.Number = 2
	fieldCode   protowire.Number = 3
	fieldCredit protowire.Number = 16
)

const (
	// frameOverhead is the largest overhead of a frame of data, in bytes.
	frameOverhead = 2 * (1 + binary.MaxVarintLen32)
	// maxFrame bounds a frame that is accepted: 256 KiB, the most that go-libp2p and
	// browsers send.
	maxFrame = 256 << 10
)

// errFrame is wrapped by the errors of frames that cannot be decoded.
var errFrame = errors.New("the peer sent a frame that cannot be read")

// append appends the frame with its length.
func (f frame) append(b []byte) []byte {
	size := 0
	if f.flag != flagNone {
		size += protowire.SizeTag(fieldFlag) + protowire.SizeVarint(uint64(f.flag))
	}
	if len(f.data) > 0 {
		size += protowire.SizeTag(fieldData) + protowire.SizeBytes(len(f.data))
	}
	if f.code != 0 {
		size += protowire.SizeTag(fieldCode) + protowire.SizeVarint(uint64(f.code))
	}
	if f.credit != 0 {
		size += protowire.SizeTag(fieldCredit) + protowire.SizeVarint(f.credit)
	}
	b = protowire.AppendVarint(b, uint64(size))
	if f.flag != flagNone {
		b = appendUint(b, fieldFlag, uint64(f.flag))
	}
	if len(f.data) > 0 {
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldData, protowire.BytesType), f.data)
	}
	if f.code != 0 {
		b = appendUint(b, fieldCode, uint64(f.code))
	}
	if f.credit != 0 {
		b = appendUint(b, fieldCredit, f.credit)
	}
	return b
}

func appendUint(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

// parseFrame decodes a frame without its length. Its data is part of b.
func parseFrame(b []byte) (frame, error) {
	f := frame{flag: flagNone}
	err := fields(b, func(n protowire.Number, v uint64, data []byte) {
		switch {
		case n == fieldFlag && data == nil:
			f.flag = flagNone
			if v <= uint64(flagFinAck) {
				f.flag = flag(v)
			}
		case n == fieldData && data != nil:
			f.data = data
		case n == fieldCode && data == nil:
			f.code = uint32(v)
		case n == fieldCredit && data == nil:
			f.credit = v
		}
	})
	if err != nil {
		return frame{}, fmt.Errorf("%w: %w", errFrame, err)
	}
	return f, nil
}

// fields calls f for each field of a protobuf message that is a number, with data nil, or
// bytes, with data not nil. It skips fields of other types.
func fields(b []byte, f func(n protowire.Number, v uint64, data []byte)) error {
	for len(b) > 0 {
		num, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		switch typ {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if size = n; n >= 0 {
				f(num, v, nil)
			}
		case protowire.BytesType:
			data, n := protowire.ConsumeBytes(b)
			if size = n; n >= 0 {
				f(num, 0, data[:len(data):len(data)])
			}
		default:
			size = protowire.ConsumeFieldValue(num, typ, b)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
	}
	return nil
}

// A decoder reads the messages of a channel as a byte stream: a frame may span several
// messages, and a message may contain several frames.
type decoder struct{ rest []byte }

// feed passes every complete frame to f; the frame's data is valid during the call. It
// buffers at most one frame, of at most maxFrame bytes. It must not be called again after
// an error, which is f's or wraps errFrame.
func (d *decoder) feed(b []byte, f func(frame) error) error {
	kept := len(d.rest) > 0
	if kept {
		d.rest = append(d.rest, b...)
		b = d.rest
	}
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n < 0 || n == 0 && len(b) >= binary.MaxVarintLen64 {
			return fmt.Errorf("%w: its length is not a number", errFrame)
		}
		if size > maxFrame {
			return fmt.Errorf("%w: it has %d bytes, and at most %d are taken", errFrame, size, maxFrame)
		}
		if n == 0 || len(b)-n < int(size) {
			break
		}
		whole, err := parseFrame(b[n : n+int(size)])
		if err == nil {
			err = f(whole)
		}
		if err != nil {
			return err
		}
		b = b[n+int(size):]
	}
	switch {
	case len(b) == 0:
		d.rest = nil
	case kept:
		d.rest = d.rest[:copy(d.rest, b)]
	default:
		d.rest = append([]byte(nil), b...)
	}
	return nil
}
