//go:build js && snapshot

// Package reseed gives a program that starts from a snapshot its own randomness: see
// package link. The runtime seeded its generators before the snapshot, so they are the
// same in all programs that start from it.
//
// It accesses the runtime, which requires the linker flag -checklinkname=0, and is
// therefore built with the tag snapshot only.
package reseed

import "unsafe"

// globalRand is runtime.globalRand, up to the field that records whether it is seeded.
//
//go:linkname globalRand runtime.globalRand
var globalRand struct {
	lock  uintptr
	seed  [32]byte
	state struct {
		buf     [32]uint64
		seed    [4]uint64
		i, n, c uint32
	}
	init bool
}

//go:linkname randinit runtime.randinit
func randinit()

//go:linkname mrandinit runtime.mrandinit
func mrandinit(m unsafe.Pointer)

//go:linkname getm runtime.getm
func getm() unsafe.Pointer

// reseed seeds the runtime's generators again from the platform's randomness, as at the
// start of the program. math/rand and the seeds of new maps use them. Package crypto/rand
// asks the platform each time. The loader calls reseed before anything else.
//
//go:wasmexport reseed
func reseed() {
	if !globalRand.init {
		panic("reseed: the runtime of this version of Go has its generator elsewhere")
	}
	globalRand.init = false
	randinit()
	mrandinit(getm())
}
