package link

import (
	"encoding/binary"
	"fmt"
)

// Kinds of exports and imports.
const (
	kindFunction = 0
	kindTable    = 1
	kindMemory   = 2
	kindGlobal   = 3
)

type export struct {
	name   string
	kind   byte
	number uint64
}

func (m *Module) exports() ([]export, error) {
	r := reader{b: m.section(exportSection).body}
	all := make([]export, r.count())
	for i := range all {
		all[i] = export{string(r.bytes()), r.byte(), r.number()}
	}
	return all, r.end()
}

func (m *Module) setExports(all []export) {
	b := binary.AppendUvarint(nil, uint64(len(all)))
	for _, e := range all {
		b = binary.AppendUvarint(append(appendBytes(b, []byte(e.name)), e.kind), e.number)
	}
	m.setSection(exportSection, b)
}

// export returns the number of the function that is exported under a name.
func (m *Module) export(name string) (uint64, error) {
	all, err := m.exports()
	if err != nil {
		return 0, err
	}
	for _, e := range all {
		if e.name == name && e.kind == kindFunction {
			return e.number, nil
		}
	}
	return 0, fmt.Errorf("it exports no function %q", name)
}

// global is a variable of the module: one of Go's registers. All of them are mutable.
type global struct {
	typ   byte
	value int64 // at the start
}

func (m *Module) globals() ([]global, error) {
	r := reader{b: m.section(globalSection).body}
	all := make([]global, r.count())
	for i := range all {
		typ, changes, op, value, last := r.byte(), r.byte(), r.byte(), r.signed(), r.byte()
		if r.err == nil && (changes != 1 || last != end || !(typ == i32 && op == i32Const || typ == i64 && op == i64Const)) {
			return nil, fmt.Errorf("%w: a global that is not a register", ErrMalformed)
		}
		all[i] = global{typ, value}
	}
	return all, r.end()
}

func (m *Module) setGlobals(all []global) {
	b := binary.AppendUvarint(nil, uint64(len(all)))
	for _, g := range all {
		op := byte(i64Const)
		if g.typ == i32 {
			op = i32Const
		}
		b = append(appendSigned(append(b, g.typ, 1, op), g.value), end)
	}
	m.setSection(globalSection, b)
}

// globalName returns the name under which a global is exported.
func globalName(i int) string { return fmt.Sprintf("g%d", i) }

// ExportState exports the globals and the table: a snapshot reads them, and a second
// module shares them. It does not change existing exports.
func (m *Module) ExportState() error {
	all, err := m.exports()
	if err != nil {
		return err
	}
	globals, err := m.globals()
	if err != nil {
		return err
	}
	there := make(map[string]bool)
	for _, e := range all {
		there[e.name] = true
	}
	add := func(e export) {
		if !there[e.name] {
			all = append(all, e)
		}
	}
	for i := range globals {
		add(export{globalName(i), kindGlobal, uint64(i)})
	}
	add(export{"table", kindTable, 0})
	m.setExports(all)
	return nil
}
