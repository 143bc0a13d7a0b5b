package webrtc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// The kinds of a signalling message. The numbers are the specification's.
const (
	kindOffer     = 0
	kindAnswer    = 1
	kindCandidate = 2
)

// A signal is a message of the protocol /webrtc-signaling/0.0.1. Fields 16 and 17 are
// ours, are sent with the offer and the answer, and are unknown to other implementations.
// They apply only if both ends send them.
type signal struct {
	kind uint64
	data string // SDP, or a candidate as JSON

	window  uint64 // how much data of a stream may be unread at this end, in bytes; 0 if not given
	message uint64 // the largest message that this end accepts, in bytes; 0 if not given
}

const (
	fieldKind    protowire.Number = 1
	fieldText    protowire.Number = 2
	fieldWindow  protowire.Number = 16
	fieldMessage protowire.Number = 17
)

const (
	// maxSignal bounds a signalling message. The SDP of data channels has about 1 KiB.
	maxSignal = 16 << 10
	// maxSignals bounds the messages of one end, all but one of which are candidates.
	maxSignals = 100
)

var errSignal = errors.New("the peer sent a signalling message that cannot be read")

// append appends the message with its length. It writes the kind even if it is 0, because
// js-libp2p otherwise refuses the offer.
func (s signal) append(b []byte) []byte {
	body := appendUint(nil, fieldKind, s.kind)
	body = protowire.AppendString(protowire.AppendTag(body, fieldText, protowire.BytesType), s.data)
	if s.window != 0 {
		body = appendUint(body, fieldWindow, s.window)
	}
	if s.message != 0 {
		body = appendUint(body, fieldMessage, s.message)
	}
	return protowire.AppendBytes(b, body)
}

// readSignal reads a message with its length. At the end of the stream it returns io.EOF.
func readSignal(r *bufio.Reader) (signal, error) {
	if _, err := r.Peek(1); err != nil {
		return signal{}, err
	}
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return signal{}, fmt.Errorf("%w: its length: %w", errSignal, err)
	}
	if size > maxSignal {
		return signal{}, fmt.Errorf("%w: it has %d bytes, and at most %d are taken", errSignal, size, maxSignal)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return signal{}, err
	}
	var s signal
	err = fields(body, func(n protowire.Number, v uint64, data []byte) {
		switch {
		case n == fieldKind && data == nil:
			s.kind = v
		case n == fieldText && data != nil:
			s.data = string(data)
		case n == fieldWindow && data == nil:
			s.window = v
		case n == fieldMessage && data == nil:
			s.message = v
		}
	})
	if err != nil {
		return signal{}, fmt.Errorf("%w: %w", errSignal, err)
	}
	return s, nil
}
