package message_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tombolo-net/tombolo/core/message"
)

// envelopes are messages of every shape.
var envelopes = map[string]message.Message{
	"nothing":     {},
	"event":       {ID: message.ID{Seq: 1}, Type: "chat", Data: []byte("hello")},
	"broadcast":   {ID: message.ID{Epoch: 1_700_000_000_000_000, Seq: 3}, Data: []byte{0}},
	"request":     {Kind: message.Request, ID: message.ID{Seq: math.MaxUint64}, Type: "stat", Timeout: time.Second},
	"reply":       {Kind: message.Reply, ID: message.ID{Seq: 1 << 40}, Data: bytes.Repeat([]byte{0xff}, 3000)},
	"error":       {Kind: message.Error, ID: message.ID{Seq: 7}, Code: message.Panicked, Data: []byte("the handler crashed")},
	"cancel":      {Kind: message.Cancel, ID: message.ID{Seq: 127}},
	"presence":    {Kind: message.Gone},
	"longest":     {Type: strings.Repeat("ж", 64), ID: message.ID{Seq: 128}},
	"for ages":    {Kind: message.Request, Type: "a", Timeout: math.MaxInt64 / time.Millisecond * time.Millisecond},
	"later code":  {Kind: message.Error, Code: 255},
	"empty type":  {ID: message.ID{Epoch: 1}},
	"one of each": {Kind: message.Error, ID: message.ID{Epoch: 1, Seq: 2}, Type: "t", Data: []byte("d"), Timeout: time.Millisecond, Code: 1},
}

func TestEnvelopeIsReadAsItWasWritten(t *testing.T) {
	for name, m := range envelopes {
		t.Run(name, func(t *testing.T) {
			b := m.Append(nil)
			assert.Len(t, b, m.Size())
			var got message.Message
			require.NoError(t, got.Decode(b, nil))
			assert.Equal(t, m, got)
		})
	}
}

func TestDecodeLeavesWhatIsNotOfTheEnvelope(t *testing.T) {
	m := message.Message{From: "a", Via: "b", Broadcast: true, Replayed: true, Type: "old", Data: []byte("old"), Code: 3, Timeout: 1, Kind: message.Gone}
	require.NoError(t, m.Decode(nil, nil))
	assert.Equal(t, message.Message{From: "a", Via: "b", Broadcast: true, Replayed: true}, m)
}

func TestTimeoutTravelsInMillisecondsRoundedUp(t *testing.T) {
	for d, want := range map[time.Duration]time.Duration{
		-time.Second:          0,
		0:                     0,
		1:                     time.Millisecond,
		time.Millisecond:      time.Millisecond,
		time.Millisecond + 1:  2 * time.Millisecond,
		1500 * time.Second:    1500 * time.Second,
		math.MaxInt64:         math.MaxInt64 / time.Millisecond * time.Millisecond,
		math.MaxInt64 - 1e6:   math.MaxInt64 / time.Millisecond * time.Millisecond,
		math.MaxInt64 - 3*1e6: (math.MaxInt64/time.Millisecond - 2) * time.Millisecond,
	} {
		m := message.Message{Timeout: d}
		var got message.Message
		require.NoError(t, got.Decode(m.Append(nil), nil))
		assert.Equal(t, want, got.Timeout, "of %d", d)
	}
	// A timeout that does not fit a time.Duration becomes the longest that does.
	b := protowire.AppendVarint(protowire.AppendTag(nil, 6, protowire.VarintType), math.MaxUint64)
	var got message.Message
	require.NoError(t, got.Decode(b, nil))
	assert.Positive(t, got.Timeout)
}

func TestUnknownFieldsPass(t *testing.T) {
	unknown := []byte{}
	unknown = protowire.AppendVarint(protowire.AppendTag(unknown, 8, protowire.VarintType), 9)
	unknown = protowire.AppendString(protowire.AppendTag(unknown, 99, protowire.BytesType), "later")
	unknown = protowire.AppendFixed32(protowire.AppendTag(unknown, 100, protowire.Fixed32Type), 1)
	unknown = protowire.AppendFixed64(protowire.AppendTag(unknown, protowire.MaxValidNumber, protowire.Fixed64Type), 1)
	unknown = protowire.AppendGroup(protowire.AppendTag(unknown, 12, protowire.StartGroupType), 12, unknown)
	m := envelopes["one of each"]
	for name, b := range map[string][]byte{
		"before":  m.Append(unknown),
		"after":   append(m.Append(nil), unknown...),
		"between": m.Append(append(m.Append(nil), unknown...)),
	} {
		t.Run(name, func(t *testing.T) {
			var got message.Message
			require.NoError(t, got.Decode(b, nil))
			assert.Equal(t, m, got)
		})
	}
}

func TestFieldThatComesTwiceCountsAsItCameLast(t *testing.T) {
	first := message.Message{ID: message.ID{Epoch: 9, Seq: 9}, Type: "first", Data: []byte("first"), Kind: message.Error, Code: 4, Timeout: time.Hour}
	last := envelopes["one of each"]
	var got message.Message
	require.NoError(t, got.Decode(last.Append(first.Append(nil)), nil))
	assert.Equal(t, last, got)
}

func TestMalformedEnvelopesAreRefusedWithAReason(t *testing.T) {
	long := strings.Repeat("x", message.MaxType+1)
	tag := func(n protowire.Number, typ protowire.Type) []byte { return protowire.AppendTag(nil, n, typ) }
	for name, b := range map[string][]byte{
		"tag cut short":             {0x80},
		"field number 0":            {0x00, 0x01},
		"wire type 7":               {0x0f},
		"number cut short":          append(tag(1, protowire.VarintType), 0x80),
		"number without end":        append(tag(1, protowire.VarintType), bytes.Repeat([]byte{0x80}, 11)...),
		"number missing":            tag(1, protowire.VarintType),
		"type of 129 bytes":         protowire.AppendString(tag(2, protowire.BytesType), long),
		"type that is not UTF-8":    protowire.AppendString(tag(2, protowire.BytesType), "\xff"),
		"type as a number":          append(tag(2, protowire.VarintType), 1),
		"data as a number":          append(tag(4, protowire.VarintType), 1),
		"data that claims too much": append(tag(4, protowire.BytesType), 0xff, 0xff, 0xff, 0xff, 0x0f, 1),
		"kind as bytes":             protowire.AppendString(tag(3, protowire.BytesType), "x"),
		"kind that is not known":    append(tag(3, protowire.VarintType), byte(message.Gone)+1),
		"kind beyond a byte":        protowire.AppendVarint(tag(3, protowire.VarintType), 256),
		"seq as 64 bits":            protowire.AppendFixed64(tag(1, protowire.Fixed64Type), 1),
		"unknown field cut short":   append(tag(50, protowire.BytesType), 9, 'x'),
		"group without an end":      tag(50, protowire.StartGroupType),
		"end without a group":       tag(50, protowire.EndGroupType),
		"group where a number goes": append(tag(1, protowire.StartGroupType), tag(1, protowire.EndGroupType)...),
		"groups without number":     bytes.Repeat(tag(50, protowire.StartGroupType), 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			var m message.Message
			assert.ErrorIs(t, m.Decode(b, nil), message.ErrMalformed)
		})
	}
}

func TestEnvelopeCutShortIsNeverTheWholeOne(t *testing.T) {
	for name, m := range envelopes {
		b := m.Append(nil)
		for n := range b {
			var got message.Message
			if got.Decode(b[:n], nil) == nil {
				assert.NotEqual(t, m, got, "%s, %d bytes of %d", name, n, len(b))
			}
		}
	}
}

func TestDataBeyondTheLimitIsTooLarge(t *testing.T) {
	m := message.Message{Type: "chat", Data: make([]byte, 1000)}
	assert.NoError(t, m.CheckSize(1000))
	err := m.CheckSize(999)
	assert.ErrorIs(t, err, message.ErrTooLarge)
	assert.ErrorContains(t, err, `"chat" has 1000 bytes of data; the limit is 999`)
}

func TestRandomEnvelopesAreReadAsTheyWereWritten(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 3000 {
		m := randomMessage(r)
		b := m.Append(nil)
		require.Len(t, b, m.Size(), "seed %d", seed)
		var got message.Message
		require.NoError(t, got.Decode(b, nil), "seed %d", seed)
		require.Equal(t, m, got, "seed %d", seed)
	}
}

func randomMessage(r *rand.Rand) message.Message {
	m := message.Message{
		ID:      message.ID{Epoch: r.Uint64() >> r.IntN(65), Seq: r.Uint64() >> r.IntN(65)},
		Kind:    message.Kind(r.IntN(int(message.Gone) + 1)),
		Code:    message.Code(r.IntN(256)),
		Type:    strings.Repeat("t", r.IntN(message.MaxType+1)),
		Timeout: time.Duration(r.Uint64()>>r.IntN(65)%uint64(math.MaxInt64/time.Millisecond)) * time.Millisecond,
	}
	if n := r.IntN(400) - 20; n > 0 {
		m.Data = make([]byte, n)
		for i := range m.Data {
			m.Data[i] = byte(r.Uint32())
		}
	}
	return m
}
