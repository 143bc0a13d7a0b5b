package message_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tombolo-net/tombolo/core/message"
)

// readAll reads messages to the end of a stream and returns the error at the end.
func readAll(src io.Reader, limit int) (all []message.Message, end error) {
	r := message.NewReader(src, limit)
	for {
		m, err := r.Next()
		if err != nil {
			return all, err
		}
		all = append(all, *m)
	}
}

// ways are the ways in which a stream may return its data.
var ways = map[string]func(io.Reader) io.Reader{
	"at once":               func(r io.Reader) io.Reader { return r },
	"byte by byte":          iotest.OneByteReader,
	"half by half":          iotest.HalfReader,
	"the end with the last": iotest.DataErrReader,
	"a prime at a time":     func(r io.Reader) io.Reader { return &stepReader{r, 1021} },
	"with nothing between":  func(r io.Reader) io.Reader { return &emptyReader{r: r} },
}

type stepReader struct {
	r    io.Reader
	step int
}

func (s *stepReader) Read(b []byte) (int, error) { return s.r.Read(b[:min(len(b), s.step)]) }

type emptyReader struct {
	r     io.Reader
	empty bool
}

func (e *emptyReader) Read(b []byte) (int, error) {
	if e.empty = !e.empty; e.empty {
		return 0, nil
	}
	return e.r.Read(b)
}

func TestFramesAreReadAsTheyWereWritten(t *testing.T) {
	sizes := []int{0, 1, 100, 127, 128, 250, 256, 257, 1000, 1020, 1024, 5000, 32 << 10, 33 << 10, 64 << 10, 100_000, 1<<20 - 100}
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	var want []message.Message
	var stream []byte
	for range 150 {
		m := randomMessage(r)
		if r.IntN(6) == 0 {
			m.Data = bytes.Repeat([]byte{byte(r.Uint32())}, 1+sizes[r.IntN(len(sizes))])
		}
		want = append(want, m)
		stream = m.AppendFrame(stream)
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			got, err := readAll(way(bytes.NewReader(stream)), 2<<20)
			assert.Equal(t, io.EOF, err)
			require.Equal(t, len(want), len(got), "seed %d", seed)
			for i := range want {
				require.Equal(t, want[i], got[i], "message %d, seed %d", i, seed)
			}
		})
	}
}

func TestMessagesThatWereReadStayAsTheyAre(t *testing.T) {
	// The memory that messages share and the buffers that readers share are not overwritten,
	// not even by an append to the data of a message.
	var stream []byte
	for i := range 2000 {
		m := message.Message{Type: "n", Data: fmt.Appendf(nil, "message %d", i)}
		stream = m.AppendFrame(stream)
	}
	for range 3 {
		got, err := readAll(bytes.NewReader(stream), 0)
		require.Equal(t, io.EOF, err)
		for i := range got {
			_ = append(got[i].Data, "overwritten"...)
		}
		for i, m := range got {
			require.Equal(t, fmt.Sprintf("message %d", i), string(m.Data))
		}
	}
}

func TestDataAtTheLimitPassesAndOneByteMoreDoesNot(t *testing.T) {
	for _, size := range []int{20, 1000, 40_000, message.MaxData} {
		m := message.Message{
			// Every other field has its largest value.
			Kind: message.Request, Type: strings.Repeat("x", message.MaxType), Code: math.MaxUint8, Timeout: math.MaxInt64,
			ID: message.ID{Epoch: math.MaxUint64, Seq: math.MaxUint64}, Data: make([]byte, size),
		}
		assert.LessOrEqual(t, m.Size(), size+message.Overhead)
		stream := m.AppendFrame(nil)
		got, err := readAll(bytes.NewReader(stream), size)
		assert.Equal(t, io.EOF, err)
		assert.Len(t, got, 1)
		got, err = readAll(bytes.NewReader(stream), size-1)
		assert.ErrorIs(t, err, message.ErrTooLarge)
		assert.Empty(t, got)
	}
}

func TestSizeIsCheckedBeforeMemoryIsTaken(t *testing.T) {
	t.Run("five bytes that claim 4 GiB", func(t *testing.T) {
		var err error
		assert.Less(t, allocated(func() {
			_, err = readAll(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}), 0)
		}), uint64(16<<10))
		assert.ErrorIs(t, err, message.ErrTooLarge)
		assert.ErrorContains(t, err, "4294967295 bytes")
	})
	t.Run("the same where that much is allowed", func(t *testing.T) {
		var err error
		assert.Less(t, allocated(func() {
			_, err = readAll(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, 0x03, 1, 2, 3}), 1<<30)
		}), uint64(256<<10), "memory is taken as a frame comes, not as it claims")
		assert.Equal(t, io.ErrUnexpectedEOF, err)
	})
	t.Run("data within a frame", func(t *testing.T) {
		b := append(protowire.AppendTag(nil, 4, protowire.BytesType), 0xff, 0xff, 0xff, 0xff, 0x07, 1)
		var err error
		assert.Less(t, allocated(func() { _, err = readAll(bytes.NewReader(append([]byte{byte(len(b))}, b...)), 0) }), uint64(64<<10))
		assert.ErrorIs(t, err, message.ErrMalformed)
	})
	t.Run("the default limit is a MiB of data", func(t *testing.T) {
		assert.Equal(t, 1<<20, message.MaxData)
		_, err := readAll(bytes.NewReader(protowire.AppendVarint(nil, message.DefaultMaxFrame+1)), 0)
		assert.ErrorIs(t, err, message.ErrTooLarge)
		_, err = readAll(bytes.NewReader(protowire.AppendVarint(nil, message.DefaultMaxFrame)), 0)
		assert.Equal(t, io.ErrUnexpectedEOF, err)
	})
}

// allocated returns how many bytes f allocates, freed or not. It is the least of a few
// runs, because other goroutines allocate, too.
func allocated(f func()) uint64 {
	least := ^uint64(0)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

func TestLengthThatIsNoLengthIsMalformed(t *testing.T) {
	for name, b := range map[string][]byte{
		"six bytes of length": {0x80, 0x80, 0x80, 0x80, 0x80, 0x01},
		"length without end":  bytes.Repeat([]byte{0xff}, 100),
	} {
		for way, read := range ways {
			_, err := readAll(read(bytes.NewReader(b)), 0)
			assert.ErrorIs(t, err, message.ErrMalformed, "%s, %s", name, way)
		}
	}
}

func TestStreamThatEndsWithinAFrameIsNotOneThatEndsBetweenTwo(t *testing.T) {
	for _, size := range []int{1, 300, 3000, 100_000} {
		m := message.Message{Type: "chat", Data: make([]byte, size)}
		stream := m.AppendFrame(m.AppendFrame(nil))
		frame := len(stream) / 2
		for _, cut := range []int{frame + 1, frame + 2, frame + frame/2, 2*frame - 1} {
			got, err := readAll(bytes.NewReader(stream[:cut]), 0)
			assert.Equal(t, io.ErrUnexpectedEOF, err, "%d bytes of %d", cut, len(stream))
			assert.Len(t, got, 1)
		}
		got, err := readAll(bytes.NewReader(stream[:frame]), 0)
		assert.Equal(t, io.EOF, err)
		assert.Len(t, got, 1)
	}
}

func TestReaderThatFailedFailsAgainTheSameWay(t *testing.T) {
	good := (&message.Message{Type: "chat"}).AppendFrame(nil)
	broken := errors.New("broken")
	for want, src := range map[error]io.Reader{
		io.EOF:               bytes.NewReader(good),
		broken:               io.MultiReader(bytes.NewReader(good), iotest.ErrReader(broken)),
		message.ErrMalformed: bytes.NewReader(append(good[:len(good):len(good)], append([]byte{1, 0xff}, good...)...)),
		io.ErrNoProgress:     io.MultiReader(bytes.NewReader(good), nothing{}),
	} {
		r := message.NewReader(src, 0)
		m, err := r.Next()
		require.NoError(t, err)
		assert.Equal(t, "chat", m.Type)
		_, first := r.Next()
		assert.ErrorIs(t, first, want)
		_, second := r.Next()
		assert.Equal(t, first, second)
	}
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

func TestBufferedSaysWhetherAFrameHasBegun(t *testing.T) {
	for _, size := range []int{0, 100, 3000, 100_000} {
		stream := (&message.Message{Type: "chat", Data: make([]byte, size)}).AppendFrame(nil)
		src := &watched{r: iotest.OneByteReader(bytes.NewReader(append(stream, stream...)))}
		src.reader = message.NewReader(src, 0)
		for range 2 {
			_, err := src.reader.Next()
			require.NoError(t, err)
			require.Zero(t, src.reader.Buffered())
		}
		require.Len(t, src.buffered, 2*len(stream))
		for i, n := range src.buffered {
			require.Equal(t, i%len(stream) > 0, n > 0, "byte %d of a frame of %d", i%len(stream), len(stream))
		}
	}
}

type watched struct {
	r        io.Reader
	reader   *message.Reader
	buffered []int
}

func (w *watched) Read(b []byte) (int, error) {
	w.buffered = append(w.buffered, w.reader.Buffered())
	return w.r.Read(b)
}

func TestReaderKeepsOneStringPerTypeButNotWithoutBound(t *testing.T) {
	var stream []byte
	for i := range 2000 {
		m := message.Message{Type: fmt.Sprintf("type %d", i)}
		stream = m.AppendFrame(m.AppendFrame(stream))
	}
	got, err := readAll(bytes.NewReader(stream), 0)
	require.Equal(t, io.EOF, err)
	for i, m := range got {
		require.Equal(t, fmt.Sprintf("type %d", i/2), m.Type)
	}
	same := bytes.Repeat((&message.Message{Type: "a type", Data: []byte("data")}).AppendFrame(nil), 8000)
	allocs := testing.AllocsPerRun(10, func() { got, _ = readAll(bytes.NewReader(same), 0) })
	require.Len(t, got, 8000)
	assert.Less(t, allocs, 8000*0.5, "messages that arrive together share their memory, and their type is one string")
}
