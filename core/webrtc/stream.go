package webrtc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

const (
	// window is how much data of one stream may be unread at this end, in bytes. An end
	// that uses credit sends no more; if it does, the stream is reset.
	window = 1 << 20
	// windowOfOthers is the same for ends that do not use credit: nothing holds them
	// back, so they get more before the stream is reset.
	windowOfOthers = 4 << 20
	// creditStep is how much is read before the remote end gets new credit.
	creditStep = window / 4
	// farTimeout is how long a stream that is closed here keeps its channel open for the
	// remote end, which may not have all its data yet, or not have received its reset. It
	// is the value of go-libp2p and js-libp2p.
	farTimeout = 10 * time.Second
	// keptBuffer bounds the buffer that a stream with nothing unread keeps, in bytes.
	keptBuffer = 64 << 10
)

var (
	errWriteAfterClose = errors.New("write on a stream that was closed for writing")
	errTooMuchUnread   = errors.New("the peer sent more than may be unread")
	errDetached        = errors.New("the stream was handed to the program")
)

// errDeadline is os.ErrDeadlineExceeded, taken from a package that core may import:
// package os is not one.
var errDeadline = func() error {
	end, _ := net.Pipe()
	_ = end.SetReadDeadline(time.Unix(0, 0))
	_, err := end.Read(nil)
	return err
}()

// stream is a libp2p stream over a separate data channel.
//
// Locks are taken in this order: writeMu, mu, conn.sendMu.
type stream struct {
	conn    *conn
	ch      Channel
	inbound bool

	readDeadline, writeDeadline deadline

	writeMu sync.Mutex // held by Write, to keep the bytes of one call together

	mu       sync.Mutex
	frames   decoder
	unread   bytes.Buffer
	read     uint64 // bytes read since the remote end was given credit
	readable wake
	readErr  error // what Read returns when nothing is unread; nil if more may come
	readDone bool  // further data is dropped
	finAcked bool

	credit    uint64 // data that may be sent, if conn.credit is set
	writable  wake
	writeErr  error // what Write returns; nil if the stream can be written
	finSent   bool
	writeDone bool // the remote end has everything, or wants nothing more
	resetSent bool // the remote end will close the channel when it receives that
	farTimer  *time.Timer
	over      bool        // the channel is closed, or being closed
	detached  func(error) // what Detach was called with, or nil

	// The following fields are guarded by conn.sendMu.
	opened bool
	early  [][]byte // frames to send when the channel is open
	queued int      // bytes sent that may not have left
	low    int      // what SetLow was called with
}

var (
	_ network.MuxedStream = (*stream)(nil)
	_ ChannelHandler      = (*stream)(nil)
)

func (s *stream) Read(b []byte) (int, error) {
	for {
		n, wait, err := s.readSome(b)
		if wait == nil {
			return n, err
		}
		select {
		case <-wait:
		case <-s.readDeadline.wait():
		}
	}
}

// readSome reads what there is, or returns a channel to wait for.
func (s *stream) readSome(b []byte) (n int, wait <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.readDeadline.passed():
		return 0, nil, errDeadline
	case s.unread.Len() == 0 && s.readErr != nil:
		return 0, nil, s.readErr
	case len(b) == 0:
		return 0, nil, nil
	case s.unread.Len() == 0:
		return 0, s.readable.wait(), nil
	}
	n, _ = s.unread.Read(b)
	s.conn.unread.Add(-int64(n))
	if s.unread.Len() == 0 && s.unread.Cap() > keptBuffer {
		s.unread = bytes.Buffer{}
	}
	if s.read += uint64(n); s.conn.credit && !s.readDone && s.read >= creditStep {
		s.control(frame{flag: flagNone, credit: s.read})
		s.read = 0
	}
	return n, nil, nil
}

func (s *stream) Write(b []byte) (written int, err error) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	for {
		n, changed, room, err := s.writeSome(b[written:])
		written += n
		if err != nil || written == len(b) {
			return written, err
		}
		if changed == nil {
			continue
		}
		select {
		case <-changed:
		case <-room:
		case <-s.writeDeadline.wait():
		}
	}
}

// writeSome sends one frame, or returns channels to wait for.
func (s *stream) writeSome(b []byte) (n int, changed, room <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.writeErr != nil:
		return 0, nil, nil, s.writeErr
	case s.writeDeadline.passed():
		return 0, nil, nil, errDeadline
	case len(b) == 0:
		return 0, nil, nil, nil
	}
	n = min(len(b), s.conn.message-frameOverhead)
	if s.conn.credit {
		if s.credit == 0 {
			return 0, s.writable.wait(), nil, nil
		}
		n = int(min(uint64(n), s.credit))
	}
	room, err = s.conn.send(s, frame{flag: flagNone, data: b[:n]}, false)
	if err != nil {
		s.fail(&network.StreamError{TransportError: err})
		return 0, nil, nil, s.writeErr
	}
	if room != nil {
		return 0, s.writable.wait(), room, nil
	}
	if s.conn.credit {
		s.credit -= uint64(n)
	}
	return n, nil, nil, nil
}

func (s *stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeWrite()
	return nil
}

func (s *stream) closeWrite() {
	if s.finSent || s.writeDone {
		return
	}
	s.finSent = true
	s.writeErr = errWriteAfterClose
	s.writable.raise()
	s.control(frame{flag: flagFin})
}

func (s *stream) CloseRead() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeRead()
	s.settle()
	return nil
}

func (s *stream) closeRead() {
	if !s.readDone {
		s.control(frame{flag: flagStopSending})
	}
	s.endRead(&network.StreamError{})
}

// endRead makes Read return err, and drops what is unread.
func (s *stream) endRead(err error) {
	s.readDone = true
	s.readErr = err
	s.conn.unread.Add(-int64(s.unread.Len()))
	s.unread = bytes.Buffer{}
	s.readable.raise()
}

// endWrite makes Write return err.
func (s *stream) endWrite(err error) {
	if s.writeDone {
		return
	}
	s.writeDone = true
	s.writeErr = err
	s.writable.raise()
}

// Close closes both directions. The channel is closed when the remote end has everything
// that was written, or ten seconds later; Close does not wait for that.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeWrite()
	s.closeRead()
	if !s.writeDone {
		s.waitForFar()
	}
	s.settle()
	return nil
}

// waitForFar closes the channel if the remote end has not done so within farTimeout.
func (s *stream) waitForFar() {
	if s.farTimer != nil || s.over || s.detached != nil {
		return
	}
	s.farTimer = time.AfterFunc(farTimeout, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.resetSent = false
		s.endWrite(errWriteAfterClose)
		s.settle()
	})
}

func (s *stream) Reset() error { return s.ResetWithError(network.StreamNoError) }

func (s *stream) ResetWithError(code network.StreamErrorCode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reset(code, nil)
	return nil
}

// reset sends the remote end a reset with a code, and fails the stream here; why is added
// to the error at this end. The remote end closes the channel: a browser loses what came
// over a new channel that closes before the page has seen it.
func (s *stream) reset(code network.StreamErrorCode, why error) {
	s.tellDetached(&network.StreamError{ErrorCode: code, TransportError: why})
	if !s.over && !s.resetSent {
		s.control(frame{flag: flagReset, code: uint32(code)})
		s.resetSent = true
		s.waitForFar()
	}
	s.fail(&network.StreamError{ErrorCode: code, TransportError: why})
}

// fail ends both directions with err. Unread data is dropped.
func (s *stream) fail(err error) {
	s.endRead(err)
	s.endWrite(err)
	s.settle()
}

// settle closes the channel when both directions have ended, and the remote end knows
// that.
func (s *stream) settle() {
	if !s.readDone || !s.writeDone || s.resetSent || s.over || s.detached != nil {
		return
	}
	s.finish()
	s.ch.Close()
}

// finish removes the stream from the connection.
func (s *stream) finish() {
	s.over = true
	if s.farTimer != nil {
		s.farTimer.Stop()
	}
	s.conn.forget(s)
}

// control sends a frame without waiting for room: such frames are few and small.
func (s *stream) control(f frame) {
	if !s.over && s.detached == nil {
		_, _ = s.conn.send(s, f, true) // a frame cannot be sent only if the channel is closed
	}
}

func (s *stream) SetDeadline(t time.Time) error {
	_ = s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

func (s *stream) SetReadDeadline(t time.Time) error {
	s.conn.touched.Store(s) // see unwrap
	s.readDeadline.set(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readable.raise()
	return nil
}

func (s *stream) SetWriteDeadline(t time.Time) error {
	s.writeDeadline.set(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writable.raise()
	return nil
}

// Opened sends the frames that have waited for the channel.
func (s *stream) Opened() { s.conn.opened(s) }

// Closed ends the stream if FIN and FIN_ACK have not.
func (s *stream) Closed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost(&network.StreamError{Remote: true})
}

// tellDetached informs the holder of a detached stream that it has ended here.
func (s *stream) tellDetached(err error) {
	if s.detached != nil && !s.over {
		s.detached(err)
	}
}

// lost ends a stream whose channel is closed.
func (s *stream) lost(err error) {
	s.tellDetached(err)
	if !s.readDone {
		s.endRead(err)
	}
	s.endWrite(err)
	if !s.over {
		s.finish()
	}
}

// Message handles a message of the remote end.
func (s *stream) Message(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.detached != nil {
		return
	}
	err := s.frames.feed(b, s.take)
	if err == nil {
		s.settle()
		return
	}
	code := network.StreamErrorCode(network.StreamProtocolViolation)
	if errors.Is(err, errTooMuchUnread) {
		code = network.StreamResourceLimitExceeded
	}
	s.reset(code, err)
	s.resetSent = false // nothing more is read from it
	s.settle()
}

// take handles a frame: first its data, then its flag.
func (s *stream) take(f frame) error {
	if len(f.data) > 0 && !s.readDone {
		limit := window
		if !s.conn.credit {
			limit = windowOfOthers
		}
		if have := s.unread.Len() + len(f.data); have > limit {
			return fmt.Errorf("%w: %d bytes of a stream, and %d may be", errTooMuchUnread, have, limit)
		}
		if have := s.conn.unread.Add(int64(len(f.data))); have > maxUnread {
			s.conn.unread.Add(-int64(len(f.data)))
			return fmt.Errorf("%w: %d bytes of all streams, and %d may be", errTooMuchUnread, have, maxUnread)
		}
		s.unread.Write(f.data)
		s.readable.raise()
	}
	if f.credit > 0 {
		s.credit = min(s.credit+min(f.credit, maxWindow), maxWindow)
		s.writable.raise()
	}
	switch f.flag {
	case flagFin:
		if !s.readDone {
			s.readDone = true
			s.readErr = io.EOF
			s.readable.raise()
		}
		if !s.finAcked {
			s.finAcked = true
			s.control(frame{flag: flagFinAck})
		}
	case flagFinAck:
		if s.finSent {
			s.endWrite(errWriteAfterClose)
		}
	case flagStopSending:
		s.endWrite(&network.StreamError{Remote: true, ErrorCode: network.StreamErrorCode(f.code)})
	case flagReset:
		err := &network.StreamError{Remote: true, ErrorCode: network.StreamErrorCode(f.code)}
		if !s.readDone {
			s.endRead(err)
		}
		s.endWrite(err)
		s.resetSent = false // both ends have reset it, so neither waits for the other
	}
	return nil
}
