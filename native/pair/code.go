package pair

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"

	"github.com/libp2p/go-libp2p/core/peer"
)

// alphabet has no letters that are read as digits.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const (
	length    = 9 // characters of a code: 45 bits
	rounds    = 600_000
	typeBytes = 16
	keyBytes  = 32
)

// Code is nine characters of 0–9 and A–Z without I, L, O and U. Make one with NewCode or
// ReadCode.
type Code string

// NewCode makes a random code.
func NewCode() Code {
	var b [length]byte
	_, _ = rand.Read(b[:]) // which never fails
	for i := range b {
		b[i] = alphabet[b[i]%32]
	}
	return Code(b[:])
}

// String is the code in groups of three, as it is read and said: 7K3-MPX-2Q9.
func (c Code) String() string {
	if len(c) != length {
		return string(c)
	}
	return string(c[:3] + "-" + c[3:6] + "-" + c[6:])
}

// ReadCode reads what a person has typed: with or without hyphens and spaces, in capitals
// or small letters, with O for 0, and I or L for 1.
func ReadCode(typed string) (Code, error) {
	code := strings.Map(func(r rune) rune {
		switch r = unicode.ToUpper(r); {
		case unicode.IsSpace(r) || strings.ContainsRune(".-–", r):
			return -1
		case r == 'O':
			return '0'
		case r == 'I' || r == 'L':
			return '1'
		}
		return r
	}, typed)
	if len(code) != length || strings.Trim(code, alphabet) != "" {
		return "", fmt.Errorf("%q is not a code: a code has nine letters and digits, for example 7K3-MPX-2Q9", typed)
	}
	return Code(code), nil
}

// meeting is what both peers derive from a code.
type meeting struct {
	typ string // of the messages on which they meet
	key []byte // of the HMAC with which they prove that they have the code
}

// meet derives a meeting. It takes about a second, so that a peer that sees the type
// cannot try all codes while the code is valid.
func meet(code Code, network string) (meeting, error) {
	bits, err := pbkdf2.Key(sha256.New, string(code), []byte("tombolo pair 1 "+network), rounds, typeBytes+keyBytes)
	if err != nil {
		return meeting{}, fmt.Errorf("derive from the code: %w", err)
	}
	return meeting{"pair/" + hex.EncodeToString(bits[:typeBytes]), bits[typeBytes:]}, nil
}

// typed proves to shower that typer has the code.
func (m meeting) typed(typer, shower peer.ID) []byte {
	return m.prove("typed", typer.String(), shower.String())
}

// shown proves to typer that shower shows the code, and shares name.
func (m meeting) shown(typer, shower peer.ID, name string) []byte {
	return m.prove("shown", typer.String(), shower.String(), name)
}

func (m meeting) prove(claim ...string) []byte {
	h := hmac.New(sha256.New, m.key)
	h.Write([]byte(strings.Join(claim, " ")))
	return h.Sum(nil)
}
