// Package proto stands in for google.golang.org/protobuf/proto: it encodes and decodes
// generated messages by the tags of their fields, as far as the messages of libp2p go.
// Of one with anything else (oneofs, maps, extensions, groups, packed numbers) it says
// so in the error. What it takes, refuses and encodes is what the real one does.
//
// Specification: https://protobuf.dev/programming-guides/encoding
package proto

import (
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Message is a generated message.
type Message = protoreflect.ProtoMessage

var errDecode = errors.New("proto: cannot parse invalid wire-format data")

// Marshal encodes a message. Fields that are required must be there.
func Marshal(m Message) ([]byte, error) {
	if m == nil {
		return nil, nil
	}
	v := reflect.ValueOf(m)
	b, err := encode([]byte{}, v)
	if err == nil {
		err = complete(v)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Size is how many bytes Marshal makes of a message; 0 of one that it refuses.
func Size(m Message) int {
	b, err := encode(nil, reflect.ValueOf(m))
	if err != nil {
		return 0
	}
	return len(b)
}

// Unmarshal decodes into a message, which it resets first. Fields that are required
// must have come.
func Unmarshal(b []byte, m Message) error {
	v := reflect.ValueOf(m)
	v.Elem().SetZero()
	if err := decode(b, v); err != nil {
		return err
	}
	return complete(v)
}

// Merge adds what is in src to dst: what is one is replaced, and lists are joined. Both
// must be of one type. It panics where the real one panics, and on a message that
// cannot be encoded.
func Merge(dst, src Message) {
	if a, b := reflect.TypeOf(dst), reflect.TypeOf(src); a != b {
		panic(fmt.Sprintf("descriptor mismatch: %s != %s", a, b))
	}
	b, err := encode(nil, reflect.ValueOf(src))
	if err == nil {
		err = decode(b, reflect.ValueOf(dst))
	}
	if err != nil {
		panic(err)
	}
}

// encode appends a message, to which v points.
func encode(b []byte, v reflect.Value) ([]byte, error) {
	if v.IsNil() {
		return b, nil
	}
	v = v.Elem()
	m, err := of(v.Type())
	if err != nil {
		return nil, err
	}
	for i := range m.fields {
		f := &m.fields[i]
		value := v.Field(f.index)
		if !f.isThere(value) {
			continue
		}
		if value.Kind() == reflect.Slice && !isBytes(value.Type()) {
			for j := range value.Len() {
				if b, err = f.encode(b, value.Index(j)); err != nil {
					return nil, err
				}
			}
			continue
		}
		if b, err = f.encode(b, value); err != nil {
			return nil, err
		}
	}
	return append(b, *m.rest(v)...), nil
}

// encode appends one value.
func (f *field) encode(b []byte, v reflect.Value) ([]byte, error) {
	b = protowire.AppendTag(b, f.num, f.wire)
	if v.Kind() == reflect.Pointer && !isMessage(v.Type()) {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Bool:
		return protowire.AppendVarint(b, protowire.EncodeBool(v.Bool())), nil
	case reflect.Int32, reflect.Int64:
		return protowire.AppendVarint(b, uint64(v.Int())), nil
	case reflect.Uint32:
		return protowire.AppendVarint(b, v.Uint()), nil
	case reflect.Uint64:
		if f.wire == protowire.Fixed64Type {
			return protowire.AppendFixed64(b, v.Uint()), nil
		}
		return protowire.AppendVarint(b, v.Uint()), nil
	case reflect.String:
		if f.proto3 && !utf8.ValidString(v.String()) {
			return nil, f.notText()
		}
		return protowire.AppendString(b, v.String()), nil
	case reflect.Slice:
		return protowire.AppendBytes(b, v.Bytes()), nil
	}
	inner, err := encode(nil, v)
	return protowire.AppendBytes(b, inner), err
}

func (f *field) notText() error {
	return fmt.Errorf("proto: field %s contains invalid UTF-8", f.name)
}

// decode adds what is encoded to a message, to which v points.
func decode(b []byte, v reflect.Value) error {
	v = v.Elem()
	m, err := of(v.Type())
	if err != nil {
		return err
	}
	for len(b) > 0 {
		num, wire, n := protowire.ConsumeTag(b)
		if n < 0 || num > protowire.MaxValidNumber || wire == protowire.EndGroupType {
			return errDecode
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, wire, b); n < 0 {
			return errDecode
		}
		if f := m.field(num, wire); f != nil {
			if err := f.decode(b[:n], v.Field(f.index)); err != nil {
				return err
			}
		} else {
			rest := m.rest(v)
			*rest = append(protowire.AppendTag(*rest, num, wire), b[:n]...)
		}
		b = b[n:]
	}
	return nil
}

// field is that of a number, if what comes is of its kind.
func (m *message) field(num protowire.Number, wire protowire.Type) *field {
	for i := range m.fields {
		if f := &m.fields[i]; f.num == num && f.wire == wire {
			return f
		}
	}
	return nil
}

// rest is what came and is not known.
func (m *message) rest(v reflect.Value) *[]byte {
	if m.unknown == nil {
		return new([]byte)
	}
	return (*[]byte)(unsafe.Pointer(v.FieldByIndex(m.unknown).UnsafeAddr()))
}

// decode puts one value, which is whole, into a field.
func (f *field) decode(b []byte, v reflect.Value) error {
	if t := v.Type(); t.Kind() == reflect.Slice && !isBytes(t) {
		one := reflect.New(t.Elem()).Elem()
		if err := f.decode(b, one); err != nil {
			return err
		}
		v.Set(reflect.Append(v, one))
		return nil
	} else if t.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(t.Elem()))
		}
		if isMessage(t) {
			inner, _ := protowire.ConsumeBytes(b)
			return decode(inner, v)
		}
		v = v.Elem()
	}
	var number uint64
	var data []byte
	switch f.wire {
	case protowire.VarintType:
		number, _ = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		number, _ = protowire.ConsumeFixed64(b)
	default:
		data, _ = protowire.ConsumeBytes(b)
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(protowire.DecodeBool(number))
	case reflect.Int32:
		v.SetInt(int64(int32(number)))
	case reflect.Int64:
		v.SetInt(int64(number))
	case reflect.Uint32:
		v.SetUint(uint64(uint32(number)))
	case reflect.Uint64:
		v.SetUint(number)
	case reflect.String:
		if f.proto3 && !utf8.Valid(data) {
			return f.notText()
		}
		v.SetString(string(data))
	case reflect.Slice:
		if f.implicit {
			v.SetBytes(append([]byte(nil), data...)) // nil if there is nothing
		} else {
			v.SetBytes(append([]byte{}, data...))
		}
	}
	return nil
}

// complete says whether all that is required is there.
func complete(v reflect.Value) error {
	if v.IsNil() {
		return nil
	}
	v = v.Elem()
	m, err := of(v.Type())
	if err != nil {
		return err
	}
	for i := range m.fields {
		f := &m.fields[i]
		value := v.Field(f.index)
		switch t := value.Type(); {
		case f.required && value.IsNil():
			return fmt.Errorf("proto: required field %s of %s not set", f.name, v.Type())
		case isMessage(t):
			err = complete(value)
		case t.Kind() == reflect.Slice && isMessage(t.Elem()):
			for j := range value.Len() {
				if err == nil {
					err = complete(value.Index(j))
				}
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
