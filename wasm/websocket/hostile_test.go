//go:build js

package websocket_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/wasm/internal/conformance"
	"github.com/tombolo-net/tombolo/wasm/internal/farside"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
	"github.com/tombolo-net/tombolo/wasm/websocket"
)

const waitLimit = 30 * time.Second

// Opcodes: RFC 6455, 5.2.
const (
	continuation = 0x0
	text         = 0x1
	binaryData   = 0x2
	closing      = 0x8
	ping         = 0x9
	pong         = 0xa
	final        = 0x80
	masked       = 0x80
)

// frame returns a WebSocket frame with the given first byte and payload.
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

// dialThrough dials far through an intruder, and returns what the dial returns. It fails
// the test if the dial takes longer than waitLimit.
func dialThrough(t *testing.T, tr transport.Transport, far *farside.Peer, i farside.Intrusion) (transport.CapableConn, error) {
	between := far.StartIntruder(t, i)
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	c, err := tr.Dial(ctx, between.Addrs[0], far.ID)
	require.NoError(t, ctx.Err())
	return c, err
}

// ended waits for the end of a connection and returns the reason.
func ended(t *testing.T, c transport.CapableConn) error {
	t.Helper()
	end := make(chan error, 1)
	go func() {
		for {
			if _, err := c.AcceptStream(); err != nil {
				end <- err
				return
			}
		}
	}()
	select {
	case err := <-end:
		return err
	case <-time.After(waitLimit):
		require.Fail(t, "the connection stays open")
		return nil
	}
}

// A text frame before the Noise handshake used to end the whole program.
func TestTextFrameEndsItsConnectionAndNothingElse(t *testing.T) {
	far := farside.Start(t, "listen=ws")
	tr := newTransport(t, conformance.NewKey(t))
	for after := range 6 { // before, during and after the handshake
		t.Run(fmt.Sprintf("After%dFrames", after), func(t *testing.T) {
			c, err := dialThrough(t, tr, far, farside.Intrusion{After: after, Bytes: frame(final|text, []byte("hi"))})
			if err == nil {
				err = ended(t, c)
			}
			require.ErrorContains(t, err, "text message")
		})
	}
	echoes(t, conformance.Dial(t, tr, far.Addr(t, "/ws"), far.ID))
}

func echoes(t *testing.T, c transport.CapableConn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	s, err := c.OpenStream(ctx)
	require.NoError(t, err)
	defer s.Reset()
	require.NoError(t, s.SetDeadline(time.Now().Add(waitLimit)))
	const name = "\x13/multistream/1.0.0\n\x0d/test/echo/1\n"
	_, err = s.Write([]byte(name + "hello"))
	require.NoError(t, err)
	require.NoError(t, s.CloseWrite())
	back, err := io.ReadAll(s)
	require.NoError(t, err)
	require.Equal(t, name+"hello", string(back))
}

func TestEmptyAndControlFramesAreNoEnd(t *testing.T) {
	far := farside.Start(t, "listen=ws")
	tr := newTransport(t, conformance.NewKey(t))
	for name, b := range map[string][]byte{
		"Empty": frame(final|binaryData, nil),
		"Ping":  frame(final|ping, []byte("?")),
		"Pong":  frame(final|pong, nil),
		"EmptyInPieces": append(append(frame(binaryData, nil), frame(continuation, nil)...),
			frame(final|continuation, nil)...),
	} {
		t.Run(name, func(t *testing.T) {
			for after := range 4 {
				c, err := dialThrough(t, tr, far, farside.Intrusion{After: after, Bytes: b, Times: 100})
				require.NoError(t, err)
				echoes(t, c)
				require.NoError(t, c.Close())
			}
		})
	}
}

func TestCloseFrameTellsWhy(t *testing.T) {
	far := farside.Start(t, "listen=ws")
	tr := newTransport(t, conformance.NewKey(t))
	for code, want := range map[uint16]string{1000: "EOF", 1001: "code 1001", 1011: `code 1011: "a\nb"`, 4999: "code 4999"} {
		b := frame(final|closing, append(binary.BigEndian.AppendUint16(nil, code), "a\nb"...))
		_, err := dialThrough(t, tr, far, farside.Intrusion{Bytes: b, Then: "hold"})
		assert.ErrorContains(t, err, want)
	}
}

// hostile returns bytes that a server may send at any time, well-formed or not.
func hostile(r *rand.Rand) []byte {
	random := make([]byte, r.IntN(300))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	opcode := byte(r.IntN(16))
	switch r.IntN(10) {
	case 0: // any first byte, also reserved bits and opcodes
		return frame(byte(r.Uint32()), random)
	case 1:
		return frame(final|text, []byte("text"))
	case 2: // invalid UTF-8
		return frame(final|text, random)
	case 3: // masked, which a server may not do
		return append([]byte{final | opcode, masked | 2}, random...)
	case 4: // a length of up to 2^64 bytes
		return append(binary.BigEndian.AppendUint64([]byte{final | opcode, 127}, r.Uint64()), random...)
	case 5: // a length in more bytes than are needed
		return append([]byte{final | binaryData, 126, 0, byte(len(random))}, random...)
	case 6: // fragments, which may be text, never end, or have no beginning
		return append(frame(byte(r.IntN(3)), random), frame(byte(r.IntN(2))*final|continuation, random)...)
	case 7: // a control frame that is too long, or fragmented
		return frame(byte(r.IntN(2))*final|closing|byte(r.IntN(3)), append(random, make([]byte, 126)...))
	case 8: // any close code and any reason
		return frame(final|closing, random[:min(len(random), r.IntN(126))])
	}
	return random
}

// halfUpgrade returns a wrong answer to the request for a WebSocket.
func halfUpgrade(r *rand.Rand) []byte {
	heads := []string{
		"", "\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://localhost:1/\r\n\r\n", "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"a\"\r\n\r\n", "HTTP/9 \xff\x00",
	}
	return append([]byte(heads[r.IntN(len(heads))]), hostile(r)...)
}

// TEST_SEED repeats a run; TEST_ROUNDS sets its length.
func TestNoBytesOfAServerEndTheProgram(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv("TEST_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	rounds, err := strconv.Atoi(os.Getenv("TEST_ROUNDS"))
	if err != nil {
		rounds = 6
	}
	t.Logf("TEST_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	far := farside.Start(t, "listen=ws")
	before := jsio.LiveFuncs()
	tr := newTransport(t, conformance.NewKey(t), websocket.WithHandshakeTimeout(2*time.Second))
	for range rounds {
		var round sync.WaitGroup
		for after := -1; after < 8; after++ {
			i := farside.Intrusion{After: after, Times: 1 + r.IntN(3), Then: []string{"", "end", "hold"}[r.IntN(3)], Bytes: hostile(r)}
			if after < 0 {
				i.Bytes = halfUpgrade(r)
			}
			round.Go(func() { survive(t, tr, far, i) })
		}
		round.Wait()
	}
	echoes(t, conformance.Dial(t, newTransport(t, conformance.NewKey(t)), far.Addr(t, "/ws"), far.ID))
	far.Post(t, "close", nil)
	require.Eventually(t, func() bool { return jsio.LiveFuncs() <= before }, waitLimit, 10*time.Millisecond, "functions are left behind")
}

// survive dials through an intruder and uses the connection, if there is one. Any error is
// fine.
func survive(t *testing.T, tr transport.Transport, far *farside.Peer, i farside.Intrusion) {
	c, err := dialThrough(t, tr, far, i)
	if err != nil {
		return
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s, err := c.OpenStream(ctx)
	if err != nil {
		return
	}
	defer s.Reset()
	_ = s.SetDeadline(time.Now().Add(2 * time.Second))
	_, _ = s.Write([]byte("\x13/multistream/1.0.0\n"))
	_, _ = io.ReadAll(s)
}
