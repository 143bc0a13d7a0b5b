//go:build js

package websocket

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall/js"

	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// stream is a WebSocketStream.
type stream struct {
	*jsio.Reader
	*jsio.Writer
	js   js.Value
	once sync.Once
}

var _ socket = (*stream)(nil)

func openStream(ctx context.Context, url string) (socket, error) {
	wss, err := jsio.Try(func() js.Value { return js.Global().Get("WebSocketStream").New(url) })
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", url, err)
	}
	wss.Get("closed").Call("then", jsio.Ignore, jsio.Ignore)
	opened, err := jsio.Await(ctx, wss.Get("opened"))
	if err != nil {
		wss.Call("close")
		return nil, fmt.Errorf("open %s: %w", url, err)
	}
	return &stream{
		Reader: jsio.NewReader(opened.Get("readable"), streamFailure),
		Writer: jsio.NewWriter(opened.Get("writable"), streamFailure),
		js:     wss,
	}, nil
}

// streamFailure turns an orderly close into io.EOF.
func streamFailure(v js.Value) error {
	if v.Type() == js.TypeObject {
		if code := v.Get("closeCode"); code.Type() == js.TypeNumber && orderly(code.Int()) {
			return io.EOF
		}
	}
	return jsio.AsError(v)
}

// orderly close codes are 1000 (normal) and 1005 (none given), RFC 6455, 7.4.1.
func orderly(code int) bool { return code == 1000 || code == 1005 }

// Close sends what was written, then closes. It does not wait.
func (s *stream) Close() error {
	s.once.Do(func() {
		s.Writer.Close()
		s.Reader.Fail(net.ErrClosed, js.Undefined())
		s.js.Call("close")
	})
	return nil
}
