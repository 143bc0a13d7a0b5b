//go:build js

package webtransport

import (
	"context"
	"syscall/js"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
)

// Detach takes a stream of this transport out of Go: it returns the browser's own stream
// and writer, so that bytes between JavaScript and the network do not pass through Go at
// all. s, which may be wrapped by a host, must have finished its protocol negotiation.
//
// If ok is true, s can only be reset or closed from then on, and one of Reset and Close
// must be called once both directions have ended. Reset ends the writing side; only the
// reader of the stream can release the reading side. written is closed when the writing
// side has ended, for whatever reason.
//
// If ok is false, s is unchanged: it is not a stream of this transport, or Go has read
// ahead on it.
func Detach(s network.Stream) (readable, writer js.Value, written <-chan struct{}, ok bool) {
	inner := unwrap(s)
	if inner == nil {
		return
	}
	if readable, ok = inner.r.Detach(); !ok {
		return
	}
	writer, over, ok := inner.w.Detach()
	if !ok { // closed or reset meanwhile
		readable.Call("cancel").Call("then", jsio.Ignore, jsio.Ignore)
		return readable, writer, nil, false
	}
	inner.detached = true
	done := make(chan struct{})
	go func() {
		_, _ = jsio.Await(context.Background(), over)
		close(done)
	}()
	return readable, writer, done, true
}

// unwrap returns our stream below those of the swarm and the host, which do not expose
// it: the call below passes through them to our stream. Nothing else runs meanwhile,
// because js has one thread and the call does not block.
func unwrap(s network.Stream) *stream {
	var c *conn
	if !s.Conn().As(&c) {
		return nil
	}
	c.touched = nil
	if err := s.SetReadDeadline(time.Time{}); err != nil {
		return nil
	}
	return c.touched
}
