//go:build wasmsimd

package chacha20poly1305

import "unsafe"

// What a loader provides: see web/src/simd.ts. ready returns 0 if the platform has no
// vectors.

//go:wasmimport chachapoly ready
func ready() int32

//go:wasmimport chachapoly xor
//go:noescape
func xor(s, dst, src unsafe.Pointer, n int32)

//go:wasmimport chachapoly mac
//go:noescape
func mac(s, data unsafe.Pointer, n int32)
