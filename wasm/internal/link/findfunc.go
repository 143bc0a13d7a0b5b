package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// runtime.findfunctab tells the runtime which function a program counter is in. It has a
// bucket for each 4 KiB of code: the number of the first function in it, and sixteen
// steps from there to functions that begin later. On WebAssembly each function has its
// own 64 KiB of program counters, and so sixteen buckets, each with the function's number
// and no steps: four megabytes that a loop can write. See runtime.findfuncbucket.
const (
	bucketSize      = 20
	bucketsOfOne    = 16
	fewestFunctions = 500 // no program has fewer, and no other table of ours so many
)

// FillFindFuncTab removes runtime.findfunctab from the data: the module writes it when it
// is instantiated. It returns the size of the table in bytes.
func FillFindFuncTab(m *Module) (size int, err error) {
	size, err = fillFindFuncTab(m)
	if err != nil {
		err = fmt.Errorf("runtime.findfunctab stays in the program: %w", err)
	}
	return size, err
}

func fillFindFuncTab(m *Module) (int, error) {
	at, buckets, err := findFuncTab(m.memory)
	if err != nil {
		return 0, err
	}
	resume, err := m.export("resume") // has no parameters; a start function must not have any
	if err != nil {
		return 0, err
	}
	begin, err := m.addFunction(resume, fillBuckets(at, buckets))
	if err != nil {
		return 0, err
	}
	m.setSection(startSection, binary.AppendUvarint(nil, begin))
	clear(m.memory[at : at+buckets*bucketSize])
	m.PackData()
	return buckets * bucketSize, nil
}

// findFuncTab finds the table by its content, and by the runtime's pointer to it.
func findFuncTab(memory []byte) (at, buckets int, err error) {
	is := func(at, bucket int) bool {
		if at+bucketSize > len(memory) {
			return false
		}
		b := memory[at : at+bucketSize]
		return binary.LittleEndian.Uint32(b) == uint32(bucket/bucketsOfOne) && allZero(b[4:])
	}
	// The seventeenth bucket is the first with something in it.
	second := append(binary.LittleEndian.AppendUint32(nil, 1), make([]byte, bucketSize-4)...)
	second = append(second, second...)
	for from := 0; ; {
		i := bytes.Index(memory[from:], second)
		if i < 0 {
			return 0, 0, errors.New("no table was found that looks like it")
		}
		from += i + 4
		at = from - 4 - bucketsOfOne*bucketSize
		if at < 0 {
			continue
		}
		buckets = 0
		for is(at+buckets*bucketSize, buckets) {
			buckets++
		}
		if buckets >= fewestFunctions*bucketsOfOne {
			break
		}
	}
	if buckets -= buckets % bucketsOfOne; !bytes.Contains(memory, binary.LittleEndian.AppendUint64(nil, uint64(at))) {
		return 0, 0, errors.New("nothing points to the table that looks like it")
	}
	return at, buckets, nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// fillBuckets returns the body of a function that writes the table.
func fillBuckets(at, buckets int) []byte {
	const (
		bucket = 0 // locals
		to     = 1
	)
	b := []byte{1, 2, i32} // one group of locals: two numbers
	b = append(appendSigned(append(b, i32Const), int64(int32(at))), localSet, to)
	b = append(b, loop, blockVoid)
	b = append(b, localGet, to, localGet, bucket, i32Const, 4, i32ShrU, i32Store, 2, 0)
	b = append(b, localGet, to, i32Const, bucketSize, i32Add, localSet, to)
	b = append(b, localGet, bucket, i32Const, 1, i32Add, localTee, bucket)
	b = append(appendSigned(append(b, i32Const), int64(buckets)), i32LtU, brIf, 0)
	return append(b, end, end)
}
