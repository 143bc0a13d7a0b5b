//go:build !js

package proto

import (
	"testing"

	real "github.com/gogo/protobuf/proto"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/stretchr/testify/require"
)

// Whatever comes, what stands in for the real package takes and refuses the same, and
// encodes it to the same bytes.
func FuzzLikeTheRealOne(f *testing.F) {
	text := real.String
	for _, m := range []*pb.RPC{
		{},
		{Subscriptions: []*pb.RPC_SubOpts{{Subscribe: real.Bool(true), Topicid: text("t")}, {}}},
		{Publish: []*pb.Message{{From: []byte("p"), Data: []byte("data"), Seqno: make([]byte, 8), Topic: text("t"), Signature: []byte("s"), Key: []byte("k")}, {}}},
		{Control: &pb.ControlMessage{
			Ihave: []*pb.ControlIHave{{TopicID: text("t"), MessageIDs: []string{"a", "b"}}},
			Iwant: []*pb.ControlIWant{{MessageIDs: []string{"a"}}},
			Graft: []*pb.ControlGraft{{TopicID: text("t")}},
			Prune: []*pb.ControlPrune{{TopicID: text("t"), Peers: []*pb.PeerInfo{{PeerID: []byte("p"), SignedPeerRecord: []byte("r")}}, Backoff: new(uint64)}},
		}},
	} {
		b, err := m.Marshal()
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, pair := range [][2]Message{{new(pb.RPC), new(pb.RPC)}, {new(pb.Message), new(pb.Message)}, {new(pb.TraceEvent), new(pb.TraceEvent)}} {
			ours, theirs := pair[0], pair[1]
			errOurs, errTheirs := Unmarshal(b, ours), real.Unmarshal(b, theirs)
			require.Equal(t, errTheirs, errOurs)
			require.Equal(t, theirs, ours)
			if errTheirs != nil {
				continue
			}
			want, errTheirs := real.Marshal(theirs)
			got, errOurs := Marshal(ours)
			require.Equal(t, errTheirs, errOurs)
			require.Equal(t, want, got)
		}
	})
}

func TestNamesOfValues(t *testing.T) {
	for _, data := range []string{`"JOIN"`, `"none"`, `7`, `x`, `""`, `99999999999`} {
		want, errTheirs := real.UnmarshalJSONEnum(pb.TraceEvent_Type_value, []byte(data), "TraceEvent_Type")
		got, errOurs := UnmarshalJSONEnum(pb.TraceEvent_Type_value, []byte(data), "TraceEvent_Type")
		require.Equal(t, errTheirs == nil, errOurs == nil, data)
		require.Equal(t, want, got)
	}
	for _, v := range []int32{0, 7, 99} {
		require.Equal(t, real.EnumName(pb.TraceEvent_Type_name, v), EnumName(pb.TraceEvent_Type_name, v))
	}
}

type foreign struct{}

func (foreign) Reset()         {}
func (foreign) String() string { return "" }
func (foreign) ProtoMessage()  {}

func TestAMessageWithoutCodeOfItsOwnIsAnErrorThatNamesIt(t *testing.T) {
	_, err := Marshal(foreign{})
	require.ErrorContains(t, err, "proto.foreign")
	require.ErrorContains(t, Unmarshal(nil, foreign{}), "proto.foreign")
}
