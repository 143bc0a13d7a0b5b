// Package message defines the messages that peers exchange: the message, its envelope on
// the wire, the framing of a stream of envelopes, and the limits on both.
//
// The same envelope is a frame on a link (/tombolo/msg/2.0.0, each preceded by
// its length as an unsigned varint) and the data of a GossipSub message.
package message

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Kind says what a message is for.
type Kind uint8

const (
	// Event is for the subscribers of its type.
	Event Kind = iota
	// Request asks for one Reply or Error that carries its ID.
	Request
	// Reply answers a Request.
	Reply
	// Error answers a Request that failed; Data is the text of the error.
	Error
	// Cancel withdraws the Request whose ID it carries.
	Cancel
	// Who asks the subscribers of a type to answer with Here; if Data is a peer ID,
	// it asks that peer alone.
	Who
	// Here says that its sender is subscribed to a type. If it answers a Who about the
	// sender alone, Data is the sender's ID.
	Here
	// Gone says that its sender is no longer subscribed to a type.
	Gone

	kinds = iota
)

func (k Kind) String() string {
	names := [kinds]string{"event", "request", "reply", "error", "cancel", "who", "here", "gone"}
	if int(k) >= len(names) {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return names[k]
}

// Code is the kind of failure that an Error reports. Codes of a later version read as
// values that have no name here.
type Code uint8

const (
	// Failed says that the handler returned an error.
	Failed Code = iota
	// Unanswered says that nobody answers requests of that type.
	Unanswered
	// Busy says that too many requests were being answered already.
	Busy
	// Overdue says that the request's time ended before its handler did.
	Overdue
	// Panicked says that the handler crashed.
	Panicked
)

// ID identifies a message among those of the same sender and type. Within an epoch, Seq
// counts up. Epoch is the time at which the sender began to count, in microseconds since
// 1970, so a later epoch is larger.
type ID struct {
	Epoch uint64
	Seq   uint64
}

func (id ID) String() string { return fmt.Sprintf("%d.%d", id.Epoch, id.Seq) }

// Compare orders the IDs of one sender and type by the time at which they were assigned.
func (id ID) Compare(other ID) int {
	switch {
	case id.Epoch != other.Epoch && id.Epoch < other.Epoch, id.Epoch == other.Epoch && id.Seq < other.Seq:
		return -1
	case id == other:
		return 0
	}
	return 1
}

// Message is one message, received or to be sent. Once it is published or queued, all its
// readers share it, and it must not be changed.
type Message struct {
	// From is the peer that made the message: the far end of the link, or the signer of a
	// broadcast. It does not travel in the envelope.
	From peer.ID
	// Via is the peer that handed a broadcast to this node. For other messages, it is
	// From.
	Via peer.ID
	// ID, Type, Kind, Code, Data and Timeout are the envelope. An empty Data is nil when read.
	ID   ID
	Type string
	Kind Kind
	Code Code // of an Error
	Data []byte
	// Timeout is how long the sender of a Request waits. It travels in milliseconds. Zero
	// means that the sender did not say.
	Timeout time.Duration
	// Broadcast is set on messages that came through the mesh.
	Broadcast bool
	// Replayed is set on broadcasts that came from a peer's history.
	Replayed bool
}

const (
	// MaxType bounds the type of a message, in bytes.
	MaxType = 128
	// Reserved is the prefix of the types that are Tombolo's own.
	Reserved = "tombolo/"
)

// ErrType is wrapped by the errors of CheckType and CheckPattern.
var ErrType = errors.New("bad message type")

// CheckType returns an error unless t is a valid type for the messages of applications:
// UTF-8 of 1 to 128 bytes that does not begin with "tombolo/". It may not end in "/*",
// because it is not a pattern; elsewhere, "*" has no special meaning.
func CheckType(t string) error {
	switch {
	case t == "":
		return fmt.Errorf("%w: it is empty", ErrType)
	case len(t) > MaxType:
		return fmt.Errorf("%w: %.20q… has %d bytes; at most %d may be", ErrType, t, len(t), MaxType)
	case !utf8.ValidString(t):
		return fmt.Errorf("%w: %q is not UTF-8", ErrType, t)
	case strings.HasPrefix(t, Reserved):
		return fmt.Errorf("%w: %q begins with %q, which is Tombolo's own", ErrType, t, Reserved)
	case strings.HasSuffix(t, "/*"):
		return fmt.Errorf("%w: %q is a pattern; a message has one type", ErrType, t)
	}
	return nil
}

// CheckPattern returns an error unless p is something that a subscription may name: a
// type, or a prefix ending in "/*", which stands for all types that begin with the part
// before the star. For a prefix, it returns that part, including the slash.
func CheckPattern(p string) (prefix string, isPrefix bool, err error) {
	prefix, isPrefix = strings.CutSuffix(p, "*")
	if !isPrefix || !strings.HasSuffix(prefix, "/") {
		return "", false, CheckType(p)
	}
	if prefix == "/" {
		return "", false, fmt.Errorf("%w: the pattern %q has nothing before its slash", ErrType, p)
	}
	if strings.HasPrefix(prefix, Reserved) {
		return "", false, fmt.Errorf("%w: the pattern %q names types that are Tombolo's own", ErrType, p)
	}
	if err := CheckType(strings.TrimSuffix(prefix, "/")); err != nil {
		return "", false, err
	}
	return prefix, true, nil
}
