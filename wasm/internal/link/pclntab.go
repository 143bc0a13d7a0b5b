package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// pclntab is the runtime's table of functions: their names, lines, and, by program
// counters, where pointers are on their stacks. See runtime.pcHeader and runtime._func.
type pclntab struct {
	memory    []byte
	functions int
	cu, file  span // compilation units, and the names of files
	pctab     span // values that change along with program counters
	pcln      int  // where the functions begin
}

// span is a range of memory.
type span struct{ from, to int }

func (s span) of(memory []byte) []byte { return memory[s.from:s.to] }

// Fields of runtime._func, followed by pcdata and funcdata.
const (
	funcPCSP    = 16
	funcPCFile  = 20
	funcPCLine  = 24
	funcNPCData = 28
	funcSize    = 44
)

// firstEntry is the number of the first function. Program counters have a function's
// number above their low 16 bits.
const firstEntry = 0x1000

// pclnHeader is the start of the table's header: a magic number, unchanged since Go 1.20,
// padding, the smallest size of an instruction, and the size of a pointer.
var pclnHeader = []byte{0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8}

func findPclntab(memory []byte) (*pclntab, error) {
	const words = 9
	for from := 0; ; from++ {
		i := bytes.Index(memory[from:], pclnHeader)
		if i < 0 || from+i+8*words > len(memory) {
			return nil, errors.New("no table of functions was found that looks like it")
		}
		from += i
		word := func(i int) int { return int(binary.LittleEndian.Uint64(memory[from+8*i:])) }
		t := &pclntab{memory: memory, functions: word(1)}
		at := func(i int) int { return from + word(i) }
		names, cu, file, pctab, pcln := at(4), at(5), at(6), at(7), at(8)
		if names < from || cu < names || file < cu || pctab < file || pcln < pctab || pcln > len(memory) || t.functions < fewestFunctions {
			continue
		}
		t.cu, t.file, t.pctab, t.pcln = span{cu, file}, span{file, pctab}, span{pctab, pcln}, pcln
		if t.check() == nil && bytes.Contains(memory, binary.LittleEndian.AppendUint64(nil, uint64(from))) {
			return t, nil
		}
	}
}

// check returns an error if the table is not as expected.
func (t *pclntab) check() error {
	last := -1
	for i := range t.functions {
		f, number, err := t.function(i)
		if err != nil {
			return err
		}
		if number <= last || binary.LittleEndian.Uint32(f) != uint32(firstEntry+number) {
			return fmt.Errorf("function %d of the table is not in its place", i)
		}
		last = number
		for _, at := range []int{funcPCSP, funcPCFile, funcPCLine} {
			if offset := int(binary.LittleEndian.Uint32(f[at:])); offset >= t.pctab.to-t.pctab.from {
				return fmt.Errorf("function %d of the table has no lines", i)
			}
		}
	}
	return nil
}

// function returns the table's entry of a function, and the function's number among those
// that the module defines.
func (t *pclntab) function(i int) (f []byte, number int, err error) {
	entry := t.pcln + 8*i
	if entry+8 > len(t.memory) {
		return nil, 0, errors.New("the table of functions is too short")
	}
	number = int(binary.LittleEndian.Uint32(t.memory[entry:])) - firstEntry
	at := t.pcln + int(binary.LittleEndian.Uint32(t.memory[entry+4:]))
	if at+funcSize > len(t.memory) {
		return nil, 0, errors.New("the table of functions leads out of memory")
	}
	f = t.memory[at:]
	n := int(binary.LittleEndian.Uint32(f[funcNPCData:]))
	if n > 64 || funcSize+4*n > len(f) {
		return nil, 0, errors.New("a function has more tables than the runtime knows")
	}
	return f[:funcSize+4*n], number, nil
}

// steps marks the steps of a function's table at an offset in pctab, in the way
// runtime.step reads them.
func (t *pclntab) steps(offset uint32, used []bool) error {
	at := int(offset)
	number := func() (zero bool) {
		zero = true
		for at < len(used) {
			b := t.memory[t.pctab.from+at]
			used[at] = true
			at++
			if b&0x7f != 0 {
				zero = false
			}
			if b < 0x80 {
				break
			}
		}
		return zero
	}
	for first := true; offset != 0; first = false {
		if at >= len(used) {
			return errors.New("a table of lines does not end")
		}
		if number() && !first {
			break
		}
		number()
	}
	return nil
}

// cut removes from the table everything that only moved functions need, and all files and
// lines.
func (t *pclntab) cut(moved func(number int) bool) error {
	used := make([]bool, t.pctab.to-t.pctab.from)
	for i := range t.functions {
		f, number, err := t.function(i)
		if err != nil {
			return err
		}
		tables := f[funcSize:]
		if moved(number) {
			tables = nil // but keep the size of its frame: a goroutine may be about to begin with it
		}
		tables = append(bytes.Clone(f[funcPCSP:funcPCSP+4]), tables...)
		for ; len(tables) > 0; tables = tables[4:] {
			if err := t.steps(binary.LittleEndian.Uint32(tables), used); err != nil {
				return err
			}
		}
	}
	for i := range t.functions {
		f, _, _ := t.function(i)
		clear(f[funcPCFile : funcPCLine+4])
	}
	pctab := t.pctab.of(t.memory)
	for i, u := range used {
		if !u {
			pctab[i] = 0
		}
	}
	clear(t.cu.of(t.memory))
	clear(t.file.of(t.memory))
	return nil
}
