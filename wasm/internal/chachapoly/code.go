package chachapoly

import (
	"encoding/binary"
	"slices"
)

// code is instructions, in the binary format. A function below that is named after an
// instruction takes its operands as code that leaves one value each.
type code []byte

// local is a parameter or a local variable, by its number.
type local uint64

// Types of locals.
const (
	v128 = 0x7b
	i64  = 0x7e
	i32  = 0x7f
)

func cat(parts ...code) code { return slices.Concat(parts...) }

// op returns an instruction after its operands.
func op(opcode byte, operands ...code) code { return append(cat(operands...), opcode) }

// simd returns a vector instruction after its operands.
func simd(opcode uint64, operands ...code) code {
	return binary.AppendUvarint(append(cat(operands...), 0xfd), opcode)
}

// at returns the memory operand of an instruction: an offset that is added to the
// address, without alignment.
func at(offset uint64) code { return binary.AppendUvarint(code{0}, offset) }

func (l local) get() code           { return binary.AppendUvarint(code{0x20}, uint64(l)) }
func (l local) set(value code) code { return binary.AppendUvarint(cat(value, code{0x21}), uint64(l)) }

// signed returns a constant in signed LEB128.
func signed(opcode byte, v int64) code {
	c := code{opcode}
	for ; v < -64 || v > 63; v >>= 7 {
		c = append(c, byte(v)|0x80)
	}
	return append(c, byte(v)&0x7f)
}

func i32const(v int64) code { return signed(0x41, v) }
func i64const(v int64) code { return signed(0x42, v) }

func i32ltu(a, b code) code   { return op(0x49, a, b) }
func i32add(a, b code) code   { return op(0x6a, a, b) }
func i32sub(a, b code) code   { return op(0x6b, a, b) }
func i32shru(a, b code) code  { return op(0x76, a, b) }
func i64add(a, b code) code   { return op(0x7c, a, b) }
func i64mul(a, b code) code   { return op(0x7e, a, b) }
func i64and(a, b code) code   { return op(0x83, a, b) }
func i64or(a, b code) code    { return op(0x84, a, b) }
func i64shru(a, b code) code  { return op(0x88, a, b) }
func v128or(a, b code) code   { return simd(0x50, a, b) }
func v128xor(a, b code) code  { return simd(0x51, a, b) }
func i32x4add(a, b code) code { return simd(0xae, a, b) }

func i32x4shl(a code, n int64) code  { return simd(0xab, a, i32const(n)) }
func i32x4shru(a code, n int64) code { return simd(0xad, a, i32const(n)) }

// shuffle picks bytes of a and b; those of b are numbered from 16.
func shuffle(a, b code, lanes [16]byte) code { return append(simd(0x0d, a, b), lanes[:]...) }

func v128const(lanes ...uint32) code {
	c := simd(0x0c)
	for _, lane := range lanes {
		c = binary.LittleEndian.AppendUint32(c, lane)
	}
	return c
}

func i32load(address code, offset uint64) code  { return cat(op(0x28, address), at(offset)) }
func v128load(address code, offset uint64) code { return cat(simd(0x00, address), at(offset)) }

// splat32 loads 32 bits into each part of a vector.
func splat32(address code, offset uint64) code { return cat(simd(0x09, address), at(offset)) }

// i64load32 loads 32 bits, unsigned.
func i64load32(address code, offset uint64) code { return cat(op(0x35, address), at(offset)) }

func i32store(address code, offset uint64, value code) code {
	return cat(op(0x36, address, value), at(offset))
}

func i64store32(address code, offset uint64, value code) code {
	return cat(op(0x3e, address, value), at(offset))
}

func v128store(address code, offset uint64, value code) code {
	return cat(simd(0x0b, address, value), at(offset))
}

func memoryCopy(to, from, n code) code { return append(cat(to, from, n), 0xfc, 0x0a, 0, 0) }

// loop repeats its body while the condition at its end is not zero.
func loop(body, condition code) code {
	return cat(code{0x03, 0x40}, body, condition, code{0x0d, 0x00, 0x0b})
}

// when runs its body if the condition is not zero.
func when(condition, body code) code { return cat(condition, code{0x04, 0x40}, body, code{0x0b}) }

// function returns a function with the given groups of locals, after its parameters.
func function(locals []code, body code) code { return sized(cat(list(locals...), body, code{0x0b})) }

func locals(n uint64, typ byte) code { return append(binary.AppendUvarint(nil, n), typ) }
