package link

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// function is a function that the module defines.
type function struct {
	typ  uint64
	body []byte // groups of locals, and instructions
}

// functions returns all functions that the module defines, in order: the first has the
// number imported.
func (m *Module) functions() ([]function, error) {
	types := reader{b: m.section(functionSection).body}
	code := reader{b: m.section(codeSection).body}
	all := make([]function, types.count())
	if n := code.count(); n != len(all) {
		return nil, fmt.Errorf("%w: its functions do not add up", ErrMalformed)
	}
	for i := range all {
		all[i] = function{types.number(), code.bytes()}
	}
	return all, cmp.Or(types.end(), code.end())
}

func (m *Module) setFunctions(all []function) {
	types := binary.AppendUvarint(nil, uint64(len(all)))
	code := binary.AppendUvarint(nil, uint64(len(all)))
	for _, f := range all {
		types = binary.AppendUvarint(types, f.typ)
		code = appendBytes(code, f.body)
	}
	m.setSection(functionSection, types)
	m.setSection(codeSection, code)
}

// typeOf returns the type of a function, imported or not.
func (m *Module) typeOf(f uint64, defined []function) (uint64, error) {
	if f >= m.imported {
		if f -= m.imported; f >= uint64(len(defined)) {
			return 0, fmt.Errorf("%w: it calls a function that it does not have", ErrMalformed)
		}
		return defined[f].typ, nil
	}
	r := reader{b: m.section(importSection).body}
	for range r.count() {
		r.bytes()
		r.bytes()
		r.byte()
		typ := r.number()
		if f == 0 {
			return typ, r.err
		}
		f--
	}
	return 0, cmp.Or(r.err, ErrMalformed)
}

// instructions returns where the instructions of a function begin, after its locals.
func instructions(body []byte) (int, error) {
	r := reader{b: body}
	for range r.count() {
		r.number()
		r.byte()
	}
	return len(body) - len(r.b), r.err
}

// rewriteCalls replaces each call of a function by what f appends. An instruction that
// Go's compiler does not use is an error.
func rewriteCalls(body []byte, f func(b []byte, callee uint64) ([]byte, error)) ([]byte, error) {
	start, err := instructions(body)
	if err != nil {
		return nil, err
	}
	r := reader{b: body[start:]}
	out := make([]byte, 0, len(body)+len(body)/16)
	from := 0 // start of what is not in out yet
	for len(r.b) > 0 {
		at := len(body) - len(r.b)
		if op := r.byte(); op != call {
			if err := r.operands(op); err != nil {
				return nil, err
			}
			continue
		}
		callee := r.number()
		if r.err != nil {
			break
		}
		if out, err = f(append(out, body[from:at]...), callee); err != nil {
			return nil, err
		}
		from = len(body) - len(r.b)
	}
	return append(out, body[from:]...), r.err
}

// operands skips the operands of an instruction.
func (r *reader) operands(op byte) error {
	switch {
	case op >= block && op <= ifThen, op == i32Const, op == i64Const:
		r.signed()
	case op == br, op == brIf, op >= localGet && op <= tableSet, op == memorySize, op == memoryGrow:
		r.number()
	case op == brTable:
		for range r.count() + 1 {
			r.number()
		}
	case op == callIndirect, op >= firstLoad && op <= lastStore:
		r.number()
		r.number()
	case op == f32Const:
		r.skip(4)
	case op == f64Const:
		r.skip(8)
	case op == extended:
		switch sub := r.number(); {
		case sub <= lastSaturating:
		case sub == memoryCopy:
			r.skip(2)
		case sub == memoryFill:
			r.skip(1)
		default:
			return fmt.Errorf("%w: instruction 0x%x %d", ErrMalformed, op, sub)
		}
	case slices.Contains(alone, op), op >= firstNumeric && op <= lastNumeric:
	default:
		return fmt.Errorf("%w: instruction 0x%x", ErrMalformed, op)
	}
	return r.err
}

// skip skips n bytes.
func (r *reader) skip(n int) {
	if n > len(r.b) {
		r.fail()
		return
	}
	r.b = r.b[n:]
}

// alone are the instructions without operands in the code: unreachable, nop, else, end,
// return, drop and select.
var alone = []byte{0x00, 0x01, 0x05, end, 0x0f, 0x1a, 0x1b}
