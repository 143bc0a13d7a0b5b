package wire

import (
	"encoding/binary"

	"github.com/libp2p/go-libp2p/core/peer"
)

// WalkProtocol is the protocol over which the host of a room hands a player over to the
// host of another one. It opens a stream for each walk, and sends [Arrival]. The other
// host answers [Arrived], or an Out that refuses the player, and sends Arrived once more
// when the player has its seat there. The first host then sends the result: [Decided].
//
// The player's peer is sent to the room by [Way]. It opens a stream to the other room,
// sends Hello and [Arrive], and informs the first host whether the player is gone or
// stays: [Parted].
const WalkProtocol = "/tombolo/room-walk/1.0.0"

// MaxWalkState bounds the state that a player takes to another room, in bytes.
const MaxWalkState = 4 << 10

// The kinds of messages on the stream of a walk.
const (
	KindArrival Kind = iota + 129
	KindArrived
	KindDecided
)

// A Direction is the purpose of a Way.
type Direction byte

const (
	Near Direction = iota + 1 // the player may soon go there
	Go                        // the player is expected there
	Stay                      // the player must no longer go
	endOfDirections
)

// Way names the room to which a player moves. It is sent to the player's peer.
type Way struct {
	Seat      uint32
	Walk      uint32 // distinguishes it from earlier walks; zero with Near
	Direction Direction
	Room      string  // empty with Stay
	Host      peer.ID // empty with Stay
}

// Arrive asks for the seat of a player that walks, in place of a Join.
type Arrive struct{ Seat, Program, Walk uint32 }

// Parted informs the host that the player left whether the player is gone, or why it
// stays.
type Parted struct {
	Seat, Walk uint32
	Gone       bool
	Reason     string
}

// Arrival announces a player that walks to a room.
type Arrival struct {
	Room    string
	Version string // of the game
	From    string // the room that the player leaves
	Player  peer.ID
	Seat    uint32
	Program uint32
	Walk    uint32
	Seq     uint32 // the last input that was taken
	State   []byte // for the game there
}

// Arrived answers an Arrival: the player is expected or, if Seated, has its seat.
type Arrived struct{ Seated bool }

// Decided ends a walk: the player is gone, or stays where it was.
type Decided struct{ Gone bool }

// AppendWay appends the message.
func AppendWay(dst []byte, w Way) []byte {
	n := size(w.Seat) + size(w.Walk) + 1
	if w.Direction != Stay {
		n += sizeBytes(w.Room) + sizeBytes(string(w.Host))
	}
	dst = begin(dst, KindWay, n)
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(w.Seat)), uint64(w.Walk))
	if dst = append(dst, byte(w.Direction)); w.Direction != Stay {
		dst = appendBytes(appendBytes(dst, w.Room), string(w.Host))
	}
	return dst
}

// AppendArrive appends the message.
func AppendArrive(dst []byte, a Arrive) []byte {
	dst = begin(dst, KindArrive, size(a.Seat)+size(a.Program)+size(a.Walk))
	return appendNumbers(dst, a.Seat, a.Program, a.Walk)
}

// AppendParted appends the message. It cuts the reason off after MaxReason bytes.
func AppendParted(dst []byte, w Parted) []byte {
	reason := w.Reason[:min(len(w.Reason), MaxReason)]
	dst = appendNumbers(begin(dst, KindParted, size(w.Seat)+size(w.Walk)+1+len(reason)), w.Seat, w.Walk)
	return append(appendBool(dst, w.Gone), reason...)
}

// AppendArrival appends the message.
func AppendArrival(dst []byte, a Arrival) []byte {
	n := sizeBytes(a.Room) + sizeBytes(a.Version) + sizeBytes(a.From) + sizeBytes(string(a.Player))
	dst = begin(dst, KindArrival, n+size(a.Seat)+size(a.Program)+size(a.Walk)+size(a.Seq)+len(a.State))
	for _, s := range [...]string{a.Room, a.Version, a.From, string(a.Player)} {
		dst = appendBytes(dst, s)
	}
	return append(appendNumbers(dst, a.Seat, a.Program, a.Walk, a.Seq), a.State...)
}

// AppendArrived appends the message.
func AppendArrived(dst []byte, a Arrived) []byte {
	return appendBool(begin(dst, KindArrived, 1), a.Seated)
}

// AppendDecided appends the message.
func AppendDecided(dst []byte, s Decided) []byte {
	return appendBool(begin(dst, KindDecided, 1), s.Gone)
}

func appendNumbers(dst []byte, numbers ...uint32) []byte {
	for _, n := range numbers {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return dst
}

// DecodeWay decodes what follows the kind.
func DecodeWay(body []byte) (w Way, err error) {
	d := decoder{rest: body}
	w = Way{Seat: d.number(), Walk: d.number(), Direction: Direction(d.byte())}
	switch {
	case w.Direction == 0 || w.Direction >= endOfDirections:
		d.fail("direction %d", w.Direction)
	case w.Direction != Stay:
		w.Room, w.Host = string(d.bytes(MaxName)), d.peer()
	}
	return w, d.end("way")
}

// DecodeArrive decodes what follows the kind.
func DecodeArrive(body []byte) (a Arrive, err error) {
	d := decoder{rest: body}
	a = Arrive{Seat: d.number(), Program: d.number(), Walk: d.number()}
	return a, d.end("arrive")
}

// DecodeParted decodes what follows the kind.
func DecodeParted(body []byte) (p Parted, err error) {
	d := decoder{rest: body}
	p = Parted{Seat: d.number(), Walk: d.number(), Gone: d.bool(), Reason: string(d.all())}
	if len(p.Reason) > MaxReason {
		d.fail("a reason of %d bytes", len(p.Reason))
	}
	return p, d.end("parted")
}

// DecodeArrival decodes what follows the kind. The result holds parts of body.
func DecodeArrival(body []byte) (a Arrival, err error) {
	d := decoder{rest: body}
	a = Arrival{Room: string(d.bytes(MaxName)), Version: string(d.bytes(MaxName)), From: string(d.bytes(MaxName)), Player: d.peer()}
	a.Seat, a.Program, a.Walk, a.Seq, a.State = d.number(), d.number(), d.number(), d.number(), d.all()
	if len(a.State) > MaxWalkState {
		d.fail("a state of %d bytes, of %d at most", len(a.State), MaxWalkState)
	}
	return a, d.end("arrival")
}

// DecodeArrived decodes what follows the kind.
func DecodeArrived(body []byte) (a Arrived, err error) {
	d := decoder{rest: body}
	a.Seated = d.bool()
	return a, d.end("arrived")
}

// DecodeDecided decodes what follows the kind.
func DecodeDecided(body []byte) (s Decided, err error) {
	d := decoder{rest: body}
	s.Gone = d.bool()
	return s, d.end("decided")
}
