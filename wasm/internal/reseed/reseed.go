//go:build js && snapshot

// Package reseed gives a program that starts from a snapshot randomness of its own: see
// package link. Before the snapshot, the runtime has seeded its generators, which are
// alike in all who start from it.
//
// It reaches into the runtime, for which the linker must be told -checklinkname=0, and
// is therefore built with the tag snapshot only.
package reseed

import "unsafe"

// globalRand is runtime.globalRand, up to the field that says whether it is seeded.
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

// reseed seeds the runtime's generators anew, from the platform's randomness, as they
// were when the program started: math/rand and the seeds of new maps are theirs.
// Package crypto/rand asks the platform each time. The loader calls it before anything
// else.
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
