package reservation

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protowire"
)

// Fields that a Tombolo relay and its peers add to the messages of circuit relay v2's
// hop protocol. Other peers skip them, as protobuf has it.
const (
	// ReasonField is in a refusal: why, in words for a person (UTF-8).
	ReasonField protowire.Number = 1001
	// TokenField is in a request for a reservation: a token of the relay's operator.
	TokenField protowire.Number = 1002
	// LimitField is in a refusal: the name of the limit that was reached, such as
	// LimitDraining.
	LimitField protowire.Number = 1003
)

const (
	// MaxHopMessage bounds a message of the hop protocol, in bytes.
	MaxHopMessage = 4096
	maxReason     = 512 // bytes of a relay's reason that are taken
)

// LimitDraining is why a relay takes nobody new that is about to end.
const LimitDraining = "draining"

// RefusedError says that a relay has refused a reservation, or has ended one, and why. It
// wraps the status of circuit relay v2, or that the connection ended.
type RefusedError struct {
	Relay  peer.ID
	Limit  string // that was reached, as the relay names it; empty: it does not say
	Reason string // for a person
	Err    error
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("relay %s refuses the reservation: %s (%v)", e.Relay, e.Reason, e.Err)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// AppendHopField adds a field to a message of the hop protocol. The message has its
// length before it.
func AppendHopField(delimited []byte, num protowire.Number, value []byte) []byte {
	_, n := binary.Uvarint(delimited)
	if n <= 0 {
		return delimited
	}
	body := protowire.AppendTag(bytes.Clone(delimited[n:]), num, protowire.BytesType)
	body = protowire.AppendBytes(body, value)
	return append(binary.AppendUvarint(nil, uint64(len(body))), body...)
}

// HopField is the value of a field that AppendHopField has added; nil if there is none,
// or no message.
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

// hopStream is the stream of one request for a reservation: it adds the token, and
// remembers the answer.
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

// given is the text of a field that the relay has given, on one line; empty if it gave
// none.
func (s *hopStream) given(field protowire.Number) string {
	return printable(HopField(s.answer, field))
}

// printable is text that a relay has given, as far as it is taken, on one line.
func printable(given []byte) string {
	if len(given) > maxReason {
		given = given[:maxReason]
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(given), ""))
}
