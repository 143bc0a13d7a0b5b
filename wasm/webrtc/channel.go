//go:build js

package webrtc

import (
	"errors"
	"sync"
	"syscall/js"

	"github.com/tombolo-net/tombolo/core/webrtc"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// maxMessage is the maximum size of a received message, in bytes: the most that browsers
// send.
const maxMessage = 256 << 10

// channel is an RTCDataChannel, of the page or transferred to a worker.
type channel struct {
	conn    *peerConnection
	js      js.Value
	handler webrtc.ChannelHandler
	happens js.Func // every event of the channel
	open    bool
	closing bool // Close was called; if it was not open yet, messages that wait are sent first
	ended   bool // Closed was called, or the connection was closed
}

var _ webrtc.Channel = (*channel)(nil)

var channelEvents = []string{"onopen", "onmessage", "onclose", "onerror", "onbufferedamountlow"}

func (c *peerConnection) newChannel(v js.Value) *channel {
	v.Set("binaryType", "arraybuffer")
	return &channel{conn: c, js: v}
}

// renewed returns a channel that the other end of a page's connection has opened, as
// another object. Chromium reports such a channel as open at first, and about one in two
// thousand as connecting from then on: two threads report its state, and the older report
// may come last. The object that a transfer makes, even to the page itself, has the right
// state. In Firefox, such an object does not close when the other end closes it.
func renewed(v js.Value) js.Value {
	if js.Global().Get("webkitRTCPeerConnection").IsUndefined() {
		return v // it is not Chromium, or a worker, to which a page gives its channels
	}
	again, err := jsio.Try(func() js.Value {
		return js.Global().Call("structuredClone", v, map[string]any{"transfer": []any{v}})
	})
	if err != nil {
		return v // the platform does not transfer channels
	}
	return again
}

func (ch *channel) Handle(h webrtc.ChannelHandler) {
	ch.handler = h
	if ch.conn.closed {
		ch.ended = true
		return
	}
	ch.happens = jsio.NewFunc(func(_ js.Value, args []js.Value) any {
		ch.happened(jsio.First(args))
		return nil
	})
	ch.conn.channels[ch] = struct{}{}
	for _, event := range channelEvents {
		ch.js.Set(event, ch.happens)
	}
	switch ch.state() {
	case "open":
		ch.opened()
	case "closed":
		ch.closed()
	}
}

func (ch *channel) state() string { return ch.js.Get("readyState").String() }

func (ch *channel) happened(event js.Value) {
	if ch.ended {
		return
	}
	switch event.Get("type").String() {
	case "open":
		ch.opened()
	case "message":
		b, err := jsio.Bytes(event.Get("data"), maxMessage)
		if err != nil { // for example, text
			_, _ = jsio.Call(ch.js, "close")
			return
		}
		ch.handler.Message(b)
	case "bufferedamountlow":
		ch.conn.events.Low()
	case "close":
		ch.closed()
	case "error": // SCTP has failed, and all channels with it; otherwise close follows
		if failure := event.Get("error"); failure.Truthy() && failure.Get("errorDetail").Equal(js.ValueOf("sctp-failure")) {
			ch.conn.events.Ended(errClosed)
		}
	}
}

func (ch *channel) opened() {
	if ch.open {
		return
	}
	ch.open = true
	ch.handler.Opened()
	if ch.closing {
		ch.Close()
	}
}

func (ch *channel) closed() {
	ch.release()
	ch.handler.Closed()
}

// release ends the channel's events.
func (ch *channel) release() {
	if ch.ended {
		return
	}
	ch.ended = true
	for _, event := range channelEvents {
		ch.js.Set(event, js.Null())
	}
	delete(ch.conn.channels, ch)
	jsio.Release(ch.happens)
}

// scratch holds a message while it is sent; send copies it.
var scratch = sync.OnceValue(func() js.Value { return js.Global().Get("Uint8Array").New(64 << 10) })

func (ch *channel) Send(b []byte) error {
	if ch.ended {
		return errors.New("the data channel is closed")
	}
	if len(b) > scratch().Length() {
		return errors.New("the message is larger than a data channel takes")
	}
	js.CopyBytesToJS(scratch(), b)
	_, err := jsio.Try(func() js.Value { return ch.js.Call("send", scratch().Call("subarray", 0, len(b))) })
	return err
}

func (ch *channel) Buffered() int { return ch.js.Get("bufferedAmount").Int() }

func (ch *channel) SetLow(bytes int) { ch.js.Set("bufferedAmountLowThreshold", bytes) }

func (ch *channel) Close() {
	ch.closing = true
	if ch.open {
		_, _ = jsio.Try(func() js.Value { return ch.js.Call("close") })
	}
}
