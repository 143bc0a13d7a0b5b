//go:build js

// Package chacha20poly1305 is what lean -simd adds to the package of that name in
// golang.org/x/crypto, which on WebAssembly is as slow as Go is there: the same by the
// module of wasm/internal/chachapoly, which has vectors.
package chacha20poly1305

import (
	"crypto/subtle"
	"encoding/binary"
	"math/bits"
	"structs"
	"unsafe"
)

const tagSize = 16

// state is what the module works on: see chachapoly.StateSize.
type state struct {
	_      structs.HostLayout
	chacha [16]uint32
	r, h   [5]uint32 // in limbs of 26 bits
	room   [256]byte
}

// sealSIMD encrypts plaintext into out, which may be plaintext, and returns the tag.
func sealSIMD(key *[32]byte, nonce, out, plaintext, additionalData []byte) [tagSize]byte {
	var s state
	pad := s.begin(key, nonce)
	s.xor(out, plaintext)
	return s.tag(&pad, additionalData, out[:len(plaintext)])
}

// openSIMD decrypts ciphertext into out, which may be ciphertext, if the tag is its own.
// Else it returns false, and out is as it was.
func openSIMD(key *[32]byte, nonce, out, ciphertext, tag, additionalData []byte) bool {
	var s state
	pad := s.begin(key, nonce)
	own := s.tag(&pad, additionalData, ciphertext)
	if subtle.ConstantTimeCompare(own[:], tag) != 1 {
		return false
	}
	s.xor(out, ciphertext)
	return true
}

// begin sets the state for a message: RFC 8439, 2.3 and 2.6. It returns what is added to
// the tag at the end.
func (s *state) begin(key *[32]byte, nonce []byte) (pad [16]byte) {
	le := binary.LittleEndian
	s.chacha = [16]uint32{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}
	for i := range 8 {
		s.chacha[4+i] = le.Uint32(key[4*i:])
	}
	for i := range 3 {
		s.chacha[13+i] = le.Uint32(nonce[4*i:])
	}
	var block [64]byte // the first, of which the authenticator has its key
	s.xor(block[:], block[:])
	s.setKey(block[:16])
	return [16]byte(block[16:])
}

// setKey sets r.
func (s *state) setKey(b []byte) {
	le := binary.LittleEndian
	lo, hi := le.Uint64(b)&0x0ffffffc0fffffff, le.Uint64(b[8:])&0x0ffffffc0ffffffc
	const mask = 1<<26 - 1
	s.r = [5]uint32{
		uint32(lo & mask), uint32(lo >> 26 & mask), uint32(lo>>52|hi<<12) & mask, uint32(hi >> 14 & mask), uint32(hi >> 40),
	}
}

func (s *state) xor(out, in []byte) {
	if len(in) > 0 {
		xor(unsafe.Pointer(s), unsafe.Pointer(&out[0]), unsafe.Pointer(&in[0]), int32(len(in)))
	}
}

// tag is Poly1305 of what RFC 8439, 2.8, puts together.
func (s *state) tag(pad *[16]byte, additionalData, ciphertext []byte) [tagSize]byte {
	s.mac(additionalData)
	s.mac(ciphertext)
	le := binary.LittleEndian
	var lengths [16]byte
	le.PutUint64(lengths[:], uint64(len(additionalData)))
	le.PutUint64(lengths[8:], uint64(len(ciphertext)))
	s.mac(lengths[:])
	return s.padded(pad)
}

func (s *state) padded(pad *[16]byte) (tag [tagSize]byte) {
	le := binary.LittleEndian
	lo, hi := s.reduced()
	lo, c := bits.Add64(lo, le.Uint64(pad[:]), 0)
	hi, _ = bits.Add64(hi, le.Uint64(pad[8:]), c)
	le.PutUint64(tag[:], lo)
	le.PutUint64(tag[8:], hi)
	return tag
}

// mac adds data, which ends with zeros if it is no whole number of blocks.
func (s *state) mac(data []byte) {
	whole := len(data) &^ 15
	if whole > 0 {
		mac(unsafe.Pointer(s), unsafe.Pointer(&data[0]), int32(whole))
	}
	if whole < len(data) {
		var last [16]byte
		copy(last[:], data[whole:])
		mac(unsafe.Pointer(s), unsafe.Pointer(&last[0]), int32(len(last)))
	}
}

// reduced is the accumulator modulo 2^130 - 5, without what is beyond 128 bits. Its time
// does not depend on it.
func (s *state) reduced() (lo, hi uint64) {
	// In 64 bits each, of which the third has two or, with what limbs have beyond their
	// 26 bits, three.
	lo, c := bits.Add64(uint64(s.h[0])+uint64(s.h[1])<<26, uint64(s.h[2])<<52, 0)
	hi, c = bits.Add64(uint64(s.h[2])>>12, uint64(s.h[3])<<14, c)
	hi, c2 := bits.Add64(hi, uint64(s.h[4])<<40, 0)
	top := uint64(s.h[4])>>24 + c + c2
	// What is beyond 130 bits counts five times.
	lo, c = bits.Add64(lo, 5*(top>>2), 0)
	hi, c = bits.Add64(hi, 0, c)
	top = top&3 + c
	// Less the prime, if it is not less: h + 5 has a bit beyond 130 then.
	lo5, c := bits.Add64(lo, 5, 0)
	hi5, c := bits.Add64(hi, 0, c)
	less := (top+c)>>2 - 1 // all ones, or zero
	return lo&less | lo5&^less, hi&less | hi5&^less
}
