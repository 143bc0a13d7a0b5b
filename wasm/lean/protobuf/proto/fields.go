package proto

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
)

// message is what is to be known of a type of messages.
type message struct {
	fields  []field // in the order of their numbers
	unknown []int   // where what is unknown is kept; nil if nowhere
}

// field is a field of a message, as the tag says that generated code gives it.
type field struct {
	num      protowire.Number
	wire     protowire.Type
	index    int // in the struct
	name     string
	required bool
	proto3   bool // text is UTF-8
	// implicit says that zero is not there. Otherwise nil is.
	implicit bool
}

// messages are those known, by type.
var messages sync.Map // of reflect.Type to *message, or to an error

// of says what is to be known of messages of a type. The error says that they have
// something of which nothing is known here: none is taken for what it is not.
func of(t reflect.Type) (*message, error) {
	known, ok := messages.Load(t)
	if !ok {
		m, err := read(t)
		if err != nil {
			known = fmt.Errorf("proto: a lean program cannot have %s: %w", t, err)
		} else {
			known = m
		}
		messages.Store(t, known)
	}
	if err, ok := known.(error); ok {
		return nil, err
	}
	return known.(*message), nil
}

func read(t reflect.Type) (*message, error) {
	m := new(message)
	for i := range t.NumField() {
		f := t.Field(i)
		switch tag, is := f.Tag.Lookup("protobuf"); {
		case f.Name == "unknownFields":
			m.unknown = f.Index
		case f.Tag.Get("protobuf_oneof") != "" || f.Name == "extensionFields":
			return nil, fmt.Errorf("its field %s is a oneof, or extends it", f.Name)
		case is:
			known, err := readField(f.Type, tag)
			if err != nil {
				return nil, fmt.Errorf("its field %s: %w", f.Name, err)
			}
			known.index = i
			m.fields = append(m.fields, known)
		}
	}
	slices.SortFunc(m.fields, func(a, b field) int { return int(a.num - b.num) })
	return m, nil
}

func readField(t reflect.Type, tag string) (f field, err error) {
	parts := strings.Split(tag, ",")
	if len(parts) < 3 {
		return f, fmt.Errorf("the tag %q", tag)
	}
	num, err := strconv.Atoi(parts[1])
	if err != nil {
		return f, fmt.Errorf("the tag %q", tag)
	}
	f.num, f.required, f.proto3 = protowire.Number(num), parts[2] == "req", slices.Contains(parts, "proto3")
	for _, p := range parts {
		if name, is := strings.CutPrefix(p, "name="); is {
			f.name = name
		}
	}
	f.implicit = f.proto3 && !slices.Contains(parts, "oneof") && parts[2] == "opt" && !isMessage(t)
	kind := t
	if kind.Kind() == reflect.Pointer && !isMessage(kind) {
		kind = kind.Elem()
	}
	if kind.Kind() == reflect.Slice && parts[2] == "rep" {
		kind = kind.Elem()
	}
	switch k := kind.Kind(); {
	case parts[0] == "varint" && parts[2] != "rep" && (k == reflect.Bool || k == reflect.Int32 || k == reflect.Int64 || k == reflect.Uint32 || k == reflect.Uint64):
		f.wire = protowire.VarintType
	case parts[0] == "fixed64" && parts[2] != "rep" && k == reflect.Uint64:
		f.wire = protowire.Fixed64Type
	case parts[0] == "bytes" && (k == reflect.String || isBytes(kind) || isMessage(kind)):
		f.wire = protowire.BytesType
	default:
		return f, fmt.Errorf("%s of %s", strings.Join(parts[:3], ","), t)
	}
	return f, nil
}

func isMessage(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct
}

func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

// isThere says whether a field is to be encoded.
func (f *field) isThere(v reflect.Value) bool {
	switch {
	case f.implicit && v.Kind() == reflect.Slice, v.Kind() == reflect.Slice && !isBytes(v.Type()):
		return v.Len() > 0
	case f.implicit:
		return !v.IsZero()
	}
	return !v.IsNil()
}
