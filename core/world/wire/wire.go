// Package wire defines the messages on the stream of a room, in both directions.
//
// A message is its length as a uvarint, and that many bytes: its kind, and its fields.
// Numbers are uvarints. A player's peer opens the stream and sends [Hello]; from then on
// it sends [Join], [Input], [Ack] and [Leave], and the host sends [Welcome], [Out] and a
// [Tick] for each tick with something to report. One stream carries several seats, which
// the player's peer numbers.
//
// If the connection has datagrams, the player's peer may open a lane of them (see package
// datagram) and announce it with [Datagrams], before its first Join. Urgent data then
// travels there:
//
//   - Each input is sent on the stream, and also at once in a datagram together with the
//     last few before it. The host takes the one that comes first, in the order of their
//     numbers.
//   - While an entity changes, its whole records go in datagrams, each a Tick whose
//     sections have only Entered and the confirmation of inputs. Datagrams name entities
//     by their numbers, so that no datagram depends on another one or on the stream. The
//     player's peer skips entities that it does not know yet, or of which it has newer
//     records. When an entity has not changed for [Settled] ticks, the stream carries its
//     record, so that no error remains.
//
// The decoding functions take bytes that a stranger has chosen: they return an error that
// wraps [ErrMalformed], and the limits below bound what they allocate.
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Protocol is the protocol of a room's stream.
const Protocol = "/tombolo/room/1.0.0"

const (
	// MaxToHost bounds a message to the host, in bytes.
	MaxToHost = 64 << 10
	// MaxToPlayer bounds a message to a player's peer, in bytes.
	MaxToPlayer = 256 << 10
	// MaxName bounds the name of a room, and the version of a game, in bytes.
	MaxName = 64
	// MaxReason bounds the text of a refusal, in bytes.
	MaxReason = 256
)

// ErrMalformed is wrapped by the errors of data that cannot be decoded.
var ErrMalformed = errors.New("malformed message of a room")

// Kind is the kind of a message.
type Kind byte

// The kinds of messages to the host.
const (
	KindHello Kind = iota + 1
	KindJoin
	KindInput
	KindAck
	KindLeave
	KindDatagrams
	KindArrive
	KindParted
)

// The kinds of messages to a player's peer.
const (
	KindWelcome Kind = iota + 65
	KindOut
	KindTick
	KindWay
)

// Hello is the first message on a stream.
type Hello struct {
	Room    string
	Version string // of the game
}

// Join asks for a seat.
type Join struct {
	Seat      uint32
	Spectator bool
	Program   uint32 // distinguishes the player's program from an earlier one, because each numbers its inputs anew
	Proof     []byte // of the password; see Proof
	Data      []byte // for the game
}

// Input is an input of a player.
type Input struct {
	Seat uint32
	Seq  uint32 // numbers the inputs of the seat, from 1
	Seen uint32 // the last tick that came
	Data []byte
}

// Ack acknowledges the last tick that came, from a peer whose seats have no input.
type Ack struct{ Seen uint32 }

// Leave gives a seat up.
type Leave struct{ Seat uint32 }

// Datagrams announces that the player's peer has a lane of datagrams on the connection.
type Datagrams struct{ Lane uint32 }

// Settled is the number of ticks after its last change at which the record of an entity
// is sent on the stream, to a peer that has datagrams. The confirmation of inputs on the
// stream waits as long.
const Settled = 8

// Welcome answers a Join. Again is set if the player has had the seat before.
type Welcome struct {
	Seat  uint32
	Hz    uint32
	Tick  uint32
	Again bool
	Data  []byte // the game's answer
}

// Out ends a seat, or refuses it.
type Out struct {
	Seat   uint32
	All    bool // all seats of the peer, and the stream
	Code   Code
	Reason string
}

// Why returns the reason in words.
func (o Out) Why() string {
	if o.Reason == "" || o.Reason == o.Code.String() {
		return o.Code.String()
	}
	return fmt.Sprintf("%v: %s", o.Code, o.Reason)
}

// AppendHello appends the message.
func AppendHello(dst []byte, h Hello) []byte {
	dst = begin(dst, KindHello, sizeBytes(h.Room)+sizeBytes(h.Version))
	return appendBytes(appendBytes(dst, h.Room), h.Version)
}

// AppendJoin appends the message.
func AppendJoin(dst []byte, j Join) []byte {
	dst = begin(dst, KindJoin, size(j.Seat)+1+size(j.Program)+sizeBytes(j.Proof)+len(j.Data))
	dst = appendBool(binary.AppendUvarint(dst, uint64(j.Seat)), j.Spectator)
	dst = binary.AppendUvarint(dst, uint64(j.Program))
	return append(appendBytes(dst, j.Proof), j.Data...)
}

// AppendInput appends the message.
func AppendInput(dst []byte, in Input) []byte {
	dst = begin(dst, KindInput, size(in.Seat)+size(in.Seq)+size(in.Seen)+len(in.Data))
	dst = binary.AppendUvarint(dst, uint64(in.Seat))
	dst = binary.AppendUvarint(dst, uint64(in.Seq))
	return append(binary.AppendUvarint(dst, uint64(in.Seen)), in.Data...)
}

// AppendAck appends the message.
func AppendAck(dst []byte, a Ack) []byte {
	return binary.AppendUvarint(begin(dst, KindAck, size(a.Seen)), uint64(a.Seen))
}

// AppendLeave appends the message.
func AppendLeave(dst []byte, l Leave) []byte {
	return binary.AppendUvarint(begin(dst, KindLeave, size(l.Seat)), uint64(l.Seat))
}

// AppendDatagrams appends the message.
func AppendDatagrams(dst []byte, l Datagrams) []byte {
	return binary.AppendUvarint(begin(dst, KindDatagrams, size(l.Lane)), uint64(l.Lane))
}

// AppendWelcome appends the message.
func AppendWelcome(dst []byte, w Welcome) []byte {
	dst = begin(dst, KindWelcome, size(w.Seat)+size(w.Hz)+size(w.Tick)+1+len(w.Data))
	for _, n := range [...]uint32{w.Seat, w.Hz, w.Tick} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return append(appendBool(dst, w.Again), w.Data...)
}

// AppendOut appends the message. It cuts the reason off after MaxReason bytes.
func AppendOut(dst []byte, o Out) []byte {
	reason := o.Reason[:min(len(o.Reason), MaxReason)]
	dst = begin(dst, KindOut, size(o.Seat)+2+len(reason))
	dst = appendBool(binary.AppendUvarint(dst, uint64(o.Seat)), o.All)
	return append(append(dst, byte(o.Code)), reason...)
}

// DecodeHello decodes what follows the kind.
func DecodeHello(body []byte) (h Hello, err error) {
	d := decoder{rest: body}
	h = Hello{Room: string(d.bytes(MaxName)), Version: string(d.bytes(MaxName))}
	return h, d.end("hello")
}

// DecodeJoin decodes what follows the kind. The result holds parts of body.
func DecodeJoin(body []byte) (j Join, err error) {
	d := decoder{rest: body}
	j = Join{Seat: d.number(), Spectator: d.bool(), Program: d.number(), Proof: d.bytes(proofSize), Data: d.all()}
	return j, d.end("join")
}

// DecodeInput decodes what follows the kind. The result holds parts of body.
func DecodeInput(body []byte) (in Input, err error) {
	d := decoder{rest: body}
	in = Input{Seat: d.number(), Seq: d.number(), Seen: d.number(), Data: d.all()}
	return in, d.end("input")
}

// DecodeAck decodes what follows the kind.
func DecodeAck(body []byte) (a Ack, err error) {
	d := decoder{rest: body}
	a.Seen = d.number()
	return a, d.end("ack")
}

// DecodeLeave decodes what follows the kind.
func DecodeLeave(body []byte) (l Leave, err error) {
	d := decoder{rest: body}
	l.Seat = d.number()
	return l, d.end("leave")
}

// DecodeDatagrams decodes what follows the kind.
func DecodeDatagrams(body []byte) (l Datagrams, err error) {
	d := decoder{rest: body}
	l.Lane = d.number()
	return l, d.end("datagrams")
}

// DecodeWelcome decodes what follows the kind. The result holds parts of body.
func DecodeWelcome(body []byte) (w Welcome, err error) {
	d := decoder{rest: body}
	w = Welcome{Seat: d.number(), Hz: d.number(), Tick: d.number(), Again: d.bool(), Data: d.all()}
	if w.Hz == 0 || w.Hz > 1000 {
		d.fail("a rate of %d ticks a second", w.Hz)
	}
	return w, d.end("welcome")
}

// DecodeOut decodes what follows the kind.
func DecodeOut(body []byte) (o Out, err error) {
	d := decoder{rest: body}
	o = Out{Seat: d.number(), All: d.bool(), Code: Code(d.byte()), Reason: string(d.all())}
	if o.Code == 0 || o.Code >= endOfCodes || len(o.Reason) > MaxReason {
		d.fail("code %d with a reason of %d bytes", o.Code, len(o.Reason))
	}
	return o, d.end("out")
}

// A Reader reads messages from a stream. One goroutine may use it.
type Reader struct {
	r   *bufio.Reader
	max int
	buf []byte
}

// NewReader returns a reader of messages of at most most bytes.
func NewReader(r io.Reader, most int) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 4<<10), max: most}
}

// Next reads the next message. Its body is valid until the next call. The error is io.EOF
// if the stream ended between two messages.
func (r *Reader) Next() (kind Kind, body []byte, err error) {
	n, err := binary.ReadUvarint(r.r)
	if err != nil {
		return 0, nil, err
	}
	if n == 0 || n > uint64(r.max) {
		return 0, nil, fmt.Errorf("%w: a length of %d bytes, of %d at most", ErrMalformed, n, r.max)
	}
	if r.buf, err = readInto(r.r, r.buf[:0], int(n)); err != nil {
		return 0, nil, err
	}
	return Kind(r.buf[0]), r.buf[1:], nil
}

// Split yields the messages in a datagram, up to the first malformed one.
func Split(datagram []byte) iter.Seq2[Kind, []byte] {
	return func(yield func(Kind, []byte) bool) {
		for {
			n, size := binary.Uvarint(datagram)
			if size <= 0 || n == 0 || n > uint64(len(datagram)-size) {
				return
			}
			message := datagram[size : size+int(n)]
			datagram = datagram[size+int(n):]
			if !yield(Kind(message[0]), message[1:]) {
				return
			}
		}
	}
}

// readInto reads n bytes. The buffer grows as they come, so that a peer that only
// announces many bytes costs no memory.
func readInto(r io.Reader, buf []byte, n int) ([]byte, error) {
	const step = 16 << 10
	for len(buf) < n {
		more := min(n-len(buf), max(step, cap(buf)-len(buf)))
		if cap(buf)-len(buf) < more {
			buf = append(make([]byte, 0, min(n, 2*cap(buf)+step)), buf...)
			more = min(more, cap(buf)-len(buf))
		}
		if _, err := io.ReadFull(r, buf[len(buf):len(buf)+more]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return buf, err
		}
		buf = buf[:len(buf)+more]
	}
	return buf, nil
}

// begin appends the length of a message whose fields take n bytes, and its kind.
func begin(dst []byte, k Kind, n int) []byte {
	return append(binary.AppendUvarint(dst, uint64(n)+1), byte(k))
}

func size[N uint32 | int](n N) int {
	s := 1
	for ; n >= 0x80; n >>= 7 {
		s++
	}
	return s
}

func sizeBytes[B string | []byte](b B) int { return size(len(b)) + len(b) }

func appendBytes[B string | []byte](dst []byte, b B) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// decoder decodes the fields of a message in order. After a failure it returns zeros.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
	d.rest = nil
}

func (d *decoder) number() uint32 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || n > 1<<32-1 {
		d.fail("a number that is cut off or has over 32 bits")
		return 0
	}
	d.rest = d.rest[size:]
	return uint32(n)
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail("it is cut off")
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) bool() bool {
	b := d.byte()
	if b > 1 {
		d.fail("%d where 0 or 1 is due", b)
	}
	return b == 1
}

// bytes decodes at most most bytes, which follow their number.
func (d *decoder) bytes(most int) []byte {
	n := d.number()
	if int64(n) > int64(most) {
		d.fail("%d bytes where at most %d may be", n, most)
		return nil
	}
	return d.take(int(n))
}

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.fail("it is cut off")
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) all() []byte { return d.take(len(d.rest)) }

// end returns the error of the message called name, also if bytes are left over.
func (d *decoder) end(name string) error {
	if d.err == nil && len(d.rest) > 0 {
		d.fail("%d bytes follow", len(d.rest))
	}
	if d.err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s: %w", ErrMalformed, name, d.err)
}
