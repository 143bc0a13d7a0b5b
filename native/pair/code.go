package pair

import (
	"crypto/rand"
	"fmt"
	"strings"
	"unicode"

	"github.com/libp2p/go-libp2p/core/peer"
)

// alphabet has no letters that can be mistaken for digits.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const (
	length = 9 // characters of a code
	group  = 3 // characters of a group
)

// Code is nine characters of 0–9 and A–Z without I, L, O and U. Make one with NewCode or
// ReadCode.
type Code string

// NewCode returns a random code.
func NewCode() Code {
	var b [length]byte
	_, _ = rand.Read(b[:]) // which never fails
	for i := range b {
		b[i] = alphabet[b[i]%32]
	}
	return Code(b[:])
}

// String returns the code in groups of three, as people read and say it: 7K3-MPX-2Q9.
func (c Code) String() string {
	if len(c) != length {
		return string(c)
	}
	return string(c[:3] + "-" + c[3:6] + "-" + c[6:])
}

// ReadCode parses what a person typed: with or without hyphens and spaces, in upper or
// lower case, with O for 0, and I or L for 1.
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

// meeting is the type on which the peers of a code meet, and what they have in common.
type meeting struct {
	typ     string // of the messages on which they meet; not secret
	secret  string
	network string
}

// meet splits a code: its first three characters choose the type on which the peers meet,
// and the other six are the secret, 30 bits.
func meet(code Code, network string) meeting {
	return meeting{"pair/" + string(code[:group]), string(code[group:]), network}
}

// begin starts an exchange between the peer where the code was typed and the one that
// shows it.
func (m meeting) begin(typer, shower peer.ID) exchange {
	return newExchange(m.secret, m.parties(typer, shower))
}

// parties returns the input that binds the exchange to both peers: a peer that disagrees
// about it gets other keys.
func (m meeting) parties(typer, shower peer.ID) []byte {
	return lvCat([]byte("tombolo pair 2"), []byte(m.network), []byte(typer.String()), []byte(shower.String()))
}
