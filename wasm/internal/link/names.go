package link

import (
	"cmp"
	"fmt"
)

// nameSection is the custom section in which the linker names functions, unless -s leaves
// it out.
const nameSection = "name"

// names returns the names of the functions that the module defines, in order.
func (m *Module) names() ([]string, error) {
	body, err := m.custom(nameSection)
	if err != nil {
		return nil, err
	}
	const ofFunctions = 1
	r := reader{b: body}
	if kind := r.byte(); kind != ofFunctions {
		return nil, cmp.Or(r.err, fmt.Errorf("%w: its names are not those of functions", ErrMalformed))
	}
	list := reader{b: r.bytes()}
	var all []string
	for range list.count() {
		number, name := list.number(), string(list.bytes())
		if number >= m.imported {
			if number-m.imported != uint64(len(all)) {
				return nil, cmp.Or(list.err, fmt.Errorf("%w: functions without names", ErrMalformed))
			}
			all = append(all, name)
		}
	}
	return all, list.end()
}

// DropNames removes the names of functions, which only debuggers read. The runtime has
// its own.
func DropNames(m *Module) {
	m.dropCustom(nameSection)
}
