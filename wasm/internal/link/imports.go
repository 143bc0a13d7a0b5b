package link

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// addImport adds an imported function to the module, and returns its number. The numbers
// of the functions that the module defines grow by one, everywhere except in the section
// of their names, which must therefore be read before.
func (m *Module) addImport(module, name string, params, results []byte) (uint64, error) {
	added := m.imported
	shift := func(f uint64) uint64 {
		if f >= added {
			f++
		}
		return f
	}
	functions, err := m.functions()
	if err != nil {
		return 0, err
	}
	for i, f := range functions {
		functions[i].body, err = rewriteCalls(f.body, func(b []byte, callee uint64) ([]byte, error) {
			return binary.AppendUvarint(append(b, call), shift(callee)), nil
		})
		if err != nil {
			return 0, err
		}
	}
	exports, err := m.exports()
	if err != nil {
		return 0, err
	}
	for i, e := range exports {
		if e.kind == kindFunction {
			exports[i].number = shift(e.number)
		}
	}
	table, err := m.table()
	if err != nil {
		return 0, err
	}
	for i, f := range table.functions {
		table.functions[i] = shift(f)
	}
	typ, err := m.addType(params, results)
	if err != nil {
		return 0, err
	}

	m.setFunctions(functions)
	m.setExports(exports)
	m.setSection(elementSection, appendTables(table))
	if start := m.section(startSection).body; !bytes.Equal(start, []byte{0}) {
		r := reader{b: start}
		m.setSection(startSection, binary.AppendUvarint(nil, shift(r.number())))
	}
	r := reader{b: m.section(importSection).body}
	b := binary.AppendUvarint(nil, r.number()+1)
	b = appendBytes(appendBytes(append(b, r.b...), []byte(module)), []byte(name))
	m.setSection(importSection, binary.AppendUvarint(append(b, kindFunction), typ))
	m.imported++
	return added, nil
}

// addType returns the number of the type of functions with these parameters and results,
// adding it if necessary.
func (m *Module) addType(params, results []byte) (uint64, error) {
	const isFunction = 0x60
	r := reader{b: m.section(typeSection).body}
	count := r.count()
	all := r.b
	for i := range count {
		kind, p, q := r.byte(), r.bytes(), r.bytes()
		if r.err == nil && kind == isFunction && bytes.Equal(p, params) && bytes.Equal(q, results) {
			return uint64(i), nil
		}
	}
	b := binary.AppendUvarint(nil, uint64(count+1))
	b = appendBytes(appendBytes(append(append(b, all...), isFunction), params), results)
	m.setSection(typeSection, b)
	return uint64(count), r.end()
}

// table is a range of the table of functions.
type table struct {
	from      int64
	functions []uint64
}

// table returns the filled part of the table: Go's linker puts every function there,
// contiguously.
func (m *Module) table() (t table, err error) {
	r := reader{b: m.section(elementSection).body}
	if r.number() != 1 || r.number() != 0 || r.byte() != i32Const {
		return t, fmt.Errorf("%w: a table of another kind", ErrMalformed)
	}
	t.from = r.signed()
	r.byte()
	t.functions = make([]uint64, r.count())
	for i := range t.functions {
		t.functions[i] = r.number()
	}
	return t, r.end()
}

func appendTables(all ...table) []byte {
	b := binary.AppendUvarint(nil, uint64(len(all)))
	for _, t := range all {
		b = append(appendSigned(append(b, 0, i32Const), t.from), end)
		b = binary.AppendUvarint(b, uint64(len(t.functions)))
		for _, f := range t.functions {
			b = binary.AppendUvarint(b, f)
		}
	}
	return b
}
