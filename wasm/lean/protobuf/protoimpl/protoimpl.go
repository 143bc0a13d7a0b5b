// Package protoimpl stands in for google.golang.org/protobuf/runtime/protoimpl: what
// generated code needs of it to be compiled, and the names of enums.
package protoimpl

import (
	"fmt"
	"strconv"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Versions of the generated code.
const (
	MinVersion = 20
	MaxVersion = 20
)

type (
	// EnforceVersion has generated code that is too old, or too new, not compile.
	EnforceVersion uint

	MessageState  struct{}
	SizeCache     = int32
	UnknownFields = []byte
	Pointer       = unsafe.Pointer
)

const leftOut = " of protobuf is left out of a lean program: build it with lean -keep google.golang.org/protobuf"

func (*MessageState) LoadMessageInfo() *MessageInfo { return nil }
func (*MessageState) StoreMessageInfo(*MessageInfo) {}

// MessageInfo is a type of messages.
type MessageInfo struct{ OneofWrappers []any }

func (*MessageInfo) MessageOf(any) protoreflect.Message { return nil }

// EnumInfo is an enum: the number of it in the descriptor of a file.
type EnumInfo struct {
	file   []byte
	number int
}

func (e *EnumInfo) Descriptor() protoreflect.EnumDescriptor {
	return any(e).(protoreflect.EnumDescriptor)
}

// DescBuilder has the descriptor of a file.
type DescBuilder struct {
	GoPackagePath                                     string
	RawDescriptor                                     []byte
	NumEnums, NumMessages, NumExtensions, NumServices int32
}

// TypeBuilder makes the types of a file known.
type TypeBuilder struct {
	File              DescBuilder
	GoTypes           []any
	DependencyIndexes []int32
	EnumInfos         []EnumInfo
	MessageInfos      []MessageInfo
}

func (b TypeBuilder) Build() (out struct{ File protoreflect.FileDescriptor }) {
	for i := range b.EnumInfos {
		b.EnumInfos[i] = EnumInfo{b.File.RawDescriptor, i}
	}
	return out
}

// X is what generated code calls.
var X Export

type Export struct{}

func (Export) MessageStateOf(p Pointer) *MessageState { return (*MessageState)(p) }
func (Export) MessageStringOf(m any) string           { return fmt.Sprintf("%T", m) }
func (Export) CompressGZIP([]byte) []byte             { panic("the descriptor" + leftOut) }

// EnumStringOf is the name of a value, or its number.
func (Export) EnumStringOf(d protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	if e, ok := any(d).(*EnumInfo); ok {
		for _, v := range enums(e.file)[e.number] {
			if v.number == int32(n) {
				return v.name
			}
		}
	}
	return strconv.Itoa(int(n))
}

// UnmarshalJSONEnum is the value of a name in quotes, or of a number.
func (Export) UnmarshalJSONEnum(d protoreflect.EnumDescriptor, data []byte) (protoreflect.EnumNumber, error) {
	if name, err := strconv.Unquote(string(data)); err == nil {
		if e, ok := any(d).(*EnumInfo); ok {
			for _, v := range enums(e.file)[e.number] {
				if v.name == name {
					return protoreflect.EnumNumber(v.number), nil
				}
			}
		}
		return 0, fmt.Errorf("invalid value for enum: %s", data)
	}
	n, err := strconv.ParseInt(string(data), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("invalid value for enum: %s", data)
	}
	return protoreflect.EnumNumber(n), nil
}

// value is a value of an enum.
type value struct {
	name   string
	number int32
}

// Fields of google/protobuf/descriptor.proto.
const (
	messagesOfFile    = 4
	enumsOfFile       = 5
	messagesOfMessage = 3
	enumsOfMessage    = 4
	valuesOfEnum      = 2
	nameOfValue       = 1
	numberOfValue     = 2
)

// enums is the enums of a file, in the order of generated code: those of the file, then
// those of its messages, and then those of the messages in these.
func enums(file []byte) (all [][]value) {
	inEnums, inMessages := protowire.Number(enumsOfFile), protowire.Number(messagesOfFile)
	for messages := [][]byte{file}; len(messages) > 0; {
		var deeper [][]byte
		for _, m := range messages {
			each(m, func(num protowire.Number, data []byte, _ uint64) {
				switch num {
				case inEnums:
					all = append(all, values(data))
				case inMessages:
					deeper = append(deeper, data)
				}
			})
		}
		messages = deeper
		inEnums, inMessages = enumsOfMessage, messagesOfMessage
	}
	return all
}

func values(enum []byte) (all []value) {
	each(enum, func(num protowire.Number, data []byte, _ uint64) {
		if num != valuesOfEnum {
			return
		}
		var v value
		each(data, func(num protowire.Number, data []byte, n uint64) {
			switch num {
			case nameOfValue:
				v.name = string(data)
			case numberOfValue:
				v.number = int32(n)
			}
		})
		all = append(all, v)
	})
	return all
}

// each calls f for each field of a message of ours: with its bytes, or its number.
func each(b []byte, f func(num protowire.Number, data []byte, n uint64)) {
	for len(b) > 0 {
		num, wire, n := protowire.ConsumeTag(b)
		b = b[n:]
		n = protowire.ConsumeFieldValue(num, wire, b)
		switch wire {
		case protowire.BytesType:
			data, _ := protowire.ConsumeBytes(b)
			f(num, data, 0)
		case protowire.VarintType:
			v, _ := protowire.ConsumeVarint(b)
			f(num, nil, v)
		}
		b = b[n:]
	}
}
