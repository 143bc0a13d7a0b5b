//go:build !js

package protoimpl

import (
	"testing"

	crypto "github.com/libp2p/go-libp2p/core/crypto/pb"
	autonat "github.com/libp2p/go-libp2p/p2p/host/autonat/pb"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func TestEnumsHaveTheNamesAndTheOrderOfGeneratedCode(t *testing.T) {
	for _, file := range []struct {
		of    protoreflect.FileDescriptor
		names []map[int32]string // in the order in which generated code has them
	}{
		{circuit.File_p2p_protocol_circuitv2_pb_circuit_proto, []map[int32]string{circuit.Status_name, circuit.HopMessage_Type_name, circuit.StopMessage_Type_name}},
		{crypto.File_core_crypto_pb_crypto_proto, []map[int32]string{crypto.KeyType_name}},
		{autonat.File_p2p_host_autonat_pb_autonat_proto, []map[int32]string{autonat.Message_MessageType_name, autonat.Message_ResponseStatus_name}},
	} {
		raw, err := proto.Marshal(protodesc.ToFileDescriptorProto(file.of))
		require.NoError(t, err)
		found := enums(raw)
		require.Len(t, found, len(file.names))
		for i, names := range file.names {
			got := make(map[int32]string)
			for _, v := range found[i] {
				got[v.number] = v.name
			}
			require.Equal(t, names, got)
		}
	}
}
