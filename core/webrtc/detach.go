package webrtc

import (
	"context"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// RawProtocol is the protocol of a data channel with a stream that was opened WithRaw, if
// both ends use credit. It is a hint: a browser can leave such a channel with the page, at
// both ends, although the node is in a worker. Other implementations never see it.
const RawProtocol = "tombolo/raw"

type rawKey struct{}

// WithRaw returns a context for opening a stream of raw bytes, which a program may later
// take over from the node with Detach.
func WithRaw(ctx context.Context) context.Context { return context.WithValue(ctx, rawKey{}, true) }

func isRaw(ctx context.Context) bool { return ctx.Value(rawKey{}) != nil }

// Detached is the state of a stream that was taken out of this package.
type Detached struct {
	Channel Channel // its events still go to this package, which ignores them
	Unread  []byte  // data that was received and not read
	Rest    []byte  // the beginning of a frame, of which the next message brings more
	Ended   bool    // the remote end has sent FIN, and was sent FIN_ACK
	Credit  bool    // both ends use credit
	MaySend uint64  // the data that the remote end accepts, if Credit is set
	// MayReceive is the data that the remote end may still send, if Credit is set. As data
	// is read, the holder of the stream must grant more.
	MayReceive uint64
	Message    int // the size of the largest message that the remote end accepts
	// LengthApart is set if the remote end wants the length of frames of more than 4 KiB in
	// a message of its own.
	LengthApart bool
}

// Detach takes a stream of this package out of it, if may returns true for its channel:
// the caller sends and receives the stream's messages from then on. s, which may be
// wrapped by a host, must have finished its protocol negotiation. Detach waits until the
// channel is open. If the stream is reset at this end or the connection ends, ended is
// called with the error; it must return at once. The caller calls over when the channel is
// closed, or being closed.
//
// If ok is false, s is unchanged: it is not a stream of this package, may returned false,
// or one of its directions has failed or was closed at this end.
//
// Detach is for platforms with one thread. Elsewhere, no other goroutine may use the
// streams of the connection meanwhile.
func Detach(s network.Stream, may func(Channel) bool, ended func(error)) (d Detached, over func(), ok bool) {
	inner := unwrap(s)
	if inner == nil || !inner.conn.waitOpen(inner) {
		return d, nil, false
	}
	inner.mu.Lock()
	defer inner.mu.Unlock()
	if inner.over || inner.resetSent || inner.finSent || inner.writeErr != nil || inner.readErr != nil && inner.readErr != io.EOF ||
		!may(inner.ch) {
		return d, nil, false
	}
	inner.conn.release(inner)
	d = Detached{
		Channel: inner.ch,
		Unread:  inner.unread.Bytes(),
		Rest:    inner.frames.rest,
		Ended:   inner.readDone,
		Credit:  inner.conn.credit,
		MaySend: inner.credit,
		Message: inner.conn.message, LengthApart: inner.conn.lengthApart,
	}
	if d.Credit {
		d.MayReceive = window - uint64(len(d.Unread)) - inner.read
	}
	inner.detached = ended
	inner.finSent = true
	inner.endRead(errDetached)
	inner.endWrite(errDetached)
	return d, inner.leave, true
}

// leave removes a detached stream from the connection.
func (s *stream) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.finish()
	}
}

// unwrap returns our stream below those of the swarm and the host, which do not expose
// it: the call below passes through them to our stream.
func unwrap(s network.Stream) *stream {
	var c *conn
	if !s.Conn().As(&c) {
		return nil
	}
	c.touched.Store(nil)
	if err := s.SetReadDeadline(time.Time{}); err != nil {
		return nil
	}
	return c.touched.Swap(nil)
}

// waitOpen waits until the stream's channel is open: messages may come before. It returns
// false if the connection ends first.
func (c *conn) waitOpen(s *stream) bool {
	for {
		c.sendMu.Lock()
		opened, changed := s.opened, c.room.wait()
		c.sendMu.Unlock()
		if opened {
			return true
		}
		select {
		case <-changed:
		case <-c.ended:
			return false
		}
		s.mu.Lock()
		over := s.over
		s.mu.Unlock()
		if over {
			return false
		}
	}
}

// release stops counting what a stream has queued.
func (c *conn) release(s *stream) {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	c.unqueue(s)
}
