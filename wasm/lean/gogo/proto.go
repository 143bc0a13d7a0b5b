// Package proto stands in for github.com/gogo/protobuf/proto, for messages that encode
// and decode themselves, as those of GossipSub do: their code was generated for it. No
// message is registered, so that the linker leaves out those which nobody uses.
package proto

import (
	"errors"
	"fmt"
	"strconv"
)

// GoGoProtoPackageIsVersion3 is what generated code asks for.
const GoGoProtoPackageIsVersion3 = true

// Message is a generated message.
type Message interface {
	Reset()
	String() string
	ProtoMessage()
}

// marshaler and unmarshaler are what generated messages are beside that.
type marshaler interface {
	XXX_Size() int
	XXX_Marshal(b []byte, deterministic bool) ([]byte, error)
}

type unmarshaler interface{ XXX_Unmarshal([]byte) error }

var errNotGenerated = errors.New("proto: a message without code of its own to encode it")

// Marshal encodes a message.
func Marshal(m Message) ([]byte, error) {
	g, ok := m.(marshaler)
	if !ok {
		return nil, fmt.Errorf("%w: %T", errNotGenerated, m)
	}
	return g.XXX_Marshal(make([]byte, 0, g.XXX_Size()), false)
}

// Unmarshal decodes into a message, which it resets first.
func Unmarshal(b []byte, m Message) error {
	m.Reset()
	g, ok := m.(unmarshaler)
	if !ok {
		return fmt.Errorf("%w: %T", errNotGenerated, m)
	}
	return g.XXX_Unmarshal(b)
}

// InternalMessageInfo is what generated code calls if nobody wants the generated code.
type InternalMessageInfo struct{}

const leftOut = " of gogo/protobuf is left out of a lean program: build it with lean -keep github.com/gogo/protobuf"

func (*InternalMessageInfo) Marshal([]byte, Message, bool) ([]byte, error) {
	panic("the deterministic encoding" + leftOut)
}
func (*InternalMessageInfo) Unmarshal(Message, []byte) error { panic("Unmarshal" + leftOut) }
func (*InternalMessageInfo) Size(Message) int                { panic("Size" + leftOut) }
func (*InternalMessageInfo) Merge(_, _ Message)              { panic("Merge" + leftOut) }
func (*InternalMessageInfo) DiscardUnknown(Message)          { panic("DiscardUnknown" + leftOut) }

// CompactTextString names the type only.
func CompactTextString(m Message) string { return fmt.Sprintf("%T", m) }

// EnumName is the name of a value, or its number.
func EnumName(names map[int32]string, v int32) string {
	if name, ok := names[v]; ok {
		return name
	}
	return strconv.Itoa(int(v))
}

// UnmarshalJSONEnum is the value of a name in quotes, or of a number.
func UnmarshalJSONEnum(values map[string]int32, data []byte, enum string) (int32, error) {
	if name, err := strconv.Unquote(string(data)); err == nil {
		if v, ok := values[name]; ok {
			return v, nil
		}
		return 0, fmt.Errorf("unrecognized enum %s value %q", enum, name)
	}
	v, err := strconv.ParseInt(string(data), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("cannot unmarshal %#q into enum %s", data, enum)
	}
	return int32(v), nil
}

func RegisterType(Message, string)                            {}
func RegisterFile(string, []byte)                             {}
func RegisterEnum(string, map[int32]string, map[string]int32) {}
func Bool(v bool) *bool                                       { return &v }
func Int32(v int32) *int32                                    { return &v }
func Int64(v int64) *int64                                    { return &v }
func Uint32(v uint32) *uint32                                 { return &v }
func Uint64(v uint64) *uint64                                 { return &v }
func String(v string) *string                                 { return &v }
