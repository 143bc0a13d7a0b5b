package reservation

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tombolo-net/tombolo/core/internal/told"
)

// Fields that a Tombolo relay and its peers add to the messages of circuit relay v2's hop
// protocol. Other peers skip them, as protobuf requires of unknown fields.
const (
	// ReasonField is in a refusal: the reason, for a person to read (UTF-8).
	ReasonField protowire.Number = 1001
	// TokenField is in a request for a reservation: a token from the relay's operator.
	TokenField protowire.Number = 1002
	// LimitField is in a refusal: the name of the limit that was reached, for example
	// LimitDraining.
	LimitField protowire.Number = 1003
)

const (
	// MaxHopMessage bounds a message of the hop protocol, in bytes.
	MaxHopMessage = 4096
	maxReason     = 512 // bytes that are taken of a relay's reason
)

// LimitDraining is the limit that a relay names when it accepts no new peers because it
// is about to shut down.
const LimitDraining = "draining"

// RefusedError is returned if a relay has refused a reservation, or has ended one, and
// has given a reason. It wraps the status of circuit relay v2, or the error that the
// connection ended.
type RefusedError struct {
	Relay  peer.ID
	Limit  string // the limit that was reached, as the relay names it; empty if not given
	Reason string // for a person
	Err    error
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("relay %s refuses the reservation: %s (%v)", e.Relay, e.Reason, e.Err)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// AppendHopField adds a field to a length-prefixed message of the hop protocol.
func AppendHopField(delimited []byte, num protowire.Number, value []byte) []byte {
	_, n := binary.Uvarint(delimited)
	if n <= 0 {
		return delimited
	}
	body := protowire.AppendTag(bytes.Clone(delimited[n:]), num, protowire.BytesType)
	body = protowire.AppendBytes(body, value)
	return append(binary.AppendUvarint(nil, uint64(len(body))), body...)
}

// HopField returns the value of a field added by AppendHopField; nil if the message does
// not have the field or is malformed.
func HopField(delimited []byte, num protowire.Number) []byte {
	size, n := binary.Uvarint(delimited)
	if n <= 0 || uint64(len(delimited)-n) < size {
		return nil
	}
	for body := delimited[n : n+int(size)]; len(body) > 0; {
		got, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return nil
		}
		body = body[n:]
		if got == num && kind == protowire.BytesType {
			v, n := protowire.ConsumeBytes(body)
			if n < 0 {
				return nil
			}
			return v
		}
		if n = protowire.ConsumeFieldValue(got, kind, body); n < 0 {
			return nil
		}
		body = body[n:]
	}
	return nil
}

// hopStream is the stream of one request for a reservation. It adds the token and keeps
// the answer.
type hopStream struct {
	network.Stream
	token  string
	answer []byte
}

func (s *hopStream) Write(p []byte) (int, error) {
	if s.token == "" {
		return s.Stream.Write(p)
	}
	_, err := s.Stream.Write(AppendHopField(p, TokenField, []byte(s.token)))
	s.token = ""
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *hopStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if room := MaxHopMessage - len(s.answer); room > 0 {
		s.answer = append(s.answer, p[:min(n, room)]...)
	}
	return n, err
}

// given returns the text of a field in the relay's answer, on one line; empty if the
// answer does not have it.
func (s *hopStream) given(field protowire.Number) string {
	return told.Line(string(HopField(s.answer, field)), maxReason)
}
