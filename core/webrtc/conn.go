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
	// maxQueued bounds the bytes that the channels of a connection have in the
	// platform's queue, all together: it is served first come first, and a ping
	// waits for what is in it.
	maxQueued = 128 << 10
	// maxUnread bounds the bytes that are unread on all streams of a connection.
	maxUnread = 64 << 20
	// maxInbound bounds the streams that the far side may have open.
	maxInbound = 1024
	// maxWaiting bounds those of them that AcceptStream has not returned yet.
	maxWaiting = 256
	// maxWindow bounds the credit that a far side may give, in bytes.
	maxWindow = 16 << 20
	// maxMessage is the largest message that is sent to an end that says it takes as
	// much, in bytes: what every WebRTC stack takes.
	maxMessage = 64 << 10
	// minMessage is what is sent to others: the specification's bound.
	minMessage = 16 << 10
)

// labelInit is the label of the channel that the offerer opens so that there is
// something to offer. It carries nothing.
const labelInit = "init"

// ends are the two ends of a connection, and the transport that made it.
type ends struct {
	transport     transport.Transport
	closing       *supervise.Calls // of the transport's connections that end
	name          string           // of the transport
	local, remote peer.ID
	remoteKey     crypto.PubKey
	addr          ma.Multiaddr // of the remote end
	scope         network.ConnManagementScope
	lengthApart   bool // large frames have their length in a message of its own
}

// conn is a libp2p connection over a WebRTC connection.
type conn struct {
	ends
	pc PeerConnection

	credit  bool   // both ends follow credit
	window  uint64 // what the far side lets a new stream have unread
	message int    // bounds the messages that are sent

	unread  atomic.Int64
	inbound chan *stream

	connected chan struct{} // closed when the ends speak
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

// agree takes what the far side's signalling says of its frames. It comes before the
// first stream.
func (c *conn) agree(s signal) {
	if s.window == 0 || s.message < minMessage {
		return
	}
	c.credit = true
	c.window = min(s.window, maxWindow)
	c.message = int(min(s.message, maxMessage))
}

// events are those of the platform's connection; candidate takes this end's.
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

// newStream adds a stream, or says why there can be none.
func (c *conn) newStream(ch Channel, inbound bool) (*stream, error) {
	s := &stream{conn: c, ch: ch, inbound: inbound, credit: c.window}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	if inbound {
		if c.inbounds >= maxInbound {
			return nil, fmt.Errorf("the far side has %d streams open", c.inbounds)
		}
		c.inbounds++
	}
	c.streams[s] = struct{}{}
	return s, nil
}

// accept takes a channel that the far side has opened.
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
	ch, err := c.pc.OpenChannel(ctx, "")
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

// forget takes a stream out whose channel is closed or will be.
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
	c.queued -= s.queued
	s.queued = 0
	delete(c.busy, s)
	c.room.raise()
}

// send sends a frame of a stream. Where the queue is full, it sends nothing, and
// returns what to wait for, unless the frame is control.
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

// maxWithLength is the largest frame that go-libp2p reads with its length in one message,
// in bytes: it reads the length into a buffer of that size, and a message whole or not at
// all.
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

// hasRoom says whether the queue takes a frame. If not, low will be called.
func (c *conn) hasRoom() bool {
	if c.queued < maxQueued {
		return true
	}
	if c.count(); c.queued < maxQueued {
		return true
	}
	// At least one of them has more than its part queued, and falls to it.
	part := maxQueued / 2 / len(c.busy)
	for s := range c.busy {
		if s.opened && s.low != part {
			s.low = part
			s.ch.SetLow(part)
		}
	}
	c.count() // some may have left while the channels were told
	return c.queued < maxQueued
}

// count asks the channels what they have queued.
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
		_ = c.transmit(s.ch, b) // of a channel that has closed again, Closed tells
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
	// Under the lock, so that the transport waits for it when another end has returned.
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

// Close ends the connection and all its streams, and waits for the platform to close
// it.
func (c *conn) Close() error {
	c.end(errConnClosed)
	<-c.released
	return nil
}

// CloseWithError is Close: WebRTC has no code to send.
func (c *conn) CloseWithError(network.ConnErrorCode) error { return c.Close() }

func (c *conn) IsClosed() bool { return c.endErr() != nil }

func (c *conn) endErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// As knows the conn itself, for Lost: there is nothing below it that go-libp2p knows.
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

// initDone waits until the channel "init" of the offerer is open, and closed again:
// else its id is used anew before the far side has seen it close.
type initChannel struct {
	idle
	open, closed chan struct{}
}

func newInitChannel() initChannel {
	return initChannel{open: make(chan struct{}), closed: make(chan struct{})}
}

func (i initChannel) Opened() { close(i.open) }
func (i initChannel) Closed() { close(i.closed) }

// initCloseTimeout is how long the far side may take to close the channel "init". js-libp2p
// and we do so at once.
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
		return errors.New("the far side does not close the first channel")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
