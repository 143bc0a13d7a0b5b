//go:build js

package jsapi

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall/js"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/tombolo-net/tombolo/wasm/internal/jsio"
	"github.com/tombolo-net/tombolo/wasm/webtransport"
)

// stream is a libp2p stream that is closed once both its directions have
// ended, however each of them did: JavaScript has no call for that.
type stream struct {
	network.Stream
	object              js.Value
	readOnce, writeOnce sync.Once
	open                sync.WaitGroup
	cancelled           atomic.Bool // by CloseRead, after which a Read fails as after a reset
}

var (
	_ jsio.Source = (*stream)(nil)
	_ jsio.Sink   = (*stream)(nil)

	streams jsio.Handles[*stream]
)

// streamObject is a stream as JavaScript sees it. Its property native says that
// the streams are the platform's own: nothing of Go lies between JavaScript and
// the network, and reset cannot end a readable that is being read.
func streamObject(ns network.Stream) js.Value {
	s := &stream{Stream: ns, object: js.Global().Get("Object").New()}
	streams.Add(s.object, s)
	s.object.Set("peer", ns.Conn().RemotePeer().String())
	s.object.Set("protocol", string(ns.Protocol()))
	s.object.Set("reset", resetMethod())
	readable, writable, ended, native := webtransport.Detach(ns)
	s.object.Set("native", native)
	s.open.Add(2)
	if native {
		go func() {
			<-ended
			s.endRead()
			s.endWrite()
		}()
	} else {
		readable, writable = jsio.NewReadable(s), jsio.NewWritable(s)
	}
	s.object.Set("readable", readable)
	s.object.Set("writable", writable)
	go func() {
		s.open.Wait()
		streams.Drop(s.object)
		_ = s.Stream.Close() // after a reset, nothing is left to close
	}()
	return s.object
}

var resetMethod = sync.OnceValue(func() js.Func {
	return jsio.NewFunc(func(this js.Value, _ []js.Value) any {
		if s, _, ok := streams.Find(this); ok {
			go func() { _ = s.Reset() }()
		}
		return nil
	})
})

func (s *stream) endRead()  { s.readOnce.Do(s.open.Done) }
func (s *stream) endWrite() { s.writeOnce.Do(s.open.Done) }

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if err != nil {
		s.endRead()
	}
	if errors.Is(err, network.ErrReset) && !s.cancelled.Load() {
		s.endWrite() // the peer has reset both: nobody may ever write again to find out
	}
	return n, err
}

func (s *stream) CloseRead() error {
	defer s.endRead()
	s.cancelled.Store(true)
	return s.Stream.CloseRead()
}

func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	if err != nil {
		s.endWrite()
	}
	return n, err
}

func (s *stream) CloseWrite() error {
	defer s.endWrite()
	return s.Stream.CloseWrite()
}

func (s *stream) Reset() error {
	defer s.endWrite()
	defer s.endRead()
	return s.Stream.Reset()
}
