//go:build js

package websocket

import (
	"context"
	"syscall/js"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/wasm/internal/farside"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// opened returns a socket to a peer that sends b the given number of times. Nothing reads
// the socket.
func opened(t *testing.T, b []byte, times int) *socket {
	t.Helper()
	between := farside.Start(t, "listen=ws").StartIntruder(t, farside.Intrusion{Bytes: b, Times: times})
	url, err := dialURL(between.Addrs[0])
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := open(ctx, url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestServerThatSendsWhatNobodyReadsIsLeft(t *testing.T) {
	const size = 60000
	s := opened(t, append([]byte{0x82, 126, size >> 8, size & 0xff}, make([]byte, size)...), 2*maxUnread/size)
	select {
	case <-s.done:
	case <-time.After(30 * time.Second):
		require.Fail(t, "the socket stays open")
	}
	require.ErrorIs(t, s.err, errUnread)
	require.LessOrEqual(t, s.size, maxUnread)
	require.Greater(t, s.size, maxUnread/2)
}

func TestSmallFramesThatWaitAreBoundedToo(t *testing.T) {
	s := opened(t, nil, 1)
	one, empty := js.Global().Get("ArrayBuffer").New(1), js.Global().Get("ArrayBuffer").New(0)
	const room = 100 // the room that is left, because filling all of it takes a while
	before := maxUnread - room*(frameCost+1)
	s.size = before
	for range room {
		require.NoError(t, s.message(empty))
		require.NoError(t, s.message(one))
	}
	require.ErrorIs(t, s.message(one), errUnread)
	n, err := s.Read(make([]byte, 2*room))
	require.NoError(t, err)
	require.Equal(t, room, n)
	require.Equal(t, before, s.size, "what was read no longer counts")
	require.NoError(t, s.message(one))
}

func TestMessagesThatAreNotBytesAreErrors(t *testing.T) {
	s := opened(t, nil, 1)
	global := js.Global()
	require.ErrorIs(t, s.message(js.ValueOf("hi")), errText)
	for _, v := range []js.Value{
		global.Get("Blob").New([]any{"hi"}), global.Get("BigInt").Invoke("1"), global.Get("Symbol").Invoke(), js.Undefined(),
		js.Null(), js.ValueOf(3), js.ValueOf(map[string]any{"byteLength": 1 << 40}), global.Get("DataView").New(global.Get("ArrayBuffer").New(1)),
	} {
		require.ErrorIs(t, s.message(v), jsio.ErrNotBytes)
	}
	require.ErrorIs(t, s.message(global.Get("ArrayBuffer").New(maxUnread+1)), errUnread)
}

func TestCloseCodesOfAnySortAreErrors(t *testing.T) {
	for _, v := range []js.Value{js.Undefined(), js.Null(), js.ValueOf("1000"), js.ValueOf(-1), js.ValueOf(1.5), js.ValueOf(1 << 40), js.Global().Get("BigInt").Invoke("1000")} {
		require.EqualError(t, closeError(v, js.Undefined()), "closed with code 0")
	}
}
