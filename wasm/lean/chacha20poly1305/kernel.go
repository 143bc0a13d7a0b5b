//go:build js && !wasmsimd

package chacha20poly1305

import "unsafe"

// kernel is the module, for tests.
var kernel struct {
	xor func(s, dst, src unsafe.Pointer, n int32)
	mac func(s, data unsafe.Pointer, n int32)
}

func xor(s, dst, src unsafe.Pointer, n int32) { kernel.xor(s, dst, src, n) }
func mac(s, data unsafe.Pointer, n int32)     { kernel.mac(s, data, n) }
