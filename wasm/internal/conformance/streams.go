//go:build js

package conformance

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall/js"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func testEcho(t *testing.T, s Subject) {
	c, _ := s.connect(t, "")
	stream := open(t, c, "/test/echo/1")
	for _, size := range []int{1, 64, 1000, 65536, 65537, 300_000} {
		sent := make([]byte, size)
		rand.Read(sent)
		go stream.Write(sent)
		got := make([]byte, size)
		_, err := io.ReadFull(stream, got)
		require.NoError(t, err)
		require.True(t, bytes.Equal(sent, got), "%d bytes came back changed", size)
	}
	n, err := stream.Write(nil)
	require.NoError(t, err)
	require.Zero(t, n)
}

func testLarge(t *testing.T, s Subject) {
	const size = 8 << 20
	c, _ := s.connect(t, "")
	t.Run("up", func(t *testing.T) { requireSunk(t, open(t, c, "/test/sink/1"), size) })
	t.Run("down", func(t *testing.T) {
		stream := open(t, c, "/test/source/1")
		request(t, stream, size)
		got, err := io.ReadAll(stream)
		require.NoError(t, err)
		require.True(t, bytes.Equal(pattern(0, size), got))
	})
}

// requireSunk sends size bytes into a sink and checks the receipt.
func requireSunk(t *testing.T, stream network.MuxedStream, size int) {
	t.Helper()
	sent := make([]byte, size)
	rand.Read(sent)
	n, err := stream.Write(sent)
	require.NoError(t, err)
	require.Equal(t, size, n)
	require.NoError(t, stream.CloseWrite())
	requireReceipt(t, stream, sent)
}

func requireReceipt(t *testing.T, stream network.MuxedStream, sent []byte) {
	t.Helper()
	receipt, err := io.ReadAll(stream)
	require.NoError(t, err)
	sum := sha256.Sum256(sent)
	require.Equal(t, append(binary.BigEndian.AppendUint64(nil, uint64(len(sent))), sum[:]...), receipt)
}

func testHalfClose(t *testing.T, s Subject) {
	c, _ := s.connect(t, "")
	stream := open(t, c, "/test/sink/1")
	requireSunk(t, stream, 1<<20)
	_, err := stream.Write([]byte("late"))
	require.Error(t, err, "a write after CloseWrite")
	require.NoError(t, stream.CloseWrite(), "CloseWrite again")
	require.NoError(t, stream.Close())
}

func testClose(t *testing.T, s Subject) {
	c, far := s.connect(t, "")
	stream := open(t, c, "/test/observe/1")
	_, err := stream.Write(make([]byte, 100_000))
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	how, n := far.Observed(t)
	assert.Equal(t, "eof", how)
	assert.EqualValues(t, 100_000, n)
	_, err = stream.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF)
	_, err = stream.Write([]byte("x"))
	require.Error(t, err)
	require.NoError(t, stream.Close(), "Close again")
}

func testReset(t *testing.T, s Subject) {
	c, far := s.connect(t, "")
	stream := open(t, c, "/test/observe/1")
	_, err := stream.Write([]byte("0123456789"))
	require.NoError(t, err)
	reading := make(chan error, 1)
	go func() {
		_, err := stream.Read(make([]byte, 1))
		reading <- err
	}()
	require.NoError(t, stream.Reset())
	how, _ := far.Observed(t)
	assert.Equal(t, "reset", how)
	require.ErrorIs(t, receive(t, reading), network.ErrReset, "a read under way when the stream is reset")
	_, err = stream.Write([]byte("x"))
	require.ErrorIs(t, err, network.ErrReset)
	require.NoError(t, stream.Reset(), "Reset again")
}

func testCloseRead(t *testing.T, s Subject) {
	c, far := s.connect(t, "")
	stream := open(t, c, "/test/observe/1")
	reading := make(chan error, 1)
	go func() {
		_, err := stream.Read(make([]byte, 1))
		reading <- err
	}()
	require.NoError(t, stream.CloseRead())
	err := receive(t, reading)
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF)
	_, err = stream.Write([]byte("still written"))
	require.NoError(t, err)
	require.NoError(t, stream.CloseWrite())
	how, n := far.Observed(t)
	assert.Equal(t, "eof", how)
	assert.EqualValues(t, 13, n)
}

func testFarReset(t *testing.T, s Subject) {
	c, _ := s.connect(t, "")
	stream := open(t, c, "/test/reset/1")
	_, err := stream.Write([]byte("x"))
	require.NoError(t, err)
	_, err = stream.Read(make([]byte, 1))
	require.ErrorIs(t, err, network.ErrReset)
	require.ErrorIs(t, writeUntilError(stream), network.ErrReset)
}

// writeUntilError writes at most 64 MiB.
func writeUntilError(stream network.MuxedStream) error {
	for range 1024 {
		if _, err := stream.Write(make([]byte, 64<<10)); err != nil {
			return err
		}
	}
	return nil
}

func testFarCloseRead(t *testing.T, s Subject) {
	c, far := s.connect(t, "")
	stream := open(t, c, "/test/closeread/1")
	_, err := stream.Write([]byte("x")) // go-libp2p starts the handler with it
	if s.RefusesWrites {
		require.Error(t, errors.Join(err, writeUntilError(stream)))
	} else {
		require.NoError(t, err)
	}
	far.Post(t, "release", nil)
	got, err := io.ReadAll(stream)
	require.NoError(t, err)
	require.Equal(t, "still here", string(got))
}

func testReadDeadline(t *testing.T, s Subject) {
	c, _ := s.connect(t, "")
	stream := open(t, c, "/test/echo/1")
	timesOut := func(msg string) {
		_, err := stream.Read(make([]byte, 1))
		requireTimeout(t, err, msg)
	}
	require.NoError(t, stream.SetReadDeadline(time.Now().Add(-time.Second)))
	timesOut("in the past")
	require.NoError(t, stream.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	timesOut("in the future")
	timesOut("still passed")

	require.NoError(t, stream.SetReadDeadline(time.Time{}))
	done := make(chan struct{})
	go func() { defer close(done); timesOut("moved while waiting") }()
	runtime.Gosched()
	require.NoError(t, stream.SetReadDeadline(time.Now()))
	<-done

	require.NoError(t, stream.SetDeadline(time.Now().Add(waitLimit)))
	_, err := stream.Write([]byte("alive"))
	require.NoError(t, err)
	got := make([]byte, 5)
	_, err = io.ReadFull(stream, got)
	require.NoError(t, err)
	require.Equal(t, "alive", string(got))
}

func requireTimeout(t *testing.T, err error, msg string) {
	t.Helper()
	var timeout net.Error
	require.ErrorAs(t, err, &timeout, msg)
	require.True(t, timeout.Timeout(), msg)
}

// maxInFlight is how many bytes a stream may hold between a writer and a reader that has
// stopped: the windows of yamux or QUIC and the buffers of both platforms.
const maxInFlight = 32 << 20

func testWriteBackPressure(t *testing.T, s Subject) {
	c, far := s.connect(t, "")
	stream := open(t, c, "/test/stall/1")
	before := memory()
	var sent bytes.Buffer
	chunk := make([]byte, 64<<10)
	err := stream.SetWriteDeadline(time.Now().Add(3 * time.Second))
	for err == nil {
		var n int
		rand.Read(chunk)
		n, err = stream.Write(chunk)
		sent.Write(chunk[:n])
		require.Less(t, sent.Len(), 256<<20, "nothing held the writer back")
	}
	requireTimeout(t, err, "a write that is held back")
	grown := memory() - before
	t.Logf("a reader that stands still took %d KiB; memory grew by %d KiB, test data included", sent.Len()>>10, grown>>10)
	assert.Less(t, sent.Len(), maxInFlight)

	far.Post(t, "release", nil)
	require.NoError(t, stream.SetWriteDeadline(time.Time{}))
	require.NoError(t, stream.CloseWrite())
	requireReceipt(t, stream, sent.Bytes())
}

func testReadBackPressure(t *testing.T, s Subject) {
	const size, piece = 256 << 20, 8 << 10
	c, _ := s.connect(t, "")
	stream := open(t, c, "/test/source/1")
	request(t, stream, size)
	buf := make([]byte, piece)
	before, most := memory(), 0
	pace := time.NewTicker(20 * time.Millisecond) // a reader of 400 KiB/s
	defer pace.Stop()
	for at := 0; at < 100*piece; at += piece {
		<-pace.C
		_, err := io.ReadFull(stream, buf)
		require.NoError(t, err)
		require.True(t, bytes.Equal(pattern(at, piece), buf))
		if at%(10*piece) == 0 {
			most = max(most, memory()-before)
		}
	}
	t.Logf("%d MiB were offered and %d KiB read; memory grew by at most %d KiB", size>>20, 100*piece>>10, most>>10)
	assert.Less(t, most, maxInFlight)
}

// memory returns how many bytes Go and, if it can be asked, JavaScript hold.
func memory() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	held := int(m.HeapAlloc)
	if p := js.Global().Get("performance").Get("memory"); p.Type() == js.TypeObject {
		held += p.Get("usedJSHeapSize").Int()
	}
	return held
}

func testConcurrent(t *testing.T, s Subject) {
	const most, each, size = 8, 50, 1000
	writers, readers := most, 4
	if s.OneWriter {
		writers, readers = 1, 1
	}
	c, _ := s.connect(t, "")
	stream := open(t, c, "/test/echo/1")
	var writing, reading sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for range each {
				_, err := stream.Write(bytes.Repeat([]byte{byte(w)}, size))
				assert.NoError(t, err)
			}
		})
	}
	var mu sync.Mutex
	var counts [most]int
	missing := writers * each * size
	for range readers {
		reading.Go(func() {
			buf := make([]byte, 700)
			for {
				n, err := stream.Read(buf)
				mu.Lock()
				for _, b := range buf[:n] {
					counts[b]++
				}
				if missing -= n; missing == 0 {
					_ = stream.SetReadDeadline(time.Now()) // ends those who wait
				}
				mu.Unlock()
				if err != nil {
					var timeout net.Error
					assert.True(t, errors.As(err, &timeout) && timeout.Timeout(), "read: %v", err)
					return
				}
			}
		})
	}
	writing.Wait()
	reading.Wait()
	require.NoError(t, stream.CloseWrite())
	for w, n := range counts[:writers] {
		assert.Equal(t, each*size, n, "bytes of writer %d", w)
	}
}

func testManyStreams(t *testing.T, s Subject) {
	c, _ := s.connect(t, "")
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			stream, err := tryOpen(c, "/test/echo/1")
			if !assert.NoError(t, err) {
				return
			}
			defer stream.Close()
			sent := make([]byte, 10_000)
			rand.Read(sent)
			_, err = stream.Write(sent)
			assert.NoError(t, err)
			assert.NoError(t, stream.CloseWrite())
			got, err := io.ReadAll(stream)
			assert.NoError(t, err)
			assert.True(t, bytes.Equal(sent, got))
		})
	}
	all.Wait()
}

// receive waits for an error that must come.
func receive(t testing.TB, c <-chan error) error {
	t.Helper()
	select {
	case err := <-c:
		return err
	case <-time.After(waitLimit):
		require.Fail(t, "still waiting", "after %s", waitLimit)
		return nil
	}
}
