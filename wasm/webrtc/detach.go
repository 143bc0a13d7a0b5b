//go:build js

package webrtc

import (
	"errors"
	"syscall/js"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/tombolo-net/tombolo/core/webrtc"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// Detach takes a stream of core/webrtc out of Go: bytes between JavaScript and the data
// channel do not pass through Go from then on. state has the data channel, in the property
// channel, an object that all streams of the connection share, in the property connection,
// and the state of the stream (see webrtc.Detached), in the properties unread, rest,
// ended, credit, maySend, mayReceive, message and lengthApart. The channel has no event
// handlers: JavaScript must set them in the same task.
//
// ended is called if the stream ends at this end, with the error. The caller must call
// over when JavaScript has closed the channel. If ok is false, s is unchanged.
func Detach(s network.Stream, ended func(error)) (state js.Value, over func(), ok bool) {
	d, over, ok := webrtc.Detach(s, isReady, ended)
	if !ok {
		return js.Undefined(), nil, false
	}
	ch := d.Channel.(*channel)
	ch.release()
	state = js.ValueOf(map[string]any{
		"channel":     ch.js,
		"connection":  ch.conn.pc,
		"unread":      jsio.Uint8Array(d.Unread),
		"rest":        jsio.Uint8Array(d.Rest),
		"ended":       d.Ended,
		"credit":      d.Credit,
		"maySend":     float64(d.MaySend),
		"mayReceive":  float64(d.MayReceive),
		"message":     d.Message,
		"lengthApart": d.LengthApart,
	})
	return state, over, true
}

// isReady reports whether a channel of this package can be handed to JavaScript.
func isReady(c webrtc.Channel) bool {
	ch := c.(*channel)
	return !ch.ended && ch.open && ch.state() == "open"
}

// Failure returns the error of a detached stream that JavaScript has seen fail: an object
// with the code of the peer's reset, or 0, and what is wrong in words.
func Failure(seen js.Value) error {
	e := &network.StreamError{Remote: true}
	if v, err := jsio.Get(seen, "code"); err == nil {
		code, _ := jsio.Count(v, 0, 1<<32-1)
		e.ErrorCode = network.StreamErrorCode(code)
	}
	if v, err := jsio.Get(seen, "why"); err == nil {
		why, _ := jsio.Text(v)
		e.TransportError = errors.New(why)
	}
	return e
}
