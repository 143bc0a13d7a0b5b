package webrtc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tombolo-net/tombolo/core/supervise"
)

const (
	// maxQueued bounds the bytes that all channels of a connection have in the platform's
	// queue. The queue is first in, first out, and a ping waits for everything in it.
	maxQueued = 128 << 10
	// maxUnread bounds the bytes that are unread on all streams of a connection.
	maxUnread = 64 << 20
	// maxInbound bounds the streams that the remote end may have open.
	maxInbound = 1024
	// maxWaiting bounds the inbound streams that AcceptStream has not returned yet.
	maxWaiting = 256
	// maxWindow bounds the credit that the remote end may give, in bytes.
	maxWindow = 16 << 20
	// maxMessage is the size of the largest message that is sent to an end that accepts
	// as much, in bytes: every WebRTC stack accepts it.
	maxMessage = 64 << 10
	// minMessage is the size of the largest message that is sent to other ends: the
	// specification's limit.
	minMessage = 16 << 10
)

// labelInit is the label of the channel that the offerer opens so that the offer is not
// empty. It carries nothing.
const labelInit = "init"

// ends are the two ends of a connection, and the transport that made it.
type ends struct {
	transport     transport.Transport
	closing       *supervise.Calls // the transport's connections that are ending
	name          string           // of the transport
	local, remote peer.ID
	remoteKey     crypto.PubKey
	addr          ma.Multiaddr // of the remote end
	scope         network.ConnManagementScope
	lengthApart   bool // large frames have their length in a separate message
}

// conn is a libp2p connection over a WebRTC connection.
type conn struct {
	ends
	pc PeerConnection

	credit  bool   // both ends use credit
	window  uint64 // how much of a new stream may be unread at the remote end
	message int    // the largest message that is sent

	unread  atomic.Int64
	touched atomic.Pointer[stream] // see unwrap
	inbound chan *stream

	connected chan struct{} // closed when the ends are connected
	ended     chan struct{} // closed when the connection has ended
	released  chan struct{} // closed when the platform's connection is closed, too

	mu       sync.Mutex
	speak    bool // connected is closed
	err      error
	streams  map[*stream]struct{}
	inbounds int

	sendMu  sync.Mutex
	scratch []byte
	queued  int // the sum of stream.queued
	busy    map[*stream]struct{}
	room    wake
}

var _ transport.CapableConn = (*conn)(nil)

var errConnClosed = errors.New("the WebRTC connection was closed")

func newConn(e ends) *conn {
	return &conn{
		ends:      e,
		message:   minMessage,
		inbound:   make(chan *stream, maxWaiting),
		connected: make(chan struct{}),
		ended:     make(chan struct{}),
		released:  make(chan struct{}),
		streams:   make(map[*stream]struct{}),
		busy:      make(map[*stream]struct{}),
	}
}

// agree applies what the remote end's signalling says about its frames. It is called
// before the first stream.
func (c *conn) agree(s signal) {
	if s.window == 0 || s.message < minMessage {
		return
	}
	c.credit = true
	c.window = min(s.window, maxWindow)
	c.message = int(min(s.message, maxMessage))
}

// events returns the functions for the platform's connection; candidate receives this
// end's candidates.
func (c *conn) events(candidate func(string)) Events {
	return Events{
		Candidate: candidate,
		Connected: func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if !c.speak {
				c.speak = true
				close(c.connected)
			}
		},
		Ended:   func(err error) { c.end(err) },
		Channel: c.accept,
		Low:     c.low,
	}
}

// newStream adds a stream, or returns an error that says why it cannot.
func (c *conn) newStream(ch Channel, inbound bool) (*stream, error) {
	s := &stream{conn: c, ch: ch, inbound: inbound, credit: c.window}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	if inbound {
		if c.inbounds >= maxInbound {
			return nil, fmt.Errorf("the peer has %d streams open", c.inbounds)
		}
		c.inbounds++
	}
	c.streams[s] = struct{}{}
	return s, nil
}

// accept handles a channel that the remote end has opened.
func (c *conn) accept(label string, ch Channel) {
	if label == labelInit {
		ch.Handle(idle{})
		return
	}
	s, err := c.newStream(ch, true)
	if err != nil {
		ch.Handle(idle{})
		ch.Close()
		return
	}
	ch.Handle(s)
	select {
	case c.inbound <- s:
	default:
		_ = s.ResetWithError(network.StreamResourceLimitExceeded)
	}
}

// idle handles a channel that carries nothing.
type idle struct{}

func (idle) Opened()        {}
func (idle) Message([]byte) {}
func (idle) Closed()        {}

func (c *conn) OpenStream(ctx context.Context) (network.MuxedStream, error) {
	if err := c.endErr(); err != nil {
		return nil, err
	}
	protocol := ""
	if c.credit && isRaw(ctx) {
		protocol = RawProtocol
	}
	ch, err := c.pc.OpenChannel(ctx, "", protocol)
	if err != nil {
		return nil, errors.Join(c.endErr(), fmt.Errorf("open a data channel: %w", err))
	}
	s, err := c.newStream(ch, false)
	if err != nil {
		ch.Handle(idle{})
		ch.Close()
		return nil, err
	}
	ch.Handle(s)
	return s, nil
}

func (c *conn) AcceptStream() (network.MuxedStream, error) {
	select {
	case s := <-c.inbound:
		return s, nil
	case <-c.ended:
		return nil, c.endErr()
	}
}

// forget removes a stream whose channel is closed or will be.
func (c *conn) forget(s *stream) {
	c.mu.Lock()
	if _, ok := c.streams[s]; ok {
		delete(c.streams, s)
		if s.inbound {
			c.inbounds--
		}
	}
	c.mu.Unlock()
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	c.unqueue(s)
}

// unqueue stops counting what a stream has queued; sendMu is held.
func (c *conn) unqueue(s *stream) {
	c.queued -= s.queued
	s.queued = 0
	delete(c.busy, s)
	c.room.raise()
}

// send sends a frame of a stream. If the queue is full and the frame is not control, send
// sends nothing and returns a channel to wait for.
func (c *conn) send(s *stream, f frame, control bool) (room <-chan struct{}, err error) {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	if !control && !c.hasRoom() {
		return c.room.wait(), nil
	}
	c.scratch = f.append(c.scratch[:0])
	if s.opened {
		if err := c.transmit(s.ch, c.scratch); err != nil {
			return nil, err
		}
	} else {
		s.early = append(s.early, slices.Clone(c.scratch))
	}
	s.queued += len(c.scratch)
	c.queued += len(c.scratch)
	c.busy[s] = struct{}{}
	return nil, nil
}

// maxWithLength is the size of the largest frame that go-libp2p reads if its length is in
// the same message, in bytes: it reads the length into a buffer of that size, and a
// message either whole or not at all.
const maxWithLength = 4096

// transmit sends a frame with its length.
func (c *conn) transmit(ch Channel, b []byte) error {
	if c.lengthApart && len(b) > maxWithLength {
		_, n := binary.Uvarint(b)
		if err := ch.Send(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return ch.Send(b)
}

// hasRoom reports whether the queue accepts a frame. If not, low will be called.
func (c *conn) hasRoom() bool {
	if c.queued < maxQueued {
		return true
	}
	if c.count(); c.queued < maxQueued {
		return true
	}
	// At least one of them has more than its part queued, and will fall to it.
	part := maxQueued / 2 / len(c.busy)
	for s := range c.busy {
		if s.opened && s.low != part {
			s.low = part
			s.ch.SetLow(part)
		}
	}
	c.count() // some bytes may have left while SetLow was called
	return c.queued < maxQueued
}

// count updates queued from the channels.
func (c *conn) count() {
	c.queued = 0
	for s := range c.busy {
		if s.opened {
			if s.queued = s.ch.Buffered(); s.queued == 0 {
				delete(c.busy, s)
			}
		}
		c.queued += s.queued
	}
}

func (c *conn) low() {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	c.room.raise()
}

func (c *conn) opened(s *stream) {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	for _, b := range s.early {
		_ = c.transmit(s.ch, b) // if the channel has closed again, Closed reports it
	}
	s.early = nil
	s.opened = true
	c.room.raise()
}

// end ends the connection. Its streams fail with the error.
func (c *conn) end(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	if err == nil {
		err = errConnClosed
	}
	c.err = err
	close(c.ended)
	streams := slices.Collect(maps.Keys(c.streams))
	// Called with the mutex held, so that the transport waits for it when another call of
	// end has returned.
	defer c.mu.Unlock()
	waited := c.closing.Begin()
	go func() {
		if waited {
			defer c.closing.Leave()
		}
		for _, s := range streams {
			s.mu.Lock()
			s.lost(&network.StreamError{Remote: true, TransportError: err})
			s.mu.Unlock()
		}
		_ = c.pc.Close()
		c.scope.Done()
		close(c.released)
	}()
}

// Close ends the connection and all its streams, and waits until the platform has closed
// it.
func (c *conn) Close() error {
	c.end(errConnClosed)
	<-c.released
	return nil
}

// CloseWithError calls Close: WebRTC cannot send a code.
func (c *conn) CloseWithError(network.ConnErrorCode) error { return c.Close() }

func (c *conn) IsClosed() bool { return c.endErr() != nil }

func (c *conn) endErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// As supports only *conn, for Lost: nothing below it is known to go-libp2p.
func (c *conn) As(target any) bool {
	mine, ok := target.(**conn)
	if ok {
		*mine = c
	}
	return ok
}

func (c *conn) LocalPeer() peer.ID             { return c.local }
func (c *conn) RemotePeer() peer.ID            { return c.remote }
func (c *conn) RemotePublicKey() crypto.PubKey { return c.remoteKey }
func (c *conn) LocalMultiaddr() ma.Multiaddr   { return Addr }
func (c *conn) RemoteMultiaddr() ma.Multiaddr  { return c.addr }
func (c *conn) Scope() network.ConnScope       { return c.scope }
func (c *conn) Transport() transport.Transport { return c.transport }
func (c *conn) ConnState() network.ConnectionState {
	return network.ConnectionState{Transport: c.name}
}

// initChannel handles the offerer's channel "init". finish waits until it is open, and
// closed again: otherwise its ID could be reused before the remote end has seen it close.
type initChannel struct {
	idle
	open, closed chan struct{}
}

func newInitChannel() initChannel {
	return initChannel{open: make(chan struct{}), closed: make(chan struct{})}
}

func (i initChannel) Opened() { close(i.open) }
func (i initChannel) Closed() { close(i.closed) }

// initCloseTimeout is how long the remote end may take to close the channel "init".
// js-libp2p and this package do so at once.
const initCloseTimeout = 5 * time.Second

func (i initChannel) finish(ctx context.Context, ch Channel) error {
	select {
	case <-i.open:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ch.Close()
	timer := time.NewTimer(initCloseTimeout)
	defer timer.Stop()
	select {
	case <-i.closed:
		return nil
	case <-timer.C:
		return errors.New("the peer does not close the first channel")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
