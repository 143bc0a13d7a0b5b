//go:build !linux

package main

import "runtime"

// resident returns how much memory Go's runtime has got from the system, in bytes.
func resident() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys - m.HeapReleased
}
