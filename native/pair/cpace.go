package pair

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/gtank/ristretto255"
)

// This file implements the cipher suite CPACE-RISTR255-SHA512 of draft-irtf-cfrg-cpace,
// with an initiator and a responder. CPace is a key exchange that only two parties with
// the same secret complete. An eavesdropper cannot test guesses of the secret against
// what they send.

const (
	dsi        = "CPaceRistretto255"
	shareBytes = 32
	proofBytes = sha512.Size
)

// errShare is returned if a peer sends something that is not a share of an exchange.
var errShare = errors.New("not a share of an exchange of keys")

// exchange is one party's part of a run. It is used for one run only.
type exchange struct {
	scalar *ristretto255.Scalar
	share  []byte // sent to the other party
}

// newExchange starts a run. ci names the parties; both must give the same.
func newExchange(secret string, ci []byte) exchange {
	var random [64]byte
	_, _ = rand.Read(random[:]) // which never fails
	return exchangeOf(ristretto255.NewScalar().FromUniformBytes(random[:]), generator(secret, ci, nil))
}

func exchangeOf(scalar *ristretto255.Scalar, g *ristretto255.Element) exchange {
	return exchange{scalar, ristretto255.NewElement().ScalarMult(scalar, g).Encode(nil)}
}

// generator derives the generator from the secret.
func generator(secret string, ci, sid []byte) *ristretto255.Element {
	head := lvCat([]byte(dsi), []byte(secret))
	padding := make([]byte, max(0, sha512.BlockSize-1-len(head)))
	hash := sha512.Sum512(slices.Concat(head, lvCat(padding, ci, sid)))
	return ristretto255.NewElement().FromUniformBytes(hash[:])
}

// point returns the point that both parties compute. It refuses a share whose point is
// the neutral element, because that could be computed without the secret.
func (x exchange) point(other []byte) ([]byte, error) {
	y := ristretto255.NewElement()
	if err := y.Decode(other); err != nil {
		return nil, errShare
	}
	k := ristretto255.NewElement().ScalarMult(x.scalar, y)
	if k.Equal(ristretto255.NewElement()) == 1 {
		return nil, errShare
	}
	return k.Encode(nil), nil
}

// keyOf returns the ISK of the draft. The transcript has the shares of initiator and
// responder.
func keyOf(sid, point, transcript []byte) []byte {
	hash := sha512.Sum512(append(lvCat([]byte(dsi+"_ISK"), sid, point), transcript...))
	return hash[:]
}

// proofs computes what the parties of a run prove to each other: that they have the same
// key.
type proofs struct {
	key           []byte
	typer, shower []byte // the shares of the initiator and the responder
}

func proofsOf(point, initiator, responder []byte) proofs {
	key := keyOf(nil, point, append(lvCat(initiator, nil), lvCat(responder, nil)...))
	mac := sha512.Sum512(append([]byte("CPaceMac"), key...))
	return proofs{mac[:], initiator, responder}
}

// ofTyper returns the proof, for the peer that shows the code, that the other peer's user
// typed it.
func (p proofs) ofTyper() []byte { return p.prove("typed", p.typer, nil) }

// ofShower returns the proof, for the peer where the code was typed, that the other peer
// shows it and shares the service name.
func (p proofs) ofShower(name string) []byte { return p.prove("shown", p.shower, []byte(name)) }

func (p proofs) prove(role string, share, name []byte) []byte {
	h := hmac.New(sha512.New, p.key)
	h.Write(lvCat([]byte(role), share, name))
	return h.Sum(nil)
}

// lvCat concatenates the parts, each prefixed with its length in LEB128.
func lvCat(parts ...[]byte) (b []byte) {
	for _, part := range parts {
		b = append(binary.AppendUvarint(b, uint64(len(part))), part...)
	}
	return b
}
