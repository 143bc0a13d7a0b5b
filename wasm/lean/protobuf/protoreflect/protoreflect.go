// Package protoreflect stands in for google.golang.org/protobuf/reflect/protoreflect:
// generated code names its types, and a lean program calls nothing of them.
package protoreflect

type (
	// ProtoMessage is a generated message.
	ProtoMessage interface{ ProtoReflect() Message }
	// EnumNumber is a value of an enum.
	EnumNumber int32

	Message        any
	EnumType       any
	EnumDescriptor any
	FileDescriptor any
)
