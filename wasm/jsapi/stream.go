//go:build js

package jsapi

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall/js"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
	"github.com/tombolo-net/tombolo/wasm/webrtc"
	"github.com/tombolo-net/tombolo/wasm/webtransport"
)

// stream is a bridged stream that closes itself once both its directions have ended, in
// whatever way: JavaScript has no call that closes it.
type stream struct {
	*bridge.Conn
	object              js.Value
	readOnce, writeOnce sync.Once
	halves              atomic.Int32         // directions that have not ended
	over                chan struct{}        // closed when both have ended
	failure             func(js.Value) error // the error of a detached stream that JavaScript has seen fail
	leave               func()               // of a stream of the kind "channel": see webrtc.Detach
}

var (
	_ jsio.Source = (*stream)(nil)
	_ jsio.Sink   = (*stream)(nil)

	streams jsio.Handles[*stream]
)

// streamObject returns the object of a stream for the TypeScript in web/src.
//
// If its property kind is "program", it has the properties readable and writable, whose
// bytes pass through Go. Otherwise the stream is detached: no Go code is between
// JavaScript and the network. JavaScript then tells Go how the stream ended, and Go tells
// JavaScript when Go ended it:
//
//	failed(seen)   JavaScript has seen the stream fail; resolves to the reason, as an Error
//	ended          resolves when the stream has ended, to its error or null
//
// Of the kind "browser", the bytes are the platform's own streams, of WebTransport:
//
//	readable, writer   the platform's
//	readEnded()        the readable is at its end, or was cancelled
//
// Of the kind "channel", they are the messages of a data channel, of WebRTC:
//
//	state    what webrtc.Detach returns
//	over()   both halves have ended, and the channel is closed
func streamObject(c *bridge.Conn) js.Value {
	s := &stream{Conn: c, object: js.Global().Get("Object").New(), over: make(chan struct{})}
	s.halves.Store(2)
	streams.Add(s.object, s)
	s.object.Set("peer", c.RemotePeer().String())
	s.object.Set("protocol", string(c.Protocol()))
	s.object.Set("reset", streamMethods().reset)
	switch {
	case !c.Bounded() && (s.detachBrowser() || s.detachChannel()):
		s.object.Set("failed", streamMethods().failed)
		s.object.Set("ended", jsio.Promise(func() (any, error) {
			<-c.Done()
			if err := c.Failure(); err != nil {
				return throwable(err), nil
			}
			return nil, nil
		}))
	default:
		s.object.Set("kind", "program")
		s.object.Set("readable", jsio.NewReadable(s))
		s.object.Set("writable", jsio.NewWritable(s))
	}
	go func() {
		select {
		case <-s.over:
		case <-c.Done(): // reset by either side
		}
		_ = c.Close()
		if s.leave == nil { // otherwise its channel may still be open
			streams.Drop(s.object)
		}
	}()
	return s.object
}

// detachBrowser hands out the streams of WebTransport, if it is one.
func (s *stream) detachBrowser() bool {
	readable, writer, written, ok := webtransport.Detach(s.Stream)
	if !ok {
		return false
	}
	s.failure = webtransport.Failure
	s.object.Set("kind", "browser")
	s.object.Set("readable", readable)
	s.object.Set("writer", writer)
	s.object.Set("readEnded", streamMethods().readEnded)
	go func() {
		<-written
		s.endWrite()
	}()
	return true
}

// detachChannel hands out the data channel of WebRTC, if it has one.
func (s *stream) detachChannel() bool {
	state, leave, ok := webrtc.Detach(s.Stream, func(err error) { go s.fail(err) })
	if !ok {
		return false
	}
	s.failure, s.leave = webrtc.Failure, leave
	s.object.Set("kind", "channel")
	s.object.Set("state", state)
	s.object.Set("over", streamMethods().over)
	return true
}

// streamMethods are shared by all streams.
var streamMethods = sync.OnceValue(func() (m struct{ reset, readEnded, failed, over js.Func }) {
	m.reset = jsio.NewFunc(func(this js.Value, _ []js.Value) any {
		if s, _, ok := streams.Find(this); ok {
			go func() { _ = s.Reset() }()
		}
		return nil
	})
	m.readEnded = jsio.NewFunc(func(this js.Value, _ []js.Value) any {
		if s, _, ok := streams.Find(this); ok {
			s.endRead()
		}
		return nil
	})
	m.failed = jsio.NewFunc(func(this js.Value, args []js.Value) any {
		s, _, ok := streams.Find(this)
		if !ok {
			ended, _ := jsio.Get(this, "ended")
			return ended
		}
		thrown := argument(args, 0)
		return jsio.Promise(func() (any, error) { return throwable(s.fail(s.failure(thrown))), nil })
	})
	m.over = jsio.NewFunc(func(this js.Value, _ []js.Value) any {
		if s, _, ok := streams.Find(this); ok {
			s.endRead()
			s.endWrite()
			s.leave()
			streams.Drop(this)
		}
		return nil
	})
	return m
})

// fail records that a detached stream has failed, and returns the reason.
func (s *stream) fail(err error) error {
	err = s.Explain(err)
	s.endRead()
	s.endWrite()
	return err
}

func (s *stream) endRead()  { s.readOnce.Do(s.endHalf) }
func (s *stream) endWrite() { s.writeOnce.Do(s.endHalf) }

func (s *stream) endHalf() {
	if s.halves.Add(-1) == 0 {
		close(s.over)
	}
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err != nil {
		s.endRead()
	}
	if _, ok := errors.AsType[*bridge.Error](err); ok {
		s.endWrite() // the other half, too: perhaps nobody writes again and gets the error
	}
	return n, withReason(err)
}

func (s *stream) CloseRead() error {
	defer s.endRead()
	return s.Conn.CloseRead()
}

func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	if err != nil {
		s.endWrite() // only this half: the peer may just have stopped reading
	}
	return n, withReason(err)
}

func (s *stream) CloseWrite() error {
	defer s.endWrite()
	return s.Conn.CloseWrite()
}
