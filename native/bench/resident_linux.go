package main

import (
	"bytes"
	"os"
	"strconv"
)

// resident returns this process's resident memory, in bytes, or 0 if it is unknown.
func resident() uint64 {
	stat, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, _ := strconv.ParseUint(string(bytes.Fields(stat)[1]), 10, 64)
	return pages * uint64(os.Getpagesize())
}
