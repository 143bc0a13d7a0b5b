package demo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Version is the game's version; this file defines its encodings. The page implements the
// same in web/page/src/world/records.ts.
const Version = "harbour/2"

// Unit is the smallest step of a place, in the world's unit.
const Unit = 1.0 / 16

const (
	// MaxName bounds the name of a boat, in bytes.
	MaxName = 24
	// maxPapers bounds what a player sends when it joins, in bytes.
	maxPapers = 256
)

// ErrMalformed is wrapped by the errors for data that is not in the game's encoding.
var ErrMalformed = errors.New("not of the harbour's form")

// Papers are what a player sends when it joins. They are optional: without them the boat
// has no name, and a random hue.
type Papers struct {
	Hue  byte // of the boat: a 256th of the colour circle, starting at red
	Name string
	// Blind asks to receive nothing but confirmations of the player's own inputs, as do
	// bots in large numbers.
	Blind bool
	// StandsBy offers to take the room over from its host. A tab that hosts a room names
	// such peers as standbys; Harbour does not.
	StandsBy bool
}

const (
	blindFlag = 1 << iota
	standsByFlag
)

// AppendPapers appends a byte of flags, the hue, and the name.
func AppendPapers(dst []byte, p Papers) []byte {
	flags := byte(0)
	if p.Blind {
		flags |= blindFlag
	}
	if p.StandsBy {
		flags |= standsByFlag
	}
	return append(append(dst, flags, p.Hue), p.Name...)
}

// DecodePapers decodes what AppendPapers appended. The name is cleaned, see CleanName.
func DecodePapers(data []byte) (Papers, error) {
	if len(data) < 2 || len(data) > maxPapers {
		return Papers{}, fmt.Errorf("papers of %d bytes: %w", len(data), ErrMalformed)
	}
	return Papers{
		Hue: data[1], Name: CleanName(string(data[2:])),
		Blind: data[0]&blindFlag != 0, StandsBy: data[0]&standsByFlag != 0,
	}, nil
}

// CleanName returns the part of a name that is shown: letters, marks, digits, punctuation
// and symbols, with single spaces between them, up to MaxName bytes.
func CleanName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, name)
	name = strings.Join(strings.Fields(name), " ")
	for len(name) > MaxName {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	return strings.TrimRight(name, " ")
}

// Answer is what a player receives when it joins.
type Answer struct {
	Boat   uint32 // the entity of the player's boat, if it is Afloat
	Afloat bool   // the player is not a spectator
	Size   int    // the side of the harbour
	// Sight is how far the player sees, and SightEnd the distance at which it loses sight
	// of things. If zero, it sees everything.
	Sight, SightEnd float32
}

const noBoat = 1<<32 - 1

func (a Answer) append(dst []byte) []byte {
	boat := uint32(noBoat)
	if a.Afloat {
		boat = a.Boat
	}
	for _, n := range []uint32{boat, uint32(a.Size), uint32(a.Sight / Unit), uint32(a.SightEnd / Unit)} {
		dst = binary.BigEndian.AppendUint32(dst, n)
	}
	return dst
}

// DecodeAnswer decodes the answer of Join.
func DecodeAnswer(data []byte) (Answer, error) {
	if len(data) != 16 {
		return Answer{}, fmt.Errorf("an answer of %d bytes: %w", len(data), ErrMalformed)
	}
	at := func(i int) uint32 { return binary.BigEndian.Uint32(data[4*i:]) }
	return Answer{at(0), at(0) != noBoat, int(at(1)), float32(at(2)) * Unit, float32(at(3)) * Unit}, nil
}

// Thing is what a player sees of a boat or a buoy.
type Thing struct {
	X, Y float32
	Hue  byte
	// Boat is false for a buoy. Only a boat has a Score and a Name.
	Boat  bool
	Score uint16
	Name  string
}

const (
	buoyBytes = 5
	boatBytes = buoyBytes + 2 // plus the name
)

// Decode decodes what Harbour.Whole appended.
func Decode(data []byte) (Thing, error) {
	if len(data) != buoyBytes && (len(data) < boatBytes || len(data) > boatBytes+MaxName) {
		return Thing{}, fmt.Errorf("a record of %d bytes: %w", len(data), ErrMalformed)
	}
	t := Thing{X: place(data), Y: place(data[2:]), Hue: data[4]}
	if len(data) > buoyBytes {
		t.Boat, t.Score, t.Name = true, binary.BigEndian.Uint16(data[buoyBytes:]), CleanName(string(data[boatBytes:]))
	}
	return t, nil
}

// Apply applies to the thing what Harbour.Change appended.
func (t Thing) Apply(data []byte) (Thing, error) {
	switch len(data) {
	case 2:
		t.X += float32(int8(data[0])) * Unit
		t.Y += float32(int8(data[1])) * Unit
	case 4:
		t.X, t.Y = place(data), place(data[2:])
	default:
		return Decode(data)
	}
	return t, nil
}

func place(data []byte) float32 { return float32(binary.BigEndian.Uint16(data)) * Unit }

// AppendInput appends the input that sets the boat's speed, in Units a tick.
func AppendInput(dst []byte, vx, vy int8) []byte { return append(dst, byte(vx), byte(vy)) }

// DecodeInput decodes what AppendInput appended.
func DecodeInput(data []byte) (vx, vy int8, err error) {
	if len(data) != 2 {
		return 0, 0, fmt.Errorf("an input of %d bytes: %w", len(data), ErrMalformed)
	}
	return int8(data[0]), int8(data[1]), nil
}

// Scores are the scores of a harbour, as a player receives them in a note.
type Scores struct {
	Rank  int // the player's own, from 1; 0 if it has no score
	Of    int // number of players with a score
	Lines []ScoreLine
}

// ScoreLine is a boat among the best.
type ScoreLine struct {
	Score uint16
	Hue   byte
	Name  string
}

// maxLines is how many of the best scores a player receives.
const maxLines = 8

// noteOfScores begins a note of Scores.
const noteOfScores = 1

func appendScores(dst []byte, rank, of int, lines []byte) []byte {
	dst = append(dst, noteOfScores)
	dst = binary.BigEndian.AppendUint16(dst, uint16(min(rank, 1<<16-1)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(min(of, 1<<16-1)))
	return append(dst, lines...)
}

func appendScoreLine(dst []byte, t *thing) []byte {
	dst = binary.BigEndian.AppendUint16(dst, t.score)
	return append(append(dst, t.hue, byte(len(t.name))), t.name...)
}

// DecodeScores decodes a note of the scores.
func DecodeScores(note []byte) (Scores, error) {
	if len(note) < 5 || note[0] != noteOfScores {
		return Scores{}, fmt.Errorf("a note of %d bytes: %w", len(note), ErrMalformed)
	}
	s := Scores{Rank: int(binary.BigEndian.Uint16(note[1:])), Of: int(binary.BigEndian.Uint16(note[3:]))}
	for rest := note[5:]; len(rest) > 0; {
		if len(rest) < 4 || len(rest) < 4+int(rest[3]) || len(s.Lines) == maxLines {
			return Scores{}, fmt.Errorf("a note of scores: %w", ErrMalformed)
		}
		end := 4 + int(rest[3])
		s.Lines = append(s.Lines, ScoreLine{binary.BigEndian.Uint16(rest), rest[2], CleanName(string(rest[4:end]))})
		rest = rest[end:]
	}
	return s, nil
}
