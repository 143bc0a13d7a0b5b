package link

import (
	"fmt"
)

// traceAt is the address at which a traced program records which functions have run, one
// bit for each, in memory that Go leaves unused.
const traceAt = 16

// Trace makes each function record that it has run: the function with the number i among
// those that the module defines sets bit i%8 of the byte 16+i/8 of memory. It is for
// finding out which functions a program starts with: see Split.
func Trace(m *Module) error {
	functions, err := m.functions()
	if err != nil {
		return err
	}
	if traceAt+len(functions)/8 >= lowMemory {
		return fmt.Errorf("a program of %d functions cannot be traced: there is room for %d", len(functions), (lowMemory-traceAt)*8)
	}
	for i, f := range functions {
		from, err := instructions(f.body)
		if err != nil {
			return err
		}
		at := int64(traceAt + i/8)
		b := append([]byte(nil), f.body[:from]...)
		b = appendSigned(append(b, i32Const), at)
		b = append(appendSigned(append(b, i32Const), at), i32Load8U, 0, 0)
		b = append(appendSigned(append(b, i32Const), 1<<(i%8)), i32Or, i32Store8, 0, 0)
		functions[i].body = append(b, f.body[from:]...)
	}
	m.setFunctions(functions)
	return nil
}
