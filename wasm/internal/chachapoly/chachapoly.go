// Package chachapoly generates a WebAssembly module that computes ChaCha20-Poly1305 (RFC
// 8439) with 128-bit vectors, which Go does not use on WebAssembly. It works on the
// memory of the program that calls it: its pointers are that program's, and nothing is
// copied. See wasm/lean/chacha20poly1305, which calls it.
//
// The module imports the memory "program" "mem" and exports two functions:
//
//	xor(state, dst, src, n i32): XORs n bytes with the keystream; dst may be src
//	mac(state, data, n i32): adds n bytes, a multiple of 16, to the authenticator
//
// A state consists of 32-bit numbers: the 16 of ChaCha20 before its rounds, of which xor
// advances the counter past the blocks it has begun; 5 of r and 5 of the accumulator of
// Poly1305, in limbs of 26 bits; and 256 bytes of room.
package chachapoly

import "encoding/binary"

// Section is the custom section of a program that contains the module for the loader.
const Section = "tombolo.chachapoly"

// Offsets of the parts of a state, in bytes.
const (
	counterAt = 4 * 12
	rAt       = 4 * 16
	hAt       = rAt + 4*5
	roomAt    = hAt + 4*5

	// StateSize is the size of a state, in bytes.
	StateSize = roomAt + blocks*blockSize
)

// Module returns the module.
func Module() []byte {
	types := list(
		cat(code{0x60}, list(code{i32}, code{i32}, code{i32}, code{i32}), code{0}),
		cat(code{0x60}, list(code{i32}, code{i32}, code{i32}), code{0}),
	)
	memory := cat(name("program"), name("mem"), code{0x02, 0x00, 0x01}) // a memory of a page or more
	exports := list(cat(name("xor"), code{0, 0}), cat(name("mac"), code{0, 1}))
	return cat(
		code("\x00asm\x01\x00\x00\x00"),
		section(1, types),
		section(2, list(memory)),
		section(3, list(code{0}, code{1})), // the types of the functions
		section(7, exports),
		section(10, list(xor(), mac())),
	)
}

func section(id byte, body code) code { return cat(code{id}, sized(body)) }

func list(items ...code) code {
	return cat(append([]code{binary.AppendUvarint(nil, uint64(len(items)))}, items...)...)
}

func sized(b code) code { return append(binary.AppendUvarint(nil, uint64(len(b))), b...) }

func name(s string) code { return sized(code(s)) }
