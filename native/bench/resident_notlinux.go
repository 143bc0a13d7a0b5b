//go:build !linux

package main

import "runtime"

// resident is how much memory Go's runtime has from the system, in bytes.
func resident() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys - m.HeapReleased
}
