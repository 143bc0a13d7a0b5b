package webrtc

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFramesAreThoseOfTheSpecification(t *testing.T) {
	for name, test := range map[string]struct {
		frame frame
		wire  []byte
	}{
		"data":          {frame{flag: flagNone, data: []byte("hi")}, []byte{4, 0x12, 2, 'h', 'i'}},
		"FIN":           {frame{flag: flagFin}, []byte{2, 0x08, 0}},
		"FIN_ACK":       {frame{flag: flagFinAck}, []byte{2, 0x08, 3}},
		"RESET":         {frame{flag: flagReset, code: 7}, []byte{4, 0x08, 2, 0x18, 7}},
		"our own field": {frame{flag: flagNone, credit: 5}, []byte{3, 0x80, 0x01, 5}},
	} {
		assert.Equal(t, test.wire, test.frame.append(nil), name)
		var d decoder
		var got []frame
		require.NoError(t, d.feed(test.wire, func(f frame) error {
			got = append(got, f)
			return nil
		}), name)
		assert.Equal(t, []frame{test.frame}, got, name)
	}
	assert.LessOrEqual(t, len(frame{flag: flagNone, data: make([]byte, maxMessage-frameOverhead)}.append(nil)), maxMessage)
}

func TestOfferSaysItsTypeThoughItIsZero(t *testing.T) {
	assert.Equal(t, []byte{5, 0x08, 0, 0x12, 1, 'o'}, signal{kind: kindOffer, data: "o"}.append(nil))
	for name, wire := range map[string][]byte{
		"with a type":               {5, 0x08, 0, 0x12, 1, 'o'},
		"without one":               {3, 0x12, 1, 'o'},
		"with a field nobody knows": {6, 0x12, 1, 'o', 0xf8, 0x06, 1},
	} {
		wire[0] = byte(len(wire) - 1)
		s, err := readSignal(bufio.NewReader(bytes.NewReader(wire)))
		require.NoError(t, err, name)
		assert.Equal(t, signal{kind: kindOffer, data: "o"}, s, name)
	}
}

func TestFrameThatIsTooLargeIsRefusedBeforeItCame(t *testing.T) {
	var d decoder
	err := d.feed(binary.AppendUvarint(nil, maxFrame+1), func(frame) error { return nil })
	require.ErrorIs(t, err, errFrame)
}

// collect feeds b to a decoder in pieces of the given size and returns the frames.
func collect(t *testing.T, b []byte, piece int) (got []frame, err error) {
	var d decoder
	for part := range slices.Chunk(b, piece) {
		err = d.feed(slices.Clone(part), func(f frame) error {
			f.data = slices.Clone(f.data)
			got = append(got, f)
			return nil
		})
		if err != nil {
			return got, err
		}
		require.LessOrEqual(t, len(d.rest), maxFrame+binary.MaxVarintLen64)
	}
	return got, nil
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{4, 0x12, 2, 'h', 'i', 2, 0x08, 0}, 1)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 2)
	f.Add(frame{flag: flagReset, code: 1 << 31, credit: 1 << 63, data: []byte("x")}.append(nil), 3)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		if len(b) == 0 {
			return
		}
		whole, err := collect(t, b, len(b))
		parts, errParts := collect(t, b, 1+int(uint(piece)%uint(len(b))))
		require.Equal(t, whole, parts, "the way the bytes are cut into messages changes the frames")
		if err == nil {
			require.NoError(t, errParts)
		}
		for _, f := range whole { // each frame is written and read again
			again, err := collect(t, f.append(nil), maxFrame)
			require.NoError(t, err)
			if len(f.data) == 0 {
				f.data = nil
			}
			require.Equal(t, []frame{f}, again)
		}
	})
}

func FuzzSignals(f *testing.F) {
	f.Add(signal{kind: kindAnswer, data: "v=0", window: 1, message: 2}.append(nil))
	f.Add([]byte{0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		for {
			_, none := r.Peek(1)
			s, err := readSignal(r)
			if err != nil {
				require.Equal(t, none != nil, err == io.EOF, "a truncated signal passes for the end")
				return
			}
			again, err := readSignal(bufio.NewReader(bytes.NewReader(s.append(nil))))
			require.NoError(t, err)
			require.Equal(t, s, again)
		}
	})
}
