package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// StandbyProtocol is the protocol over which a room's host feeds a standby, so that it
// can take over. The standby opens the stream and sends Hello. The host sends its [Line]
// whenever it has a new one, and batches: [Records], and then the [Mark] that ends the
// batch. The first batch is the whole world. An Out refuses the standby. The standby
// sends only one more message: the Line by which it has taken over.
const StandbyProtocol = "/tombolo/room-standby/1.0.0"

// MaxFeed bounds a message to a standby, in bytes.
const MaxFeed = 4 << 20

// The kinds of messages on the stream of a standby.
const (
	KindLine Kind = iota + 97 // to players' peers, too
	KindRecords
	KindMark
)

// The kinds of records.
const (
	recordEntity = iota + 1
	recordGone
	recordPlayer
	recordInput
	recordValue
	recordDeleted
	recordBan
	recordBoard
	recordOffBoard
)

// Records receives the changes of a world that a host sends to a standby. The bytes are
// valid during the call. An error ends the reading.
type Records interface {
	// Entity receives an entity that is new or changed, and Gone one that was removed.
	Entity(e uint32, x, y float32, data []byte) error
	Gone(e uint32) error
	// Player receives what the game keeps of a player; empty if it no longer keeps
	// anything.
	Player(p peer.ID, number uint32, data []byte) error
	// Input receives the number of the last input that the game took of a player's program;
	// zero if the player is gone.
	Input(p peer.ID, number, program, seq uint32) error
	// Value receives a value that the game keeps by name; nil if it was deleted.
	Value(name string, value []byte) error
	// Board receives a record of the room's boards, by its key; nil if it was deleted.
	Board(key string, value []byte) error
	// Ban receives a peer that is refused, or is no longer.
	Ban(p peer.ID, banned bool) error
}

// AppendEntity appends a record.
func AppendEntity(dst []byte, e uint32, x, y float32, data []byte) []byte {
	dst = binary.AppendUvarint(append(dst, recordEntity), uint64(e))
	dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(y))
	return appendBytes(dst, data)
}

// AppendGone appends a record.
func AppendGone(dst []byte, e uint32) []byte {
	return binary.AppendUvarint(append(dst, recordGone), uint64(e))
}

// AppendPlayer appends a record.
func AppendPlayer(dst []byte, p peer.ID, number uint32, data []byte) []byte {
	dst = binary.AppendUvarint(appendBytes(append(dst, recordPlayer), string(p)), uint64(number))
	return appendBytes(dst, data)
}

// AppendInputSeq appends a record.
func AppendInputSeq(dst []byte, p peer.ID, number, program, seq uint32) []byte {
	dst = binary.AppendUvarint(appendBytes(append(dst, recordInput), string(p)), uint64(number))
	dst = binary.AppendUvarint(dst, uint64(program))
	return binary.AppendUvarint(dst, uint64(seq))
}

// AppendValue appends a record; a nil value deletes the name.
func AppendValue(dst []byte, name string, value []byte) []byte {
	if value == nil {
		return appendBytes(append(dst, recordDeleted), name)
	}
	return appendBytes(appendBytes(append(dst, recordValue), name), value)
}

// AppendBoard appends a record; a nil value deletes it.
func AppendBoard(dst []byte, key string, value []byte) []byte {
	if value == nil {
		return appendBytes(append(dst, recordOffBoard), key)
	}
	return appendBytes(appendBytes(append(dst, recordBoard), key), value)
}

// AppendBan appends a record.
func AppendBan(dst []byte, p peer.ID, banned bool) []byte {
	return appendBool(appendBytes(append(dst, recordBan), string(p)), banned)
}

// AppendRecords appends the message with these records.
func AppendRecords(dst, records []byte) []byte {
	return append(begin(dst, KindRecords, len(records)), records...)
}

// DecodeRecords decodes what follows the kind, and calls to for each record.
func DecodeRecords(body []byte, to Records) error {
	d := decoder{rest: body}
	var err error
	for len(d.rest) > 0 && err == nil {
		switch kind := d.byte(); kind {
		case recordEntity:
			e, place, data := d.number(), d.take(8), d.bytes(MaxFeed)
			if d.err == nil {
				x, y := binary.LittleEndian.Uint32(place), binary.LittleEndian.Uint32(place[4:])
				err = to.Entity(e, math.Float32frombits(x), math.Float32frombits(y), data)
			}
		case recordGone:
			if e := d.number(); d.err == nil {
				err = to.Gone(e)
			}
		case recordPlayer:
			if p, number, data := d.peer(), d.number(), d.bytes(MaxFeed); d.err == nil {
				err = to.Player(p, number, data)
			}
		case recordInput:
			if p, number, program, seq := d.peer(), d.number(), d.number(), d.number(); d.err == nil {
				err = to.Input(p, number, program, seq)
			}
		case recordValue:
			if name, value := string(d.bytes(MaxFeed)), d.bytes(MaxFeed); d.err == nil {
				err = to.Value(name, value)
			}
		case recordDeleted:
			if name := string(d.bytes(MaxFeed)); d.err == nil {
				err = to.Value(name, nil)
			}
		case recordBoard:
			if key, value := string(d.bytes(MaxFeed)), d.bytes(MaxFeed); d.err == nil {
				err = to.Board(key, value)
			}
		case recordOffBoard:
			if key := string(d.bytes(MaxFeed)); d.err == nil {
				err = to.Board(key, nil)
			}
		case recordBan:
			if p, banned := d.peer(), d.bool(); d.err == nil {
				err = to.Ban(p, banned)
			}
		default:
			d.fail("a record of kind %d", kind)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: records: %w", ErrMalformed, err)
	}
	return d.end("records")
}

// The flags of a Mark.
const (
	MarkFinal = 1 << iota // the host runs no more ticks, and waits for the standby to take over
	MarkEnded             // the room has been closed for good
)

// Mark ends a batch of records.
type Mark struct {
	Number    uint32 // of the batch, from 1
	Tick      uint32
	Flags     byte
	Sum       [sha256.Size]byte // of the batch and all before it; see Chain
	Signature []byte            // the host's signature of Sum, once a second; otherwise empty
}

// AppendMark appends the message.
func AppendMark(dst []byte, m Mark) []byte {
	dst = begin(dst, KindMark, size(m.Number)+size(m.Tick)+1+len(m.Sum)+sizeBytes(m.Signature))
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(m.Number)), uint64(m.Tick))
	return appendBytes(append(append(dst, m.Flags), m.Sum[:]...), m.Signature)
}

// DecodeMark decodes what follows the kind.
func DecodeMark(body []byte) (m Mark, err error) {
	d := decoder{rest: body}
	m = Mark{Number: d.number(), Tick: d.number(), Flags: d.byte()}
	copy(m.Sum[:], d.take(len(m.Sum)))
	m.Signature = slices.Clone(d.bytes(maxSignature))
	return m, d.end("mark")
}

// Chain computes the sums of batches. Each sum covers all batches before it.
type Chain struct {
	sum     [sha256.Size]byte
	records []byte
}

// Add adds the records of a message to the batch.
func (c *Chain) Add(records []byte) {
	if len(c.records) == 0 {
		c.records = append(c.records, c.sum[:]...)
	}
	sum := sha256.Sum256(records)
	c.records = append(c.records, sum[:]...)
}

// End ends the batch, and returns its sum.
func (c *Chain) End(number, tick uint32, flags byte) [sha256.Size]byte {
	c.Add(append(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, number), tick), flags))
	c.sum = sha256.Sum256(c.records)
	c.records = c.records[:0]
	return c.sum
}

func (m *Mark) signed(room string, epoch uint32) []byte {
	dst := binary.AppendUvarint(appendBytes([]byte("tombolo room feed 1\n"), room), uint64(epoch))
	return append(dst, m.Sum[:]...)
}

// Sign signs the mark with the key of the room's host.
func (m *Mark) Sign(key crypto.PrivKey, room string, epoch uint32) (err error) {
	m.Signature, err = key.Sign(m.signed(room, epoch))
	return err
}

// Verify reports whether the host has signed the mark.
func (m *Mark) Verify(host peer.ID, room string, epoch uint32) bool {
	key, err := host.ExtractPublicKey()
	if err != nil {
		return false
	}
	ok, err := key.Verify(m.signed(room, epoch), m.Signature)
	return err == nil && ok
}
