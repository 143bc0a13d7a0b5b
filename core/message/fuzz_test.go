package message_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tombolo-net/tombolo/core/message"
)

// Failing inputs go into testdata/fuzz. These tests begin with the inputs there.

func FuzzDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, interned message.Message
		err := m.Decode(b, nil)
		errInterned := interned.Decode(b, func(b []byte) string { return string(b) })
		require.Equal(t, err, errInterned)
		if err != nil {
			require.ErrorIs(t, err, message.ErrMalformed)
			return
		}
		require.Equal(t, m, interned)
		require.LessOrEqual(t, len(m.Type), message.MaxType)
		require.Contains(t, string(b), string(m.Data))

		again := m.Append(nil)
		require.Len(t, again, m.Size())
		var second message.Message
		require.NoError(t, second.Decode(again, nil))
		require.Equal(t, m, second)
	})
}

func FuzzReader(f *testing.F) {
	f.Fuzz(func(t *testing.T, stream []byte, limit uint32, step uint16) {
		limit = 1 + limit%(1<<20)
		want, wantEnd := readSimply(stream, int(limit))
		for _, src := range []io.Reader{
			bytes.NewReader(stream),
			iotest.DataErrReader(bytes.NewReader(stream)),
			&stepReader{bytes.NewReader(stream), 1 + int(step)},
		} {
			got, end := readAll(src, int(limit))
			require.ErrorIs(t, end, wantEnd)
			require.Equal(t, want, got)
		}
	})
}

// readSimply does what a Reader does, without its buffers.
func readSimply(b []byte, limit int) (all []message.Message, end error) {
	for len(b) > 0 {
		size, n := protowire.ConsumeVarint(b[:min(len(b), 5)])
		switch {
		case n < 0 && len(b) < 5:
			return all, io.ErrUnexpectedEOF
		case n < 0 && b[4] >= 0x80 && len(b) == 5:
			return all, io.ErrUnexpectedEOF // only a sixth byte would show that it is malformed
		case n < 0:
			return all, message.ErrMalformed
		case size > uint64(limit)+message.Overhead:
			return all, message.ErrTooLarge
		case uint64(len(b)-n) < size:
			return all, io.ErrUnexpectedEOF
		}
		var m message.Message
		if err := m.Decode(bytes.Clone(b[n:n+int(size)]), nil); err != nil {
			if !errors.Is(err, message.ErrMalformed) {
				return all, err
			}
			return all, message.ErrMalformed
		}
		if len(m.Data) > limit {
			return all, message.ErrTooLarge
		}
		all = append(all, m)
		b = b[n+int(size):]
	}
	return all, io.EOF
}
