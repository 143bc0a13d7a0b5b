package wire

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// MaxStandbys bounds the standbys that a claim names.
	MaxStandbys = 8
	// MaxLine bounds the claims of a line.
	MaxLine = 16
	// maxPeer and maxSignature bound a peer ID and a signature, in bytes. They fit the
	// longest keys that peers have.
	maxPeer      = 64
	maxSignature = 1 << 10
)

// A Claim is a peer's signed statement that it holds a room, and which peers may hold it
// next. The claim of the next epoch may be made by a peer that the claim names, or by its
// host; there is no vote.
type Claim struct {
	Room      string
	Epoch     uint32 // from 1; it grows by one when a peer takes over from another, or from itself
	Serial    uint32 // numbers the claims of an epoch, which differ in their standbys
	Host      peer.ID
	Standbys  []peer.ID // in the order in which they take over
	Signature []byte    // of Host
}

// Sign signs a claim with the key of its host.
func (c *Claim) Sign(key crypto.PrivKey) (err error) {
	if c.Signature, err = key.Sign(c.signed()); err != nil {
		return fmt.Errorf("sign the claim to room %q: %w", c.Room, err)
	}
	return nil
}

func (c *Claim) signed() []byte {
	return c.appendBody([]byte("tombolo room claim 1\n"))
}

func (c *Claim) appendBody(dst []byte) []byte {
	dst = appendBytes(dst, c.Room)
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(c.Epoch)), uint64(c.Serial))
	dst = appendBytes(dst, string(c.Host))
	dst = binary.AppendUvarint(dst, uint64(len(c.Standbys)))
	for _, p := range c.Standbys {
		dst = appendBytes(dst, string(p))
	}
	return dst
}

// verify returns an error that says what is wrong with a single claim, or nil.
func (c *Claim) verify() error {
	key, err := c.Host.ExtractPublicKey()
	if err != nil {
		return fmt.Errorf("the key of %s is not in its id: %w", c.Host, err)
	}
	if ok, err := key.Verify(c.signed(), c.Signature); err != nil || !ok {
		return fmt.Errorf("the claim of %s to room %q in epoch %d is not signed by it", c.Host, c.Room, c.Epoch)
	}
	return nil
}

// A Line is the newest claim of each epoch of a room, in the order of the epochs, up to
// that of the present host. It has at most MaxLine claims; the oldest are left out.
type Line []Claim

// Newest returns the claim of the present host.
func (l Line) Newest() *Claim { return &l[len(l)-1] }

// Names reports whether the line's newest claim names the peer as a standby.
func (l Line) Names(p peer.ID) bool { return len(l) > 0 && slices.Contains(l.Newest().Standbys, p) }

// Renewed returns the line with another newest claim, of the same epoch.
func (l Line) Renewed(c Claim) Line { return append(slices.Clone(l[:len(l)-1]), c) }

// Continued returns the line with the claim of the next epoch added.
func (l Line) Continued(c Claim) Line {
	l = append(slices.Clone(l), c)
	return l[max(0, len(l)-MaxLine):]
}

// Verify returns an error that says what is wrong with a line of the room, or nil. Each
// claim must be signed by its host, and the claim before must name that host as a standby
// or be its own: a host that restarts may take over from itself.
func (l Line) Verify(room string) error {
	if len(l) == 0 {
		return fmt.Errorf("%w: a line without a claim", ErrMalformed)
	}
	for i := range l {
		c := &l[i]
		switch {
		case c.Room != room:
			return fmt.Errorf("a claim is to room %q, not to %q", c.Room, room)
		case c.Epoch == 0 || i > 0 && c.Epoch != l[i-1].Epoch+1:
			return fmt.Errorf("the claims to room %q are not of one epoch after the other", room)
		case i > 0 && c.Host != l[i-1].Host && !slices.Contains(l[i-1].Standbys, c.Host):
			return fmt.Errorf("the host before it does not name %s as a standby of room %q", c.Host, room)
		}
		if err := c.verify(); err != nil {
			return err
		}
	}
	return nil
}

// Beats reports whether the line takes precedence over another one of the same room with
// which it shares a claim, that is, whether its newest claim has a later epoch, or the
// same epoch and host and a later serial. If two peers took over from one, the earlier of
// the standbys takes precedence. Both lines must have been verified.
func (l Line) Beats(other Line) bool {
	ours, theirs := l.Newest(), other.Newest()
	parent := l.meets(other)
	switch {
	case parent == nil:
		return false
	case ours.Epoch != theirs.Epoch:
		return ours.Epoch > theirs.Epoch
	case ours.Host == theirs.Host:
		return ours.Serial > theirs.Serial
	}
	place := func(c *Claim) int {
		if at := slices.Index(parent.Standbys, c.Host); at >= 0 {
			return at
		}
		return MaxStandbys
	}
	if a, b := place(ours), place(theirs); a != b {
		return a < b
	}
	return ours.Host < theirs.Host
}

// meets returns the last claim that both lines have, regardless of its serial, or nil.
func (l Line) meets(other Line) *Claim {
	for i := len(l) - 1; i >= 0; i-- {
		for j := range other {
			if l[i].Epoch == other[j].Epoch && l[i].Host == other[j].Host && l[i].Room == other[j].Room {
				return &l[i]
			}
		}
	}
	return nil
}

// AppendLine appends the message.
func AppendLine(dst []byte, l Line) []byte {
	body := binary.AppendUvarint(nil, uint64(len(l)))
	for i := range l {
		body = appendBytes(l[i].appendBody(body), l[i].Signature)
	}
	return append(begin(dst, KindLine, len(body)), body...)
}

// DecodeLine decodes what follows the kind. The line is not verified.
func DecodeLine(body []byte) (Line, error) {
	d := decoder{rest: body}
	n := d.number()
	if n == 0 || n > MaxLine {
		d.fail("a line of %d claims", n)
	}
	var l Line
	for i := uint32(0); i < n && d.err == nil; i++ {
		l = append(l, d.claim())
	}
	if err := d.end("line"); err != nil {
		return nil, err
	}
	return l, nil
}

// DecodeVerified decodes what follows the kind, and verifies the line as one of the room.
func DecodeVerified(body []byte, room string) (Line, error) {
	l, err := DecodeLine(body)
	if err == nil {
		err = l.Verify(room)
	}
	return l, err
}

func (d *decoder) claim() Claim {
	c := Claim{Room: string(d.bytes(MaxName)), Epoch: d.number(), Serial: d.number(), Host: d.peer()}
	n := d.number()
	if n > MaxStandbys {
		d.fail("%d standbys", n)
	}
	for i := uint32(0); i < n && d.err == nil; i++ {
		c.Standbys = append(c.Standbys, d.peer())
	}
	c.Signature = slices.Clone(d.bytes(maxSignature))
	return c
}

func (d *decoder) peer() peer.ID {
	id, err := peer.IDFromBytes(d.bytes(maxPeer))
	if err != nil && d.err == nil {
		d.fail("a peer id: %w", err)
	}
	return id
}
