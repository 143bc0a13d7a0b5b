// Package link changes WebAssembly modules after Go's linker has made them: it removes
// parts that the linker could have left out. Each pass checks what it assumes about the
// toolchain. If that does not hold, it returns an error and changes nothing.
//
// Specification: https://webassembly.github.io/spec/core/binary/modules.html
package link

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Sections of a module. They are in the order of their numbers; custom ones may be
// anywhere.
const (
	customSection   = 0
	typeSection     = 1
	importSection   = 2
	functionSection = 3
	tableSection    = 4
	memorySection   = 5
	globalSection   = 6
	exportSection   = 7
	startSection    = 8
	elementSection  = 9
	codeSection     = 10
	dataSection     = 11
)

var magic = []byte("\x00asm\x01\x00\x00\x00")

// ErrMalformed is wrapped by the errors of Read.
var ErrMalformed = errors.New("not a WebAssembly module as Go's linker writes them")

// Module is a WebAssembly module. Parts that no pass has changed are written as they were
// read.
type Module struct {
	sections []section
	imported uint64 // functions
	memory   []byte // the initial memory, from the data
}

type section struct {
	id   byte
	body []byte
}

// Read parses a module. It keeps parts of b.
func Read(b []byte) (*Module, error) {
	body, ok := bytes.CutPrefix(b, magic)
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin like one", ErrMalformed)
	}
	m := new(Module)
	for r := (reader{b: body}); len(r.b) > 0; {
		m.sections = append(m.sections, section{r.byte(), r.bytes()})
		if r.err != nil {
			return nil, r.err
		}
	}
	for _, read := range []func() error{m.readImports, m.readData} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Bytes returns the module in binary form.
func (m *Module) Bytes() []byte {
	b := slices.Clone(magic)
	for _, s := range m.sections {
		b = append(b, s.id)
		b = appendBytes(b, s.body)
	}
	return b
}

func (m *Module) section(id byte) *section {
	for i := range m.sections {
		if m.sections[i].id == id {
			return &m.sections[i]
		}
	}
	return &section{id: id, body: []byte{0}} // an empty list
}

// setSection replaces a section, or inserts it where it belongs.
func (m *Module) setSection(id byte, body []byte) {
	at := len(m.sections)
	for i, s := range m.sections {
		if s.id == id {
			m.sections[i].body = body
			return
		}
		if s.id > id && at == len(m.sections) {
			at = i
		}
	}
	m.sections = slices.Insert(m.sections, at, section{id, body})
}

// custom returns the content of the custom section with that name.
func (m *Module) custom(name string) ([]byte, error) {
	for _, s := range m.sections {
		if s.id == customSection {
			if r := (reader{b: s.body}); string(r.bytes()) == name {
				return r.b, nil
			}
		}
	}
	return nil, fmt.Errorf("it has no section %q", name)
}

func (m *Module) dropCustom(name string) {
	m.sections = slices.DeleteFunc(m.sections, func(s section) bool {
		r := reader{b: s.body}
		return s.id == customSection && string(r.bytes()) == name
	})
}

// Attach adds a custom section to the module, replacing one of that name.
func (m *Module) Attach(name string, data []byte) { m.addCustom(name, data) }

// addCustom puts a custom section before all others, so that a loader that reads the
// module from its start gets it at once.
func (m *Module) addCustom(name string, data []byte) {
	m.dropCustom(name)
	m.sections = slices.Insert(m.sections, 0, section{customSection, append(appendBytes(nil, []byte(name)), data...)})
}

func (m *Module) readImports() error {
	r := reader{b: m.section(importSection).body}
	for range r.count() {
		r.bytes()
		r.bytes()
		if kind := r.byte(); kind != 0 && r.err == nil {
			return fmt.Errorf("%w: it imports something that is not a function", ErrMalformed)
		}
		r.number()
		m.imported++
	}
	return r.end()
}

// readData copies the data to where they will be in memory.
func (m *Module) readData() error {
	const most = 256 << 20
	r := reader{b: m.section(dataSection).body}
	for range r.count() {
		if r.number() != 0 || r.byte() != i32Const {
			return cmp.Or(r.err, fmt.Errorf("%w: data that are not put into memory at its start", ErrMalformed))
		}
		at := r.signed()
		last := r.byte()
		data := r.bytes()
		to := at + int64(len(data))
		if last != end || at < 0 || to > most {
			return cmp.Or(r.err, fmt.Errorf("%w: data that are put nowhere, or beyond 256 MiB", ErrMalformed))
		}
		if more := to - int64(len(m.memory)); more > 0 {
			m.memory = append(m.memory, make([]byte, more)...)
		}
		copy(m.memory[at:], data)
	}
	return r.end()
}

// addFunction adds a function with the type of another, and returns its number.
func (m *Module) addFunction(like uint64, body []byte) (uint64, error) {
	all, err := m.functions()
	if err != nil {
		return 0, err
	}
	typ, err := m.typeOf(like, all)
	if err != nil {
		return 0, err
	}
	m.setFunctions(append(all, function{typ, body}))
	return m.imported + uint64(len(all)), nil
}

// Opcodes and types of WebAssembly.
const (
	blockVoid = 0x40
	i32       = 0x7f
	i64       = 0x7e

	block          = 0x02
	loop           = 0x03
	ifThen         = 0x04
	end            = 0x0b
	br             = 0x0c
	brIf           = 0x0d
	brTable        = 0x0e
	call           = 0x10
	callIndirect   = 0x11
	localGet       = 0x20
	localSet       = 0x21
	localTee       = 0x22
	globalGet      = 0x23
	globalSet      = 0x24
	tableSet       = 0x26
	firstLoad      = 0x28
	i32Load8U      = 0x2d
	i32Store       = 0x36
	i32Store8      = 0x3a
	lastStore      = 0x3e
	memorySize     = 0x3f
	memoryGrow     = 0x40
	i32Const       = 0x41
	i64Const       = 0x42
	f32Const       = 0x43
	f64Const       = 0x44
	firstNumeric   = 0x45
	i32Eqz         = 0x45
	i32LtU         = 0x49
	i32Add         = 0x6a
	i32Or          = 0x72
	i32ShrU        = 0x76
	lastNumeric    = 0xc4
	extended       = 0xfc // followed by one more number
	lastSaturating = 7
	memoryCopy     = 10
	memoryFill     = 11
)

func appendBytes(b, data []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(data))), data...)
}

// appendSigned appends a signed number in WebAssembly's encoding (SLEB128).
func appendSigned(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

// reader decodes a module. After an error all results are zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = fmt.Errorf("%w: it ends too early, or has a number that is none", ErrMalformed)
	}
	r.b = nil
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads the length of a list, whose elements take at least a byte each.
func (r *reader) count() int {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) signed() (v int64) {
	for shift := 0; shift < 64; shift += 7 {
		c := r.byte()
		v |= int64(c&0x7f) << shift
		if c < 0x80 {
			if shift < 57 && c&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
	r.fail()
	return 0
}

func (r *reader) bytes() []byte {
	n := r.count()
	data := r.b[:n]
	r.b = r.b[n:]
	return data
}

// end returns an error if a read failed or something is left over.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%w: something is left over", ErrMalformed)
	}
	return r.err
}
