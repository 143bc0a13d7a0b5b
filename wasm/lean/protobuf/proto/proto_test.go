//go:build !js

package proto

import (
	"math/rand/v2"
	"testing"

	crypto "github.com/libp2p/go-libp2p/core/crypto/pb"
	peer "github.com/libp2p/go-libp2p/core/peer/pb"
	record "github.com/libp2p/go-libp2p/core/record/pb"
	autonat "github.com/libp2p/go-libp2p/p2p/host/autonat/pb"
	autonatv2 "github.com/libp2p/go-libp2p/p2p/protocol/autonatv2/pb"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	holepunch "github.com/libp2p/go-libp2p/p2p/protocol/holepunch/pb"
	identify "github.com/libp2p/go-libp2p/p2p/protocol/identify/pb"
	noise "github.com/libp2p/go-libp2p/p2p/security/noise/pb"
	"github.com/stretchr/testify/require"
	real "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ofWire are the messages that a tab sends or receives, and those of libp2p beside.
var ofWire = []Message{
	new(crypto.PublicKey), new(crypto.PrivateKey), new(peer.PeerRecord), new(record.Envelope), new(identify.Identify),
	new(circuit.HopMessage), new(circuit.StopMessage), new(circuit.Peer), new(circuit.Reservation), new(circuit.Limit), new(circuit.ReservationVoucher),
	new(noise.NoiseHandshakePayload), new(noise.NoiseExtensions), new(holepunch.HolePunch), new(autonat.Message),
}

func fresh(m Message) Message { return m.ProtoReflect().New().Interface() }

// requireSame decodes b in both ways, and what came of it in every other.
func requireSame(t testing.TB, m Message, b []byte) {
	t.Helper()
	ours, theirs := fresh(m), fresh(m)
	errOurs, errTheirs := Unmarshal(b, ours), real.Unmarshal(b, theirs)
	require.Equal(t, errTheirs == nil, errOurs == nil, "%T of %x: %v, and here %v", m, b, errTheirs, errOurs)
	if errTheirs != nil {
		return
	}
	require.True(t, real.Equal(theirs, ours), "%T of %x: %v, and here %v", m, b, theirs, ours)
	want, err := real.Marshal(theirs)
	require.NoError(t, err)
	got, err := Marshal(ours)
	require.NoError(t, err)
	require.Equal(t, want, got, "%T", m)
	require.Equal(t, real.Size(theirs), Size(ours))
	merged, wantMerged := real.Clone(ours), real.Clone(theirs)
	Merge(merged, ours)
	real.Merge(wantMerged, theirs)
	require.True(t, real.Equal(wantMerged, merged), "%T of %x", m, b)
}

// random sets fields of a message, now and then to nothing or to what is no text.
func random(r *rand.Rand, m protoreflect.Message, depth int) {
	bytes := func() []byte {
		b := make([]byte, r.IntN(5)*r.IntN(40))
		for i := range b {
			b[i] = byte(r.UintN(256))
		}
		return b
	}
	one := func(f protoreflect.FieldDescriptor, inner func() protoreflect.Message) protoreflect.Value {
		switch f.Kind() {
		case protoreflect.BoolKind:
			return protoreflect.ValueOfBool(r.IntN(2) == 0)
		case protoreflect.EnumKind:
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(int32(r.Uint32()) >> r.UintN(32)))
		case protoreflect.Int32Kind:
			return protoreflect.ValueOfInt32(int32(r.Uint32()) >> r.UintN(32))
		case protoreflect.Int64Kind:
			return protoreflect.ValueOfInt64(int64(r.Uint64()) >> r.UintN(64))
		case protoreflect.Uint32Kind:
			return protoreflect.ValueOfUint32(r.Uint32() >> r.UintN(32))
		case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
			return protoreflect.ValueOfUint64(r.Uint64() >> r.UintN(64))
		case protoreflect.StringKind:
			if r.IntN(4) > 0 {
				return protoreflect.ValueOfString("text ü")
			}
			return protoreflect.ValueOfString(string(bytes()))
		case protoreflect.BytesKind:
			return protoreflect.ValueOfBytes(bytes())
		}
		v := inner()
		random(r, v, depth+1)
		return protoreflect.ValueOfMessage(v)
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		switch f := fields.Get(i); {
		case r.IntN(4) == 0:
		case f.IsList():
			list := m.Mutable(f).List()
			for range r.IntN(4) {
				list.Append(one(f, func() protoreflect.Message { return list.NewElement().Message() }))
			}
		default:
			m.Set(f, one(f, func() protoreflect.Message { return m.NewField(f).Message() }))
		}
	}
	if r.IntN(4) == 0 {
		m.SetUnknown(append([]byte{0xf2, 0x06, 3}, "abc"...))
	}
}

func TestRandomMessagesAreEncodedAsByTheRealOne(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		for _, m := range ofWire {
			m = fresh(m)
			random(r, m.ProtoReflect(), 0)
			want, errTheirs := real.Marshal(m)
			got, errOurs := Marshal(m)
			require.Equal(t, errTheirs == nil, errOurs == nil, "%v: %v, and here %v", m, errTheirs, errOurs)
			if errTheirs == nil {
				require.Equal(t, want, got, "%v", m)
				requireSame(t, m, got)
			}
		}
	}
}

// Whatever comes is taken or refused as by the real one, and means the same.
func FuzzLikeTheRealOne(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		for i, m := range ofWire {
			m = fresh(m)
			random(r, m.ProtoReflect(), 0)
			if b, err := (real.MarshalOptions{AllowPartial: true}).Marshal(m); err == nil {
				f.Add(uint8(i), b)
				f.Add(uint8(i), append(b, b...))
			}
		}
	}
	for _, odd := range []string{"\x0b\x0c", "\x0b\x14", "\x0c", "\x08\x80\x00", "\x0a\x05ab", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", "\x00\x00", "\x0d\x01\x02\x03\x04", "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		for i := range ofWire {
			f.Add(uint8(i), []byte(odd))
		}
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) { requireSame(t, ofWire[int(i)%len(ofWire)], b) })
}

func TestWhatIsNotKnownHereIsAnError(t *testing.T) {
	for _, m := range []Message{&autonatv2.Message{}, &autonatv2.Message{Msg: &autonatv2.Message_DialRequest{}}} {
		_, err := Marshal(m)
		require.ErrorContains(t, err, "oneof")
		require.ErrorContains(t, Unmarshal(nil, m), "oneof")
	}
}
