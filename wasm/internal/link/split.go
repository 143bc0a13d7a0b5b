package link

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
)

// restSection is the custom section that identifies a module and its second file as parts
// of one build. A loader compares them: see web/src/rest.ts.
const restSection = "tombolo.rest"

// leastBody is the smallest size, in bytes, of a function that is worth moving: its stub
// takes nine.
const leastBody = 24

// Split moves functions to a second module, the rest, which shares memory, table and
// registers with the first. A program starts with the first. When it calls a moved
// function before the rest is loaded, it calls its import "rest" "load", which must
// instantiate the rest before it returns. The rest imports what the first imports, and
// what the first exports as "program".
//
// Functions stay if hot returns true for their names, or if Go's compiler did not make
// them.
func Split(m *Module, hot func(name string) bool) (rest *Module, err error) {
	names, err := m.names()
	before := *m
	before.sections = slices.Clone(m.sections)
	if err == nil {
		rest, err = split(m, names, hot)
	}
	if err != nil {
		*m = before
		return nil, fmt.Errorf("the program stays in one piece: %w", err)
	}
	return rest, nil
}

func split(m *Module, names []string, hot func(name string) bool) (*Module, error) {
	load, err := m.addImport("rest", "load", nil, nil)
	if err != nil {
		return nil, err
	}
	if err := m.ExportState(); err != nil {
		return nil, err
	}
	s := &splitter{m: m}
	if err := s.read(); err != nil {
		return nil, err
	}
	s.choose(names, hot)
	rest, err := s.rest()
	if err != nil {
		return nil, err
	}
	if err := s.cutTables(rest); err != nil {
		return nil, err
	}
	// The two are of the same build if their marks are equal.
	id := sha256.Sum256(rest.Bytes())
	mark := []byte(hex.EncodeToString(id[:16]))
	rest.addCustom(restSection, mark)
	m.addCustom(restSection, mark)
	return rest, s.leave(load)
}

type splitter struct {
	m         *Module
	functions []function
	globals   []global
	compiled  uint64            // the type of functions that Go's compiler made
	slots     map[uint64]int64  // in the table, by function number
	stay      map[uint64]bool   // by number
	moved     []int             // of functions, in their order
	at        map[uint64]uint64 // numbers in the rest, by those in the module
}

func (s *splitter) read() (err error) {
	if s.functions, err = s.m.functions(); err != nil {
		return err
	}
	if s.globals, err = s.m.globals(); err != nil {
		return err
	}
	table, err := s.m.table()
	if err != nil {
		return err
	}
	s.slots = make(map[uint64]int64)
	for i, f := range table.functions {
		s.slots[f] = table.from + int64(i)
	}
	exports, err := s.m.exports()
	if err != nil {
		return err
	}
	s.stay = make(map[uint64]bool)
	for _, e := range exports {
		if e.kind == kindFunction {
			s.stay[e.number] = true
		}
	}
	s.compiled, err = s.m.addType([]byte{i32}, []byte{i32})
	return err
}

// choose picks the functions to move.
func (s *splitter) choose(names []string, hot func(name string) bool) {
	s.at = make(map[uint64]uint64)
	for i, f := range s.functions {
		number := s.m.imported + uint64(i)
		_, inTable := s.slots[number]
		if i >= len(names) || !inTable || s.stay[number] || f.typ != s.compiled || len(f.body) < leastBody || hot(names[i]) {
			continue
		}
		s.at[number] = s.m.imported + uint64(len(s.moved))
		s.moved = append(s.moved, i)
	}
}

// flag is the number of the global that is 1 once the rest is loaded.
func (s *splitter) flag() uint64 { return uint64(len(s.globals)) }

// rest makes the second module.
func (s *splitter) rest() (*Module, error) {
	rest := &Module{imported: s.m.imported}
	bodies := make([]function, len(s.moved))
	for i, f := range s.moved {
		body, err := rewriteCalls(s.functions[f].body, s.callFromRest)
		if err != nil {
			return nil, err
		}
		bodies[i] = function{s.compiled, body}
	}
	none, err := s.m.addType(nil, nil)
	if err != nil {
		return nil, err
	}
	// It runs at the start, when functions and data are in place.
	raise := append(binary.AppendUvarint([]byte{0, i32Const, 1, globalSet}, s.flag()), end)
	rest.setSection(typeSection, s.m.section(typeSection).body)
	rest.setSection(importSection, s.shared())
	rest.setSection(startSection, binary.AppendUvarint(nil, rest.imported+uint64(len(s.moved))))
	rest.setSection(elementSection, appendTables(s.places()...))
	rest.setFunctions(append(bodies, function{none, raise}))
	return rest, nil
}

// callFromRest writes the call of a function from a moved one.
func (s *splitter) callFromRest(b []byte, callee uint64) ([]byte, error) {
	if callee < s.m.imported {
		return binary.AppendUvarint(append(b, call), callee), nil
	}
	if number, moved := s.at[callee]; moved {
		return binary.AppendUvarint(append(b, call), number), nil
	}
	slot, ok := s.slots[callee]
	if !ok {
		return nil, fmt.Errorf("%w: a function that is not in the table is called", ErrMalformed)
	}
	typ, err := s.m.typeOf(callee, s.functions)
	b = appendSigned(append(b, i32Const), slot)
	return append(binary.AppendUvarint(append(b, callIndirect), typ), 0), err
}

// shared returns the imports of the rest: those of the module, and the module's state.
func (s *splitter) shared() []byte {
	theirs := reader{b: s.m.section(importSection).body}
	b := binary.AppendUvarint(nil, theirs.number()+2+s.flag()+1)
	b = append(b, theirs.b...)
	from := func(name string, what ...byte) {
		b = append(appendBytes(appendBytes(b, []byte("program")), []byte(name)), what...)
	}
	from("mem", kindMemory, 0, 0) // no minimum and no maximum size
	from("table", kindTable, 0x70, 0, 0)
	for i, g := range append(s.globals, global{typ: i32}) {
		from(globalName(i), kindGlobal, g.typ, 1)
	}
	return b
}

// places returns where the moved functions were in the table; neighbours share a range.
func (s *splitter) places() (all []table) {
	for i, f := range s.moved {
		slot := s.slots[s.m.imported+uint64(f)]
		if n := len(all); n == 0 || all[n-1].from+int64(len(all[n-1].functions)) != slot {
			all = append(all, table{from: slot})
		}
		t := &all[len(all)-1]
		t.functions = append(t.functions, s.m.imported+uint64(i))
	}
	return all
}

// cutTables moves files and lines to the rest, and the stack tables of the moved
// functions. Until the rest is loaded, a panic names functions, but no lines.
func (s *splitter) cutTables(rest *Module) error {
	memory := bytes.Clone(s.m.memory)
	t, err := findPclntab(memory)
	if err != nil {
		return err
	}
	moved := make(map[int]bool)
	for _, f := range s.moved {
		moved[f] = true
	}
	if err := t.cut(func(number int) bool { return moved[number] }); err != nil {
		return err
	}
	rest.setSection(dataSection, appendSegments(differences(memory, s.m.memory)))
	s.m.memory = memory
	s.m.PackData()
	return nil
}

// leave replaces the moved functions by stubs that load the rest.
func (s *splitter) leave(load uint64) error {
	through := s.m.imported + uint64(len(s.functions))
	for _, f := range s.moved {
		b := appendSigned([]byte{0, localGet, 0, i32Const}, s.slots[s.m.imported+uint64(f)])
		s.functions[f].body = append(binary.AppendUvarint(append(b, call), through), end)
	}
	typ, err := s.m.addType([]byte{i32, i32}, []byte{i32})
	if err != nil {
		return err
	}
	// It calls the function in the slot of the table given by its second parameter, with the
	// first one.
	b := binary.AppendUvarint([]byte{0, globalGet}, s.flag())
	b = binary.AppendUvarint(append(b, i32Eqz, ifThen, blockVoid, call), load)
	b = binary.AppendUvarint(append(b, end, localGet, 0, localGet, 1, callIndirect), s.compiled)
	s.m.setFunctions(append(s.functions, function{typ, append(b, 0, end)}))
	s.m.setGlobals(append(s.globals, global{typ: i32}))
	return s.m.ExportState() // the flag, too
}
